//! What lies at a far side is read with tools that are not Holdfast's.

use holdfast::remote::{UploadProgress, Verify, upload};

use crate::made::{Published, files};
use crate::side::Side;
use crate::support::far_side::{FarSide, LOGIN, PASSWORD};
use crate::support::need;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_artifact_is_fetched_and_opened_by_hand() {
    for (program, package) in
        [("curl", "curl"), ("sftp", "openssh-client"), ("age", "age"), ("lz4", "lz4"), ("tar", "tar")]
    {
        need(program, package);
    }
    let published = Published::new();
    let (run_id, folder, key) = published.encrypted();
    let server_id = published.server_id;
    let here = files(&folder);
    let artifact = "a1.age";
    assert!(here.contains_key(artifact), "{:?}", here.keys());
    let (webdav, sftp) = (FarSide::webdav(), FarSide::sftp());
    let commands = [
        format!(
            "curl --silent --show-error --fail -u '{LOGIN}:{PASSWORD}' -O \
             http://127.0.0.1:{}/data/{server_id}/runs/{run_id}/{artifact}",
            webdav.port
        ),
        format!(
            "sftp -q -i {} -o UserKnownHostsFile={} -P {} {}@127.0.0.1:{}/{server_id}/runs/{run_id}/{artifact} .",
            sftp.beside("id").display(),
            sftp.beside("known").display(),
            sftp.port,
            sftp.login(),
            sftp.data.display()
        ),
    ];
    for (far, fetch) in [webdav, sftp].into_iter().zip(commands) {
        let side = Side::Far(far);
        upload(&*side.remote(server_id), &folder, run_id, Verify::Size, &UploadProgress::default()).await.unwrap();
        let key = key.display();
        let script =
            format!("set -e -o pipefail; rm -f {artifact}; {fetch} >&2; age -d -i {key} {artifact} | lz4 -d | tar t");
        let home = &published.home;
        let read = tokio::task::block_in_place(|| home.command("bash", ["-c", &script]).run());
        read.expect(0);
        for member in ["readme.txt", "etc/deep/random.bin", "etc/zero-length", "large.bin"] {
            assert!(read.out().lines().any(|line| line.ends_with(member)), "{member} is not in\n{}", read.out());
        }
    }
}
