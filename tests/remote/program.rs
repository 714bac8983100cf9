//! What goes wrong between the program and each kind of far side: after every fault the run here is as it was, what is told of the copy is
//! true, and the next upload brings what is missing, once.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use holdfast::model::ids::RunId;
use holdfast::remote::{Remote, Standing};
use serde_json::Value;
use tokio::task::block_in_place;
use uuid::Uuid;

use crate::made::files;
use crate::side::Side;
use crate::support::far::server_id;
use crate::support::far_side::FarSide;
use crate::support::proxy::{Fault, Proxy};
use crate::support::{Finished, Home, Random, text};

/// What heads of requests and listings take beside the bytes of the files.
const HEADS: u64 = 130_000;

/// A home with two folders to back up, and a far side that it reaches by a way on which something goes wrong.
struct World {
    side: Side,
    proxy: Proxy,
    home: Home,
}

/// What is there of a run.
struct There {
    whole: bool,
    bytes: u64,
}

impl World {
    /// One file goes after the other, and each upload is tried once.
    async fn new(side: Side, lengths: [usize; 2]) -> Self {
        let proxy = Proxy::to(side.port()).await;
        let home = two_folders(lengths);
        let flags = ["--enable", "false", "--timeout", "1", "--retry-attempts", "1", "--retry-delay", "0"];
        let world = Self { side, proxy, home };
        let flags = [&flags[..], &["--streams", "1"]].concat();
        block_in_place(|| world.side.add_to(&world.home, "far", world.proxy.port, &flags));
        world
    }

    fn upload(&self, run: &str) -> Finished {
        block_in_place(|| self.home.holdfast(["upload", run, "--to", "far"]).run())
    }

    fn good(&self, args: &[&str]) {
        block_in_place(|| self.home.holdfast(args).run()).expect(0);
    }

    fn show(&self, run: &str) -> Value {
        block_in_place(|| self.home.show(run))
    }

    fn server_id(&self) -> Uuid {
        server_id(&self.home)
    }

    /// What is there, by a way on which nothing goes wrong.
    async fn there(&self, run: &str, stored: u64) -> There {
        let run: RunId = run.parse().unwrap();
        let remote = self.side.remote(self.server_id());
        let listed = listed(&*remote).await.iter().filter(|id| **id == run).count();
        let bytes = match remote.standing(run).await.unwrap() {
            Standing::Committed { .. } => stored,
            Standing::Open(held) => held.values().map(|held| held.bytes).sum(),
        };
        assert!(listed <= 1, "{run} is there {listed} times");
        There { whole: listed == 1, bytes }
    }

    /// A new run is uploaded while something goes wrong, and then once more. Answers how many bytes the first one left there.
    async fn case(&self, what: &str, arm: impl FnOnce(&Proxy)) -> u64 {
        let run = block_in_place(|| self.home.back_up([""; 0]));
        let folder = block_in_place(|| self.home.run_dir(&run));
        let before = files(&folder);
        let stored: u64 = before.values().map(|bytes| bytes.len() as u64).sum();

        self.proxy.mend();
        arm(&self.proxy);
        let first = self.upload(&run);
        self.proxy.mend();
        let there = self.there(&run, stored).await;
        let shown = self.show(&run);
        let row = copy(&shown);
        assert_eq!((&shown["status"], &shown["good"]), (&"completed".into(), &true.into()), "{what}: {shown}");
        match first.code() {
            Some(0) => {
                assert!(there.whole, "{what}: it is told as uploaded, and is not there");
                assert_eq!((&shown["remote_status"], &row["status"]), (&"completed".into(), &"uploaded".into()));
            }
            code => {
                assert_eq!(code, Some(1), "{what}: {first}");
                assert_eq!((&shown["remote_status"], &row["status"]), (&"failed".into(), &"failed".into()), "{what}");
                let told = text(&row["error_code"]);
                assert!(["REMOTE_UNAVAILABLE", "REMOTE_TIMEOUT"].contains(&&*told), "{what}: {row}");
                assert_eq!(row["tries"], 1, "{what}: {row}");
            }
        }

        let second = self.upload(&run);
        let carried = self.proxy.mend();
        assert_eq!(second.code(), Some(0), "{what}: {second}");
        let missing = stored - there.bytes;
        assert!(carried <= missing + missing / 20 + HEADS, "{what}: {carried} bytes went for {missing}");
        let shown = self.show(&run);
        let row = copy(&shown);
        assert_eq!((&shown["remote_status"], &row["status"]), (&"completed".into(), &"uploaded".into()), "{what}");
        assert!(self.there(&run, stored).await.whole, "{what}");
        self.good(&["remote", "verify", "far", &run]);
        assert!(files(&folder) == before, "{what}: the run here is as it was");
        there.bytes
    }

    /// At the end each run is there once, and all are good here.
    async fn ends(self) {
        self.good(&["verify", "--all"]);
        let here = block_in_place(|| self.home.runs());
        let mut here: Vec<RunId> = here.iter().map(|run| text(&run["run_id"]).parse().unwrap()).collect();
        let mut there = listed(&*self.side.remote(self.server_id())).await;
        here.sort();
        there.sort();
        assert_eq!(there, here);
        let rows = block_in_place(|| self.home.json(["endpoints", "list"]))["rows"].clone();
        assert_eq!(rows[0]["health"], "healthy", "{rows}");
        block_in_place(|| drop(self));
    }
}

/// A home whose configuration takes two folders with a file each, as they are.
fn two_folders(lengths: [usize; 2]) -> Home {
    let home = Home::new();
    let mut config = "[pipeline]\ncompression = 'none'\n".to_owned();
    for (name, length) in ["one", "two"].into_iter().zip(lengths) {
        let folder = home.beside(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("bytes"), Random(length as u64).bytes(length)).unwrap();
        config += &format!("[[participant]]\nname = '{name}'\nkind = 'files'\npaths = ['{}']\n", folder.display());
    }
    fs::create_dir(home.path()).unwrap();
    fs::write(home.path().join("config.toml"), config).unwrap();
    home
}

async fn listed(remote: &dyn Remote) -> Vec<RunId> {
    remote.runs(1000, "").await.unwrap().rows.iter().map(|row| row.run_id).collect()
}

fn copy(run: &Value) -> Value {
    let rows = run["endpoints"].as_array().unwrap();
    rows.iter().find(|row| row["name"] == "far").unwrap_or_else(|| panic!("no copy: {run}")).clone()
}

/// Faults that a request can meet on its way, whatever it is.
const FAULTS: [&[Fault]; 3] = [
    &[Fault::Drop, Fault::LoseAnswer, Fault::Hang, Fault::Cut(20), Fault::Answer(500), Fault::Answer(429)],
    &[Fault::LoseAnswer, Fault::Delay(300), Fault::Answer(500)],
    &[Fault::Drop, Fault::LoseAnswer, Fault::Hang, Fault::Cut(20), Fault::Answer(429)],
];

/// Three requests meet faults: one for a part of a file, one of another file, and the one that makes the run exist. Then several faults in one
/// upload, which has tries enough.
async fn by_http(side: Side, lengths: [usize; 2], steps: [&'static str; 3]) {
    let world = World::new(side, lengths).await;
    // The first upload may find a server that is still setting itself up.
    world.good(&["endpoints", "set", "far", "--retry-attempts", "9"]);
    let run = block_in_place(|| world.home.back_up([""; 0]));
    world.upload(&run).expect(0);
    world.good(&["endpoints", "set", "far", "--retry-attempts", "1"]);
    let mut held = BTreeMap::new();
    for (step, faults) in steps.into_iter().zip(FAULTS) {
        for fault in faults {
            let what = format!("{step} {fault:?}");
            let bytes = world.case(&what, |proxy| proxy.arm(step, *fault)).await;
            assert!(world.proxy.is_spent(), "{what} happened");
            held.insert(what, bytes);
        }
    }
    println!("bytes that were there after each: {held:#?}");

    let run = block_in_place(|| world.home.back_up([""; 0]));
    world.good(&["endpoints", "set", "far", "--retry-attempts", "4"]);
    for (step, fault) in steps.into_iter().zip([Fault::LoseAnswer, Fault::Answer(503), Fault::LoseAnswer]) {
        world.proxy.arm(step, fault);
    }
    world.upload(&run).expect(0);
    assert!(world.proxy.is_spent());
    let run = block_in_place(|| world.home.back_up([""; 0]));
    world.proxy.arm(steps[1], Fault::Later(429, 2));
    let began = Instant::now();
    world.upload(&run).expect(0);
    assert!(world.proxy.is_spent() && began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_to_a_vault_meet_faults() {
    by_http(Side::vault(false), [9_000_000, 1_000_000], ["POST /uploads", "PATCH /uploads", "/commit"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_to_webdav_meet_faults() {
    by_http(Side::Far(FarSide::webdav()), [3_000_000, 1_000_000], ["PUT /", "/two.tar\r\n", "/manifest.json\r\n"])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_to_s3_meet_faults() {
    by_http(Side::Far(FarSide::s3()), [9_000_000, 1_000_000], ["partNumber=2", "/two.tar HTTP", "if-none-match"]).await;
}

/// The way breaks, or nothing moves on it any more, after so many bytes: from the first ones to the last ones of the commit. What the requests
/// are nobody can see there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_to_sftp_breaks_and_hangs_anywhere() {
    let world = World::new(Side::Far(FarSide::sftp()), [3_000_000, 1_000_000]).await;
    world.case("nothing", |_| {}).await;
    // One that goes well says how many bytes that takes.
    let run = block_in_place(|| world.home.back_up([""; 0]));
    world.proxy.mend();
    world.upload(&run).expect(0);
    let all = world.proxy.mend();
    let mut after = vec![0, 1_000, 3_000, 1_500_000, 3_200_000, 3_500_000];
    after.extend((0..6).map(|step| all - 200 - step * 1_100));
    let mut held = BTreeMap::new();
    for (number, bytes) in after.into_iter().enumerate() {
        let hangs = number % 3 == 2;
        let what = format!("{} after {bytes} of {all}", if hangs { "hangs" } else { "breaks" });
        let arm = |proxy: &Proxy| if hangs { proxy.hang_after(bytes) } else { proxy.break_after(bytes) };
        let there = world.case(&what, arm).await;
        assert!(bytes < 3_100_000 || there >= 3_000_000, "{what}: the first file is kept, {there}");
        held.insert(what, there);
    }
    println!("bytes that were there after each: {held:#?}");
    world.ends().await;
}

/// The same for a vault with TLS, to which nothing is sent twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_to_a_vault_breaks_and_hangs_anywhere() {
    let world = World::new(Side::vault(true), [9_000_000, 1_000_000]).await;
    let run = block_in_place(|| world.home.back_up([""; 0]));
    world.proxy.mend();
    world.upload(&run).expect(0);
    let all = world.proxy.mend();
    let mut held = BTreeMap::new();
    for (number, bytes) in [0, 400, 2_000, 5_000_000, 9_500_000, all - 3_000, all - 1_500, all - 300].iter().enumerate()
    {
        let hangs = number % 3 == 2;
        let what = format!("{} after {bytes} of {all}", if hangs { "hangs" } else { "breaks" });
        let arm = |proxy: &Proxy| if hangs { proxy.hang_after(*bytes) } else { proxy.break_after(*bytes) };
        let there = world.case(&what, arm).await;
        // A piece of 4 MiB counts whole or not at all.
        assert!(there + (4 << 20) + HEADS >= *bytes, "{what}: {there}");
        held.insert(what, there);
    }
    println!("bytes that were there after each: {held:#?}");
    world.ends().await;
}
