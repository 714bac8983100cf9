//! By what a vault is known, and what somebody is told who does not know it yet.

use holdfast::endpoints::{Address, Credentials, ErrorKind, StoreError};
use holdfast::remote::open;
use uuid::Uuid;

use crate::side::{VaultSide, limits};

async fn ask(side: &VaultSide, query: &str) -> Result<(), StoreError> {
    let address = Address::parse(&format!("vault://localhost:{}/{query}", side.port)).unwrap();
    let credentials = Credentials { login: String::new(), password: side.token.clone().into() };
    let remote = open(&address, credentials, &limits(1), Uuid::from_u128(1))?;
    remote.runs(1, "").await.map(drop)
}

#[tokio::test]
async fn a_vault_is_not_trusted_unseen() {
    let side = VaultSide::new(true);
    let fingerprint = side.fingerprint.clone().unwrap();
    let error = ask(&side, "").await.unwrap_err();
    let told = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Credentials, "{told}");
    assert!(told.contains(&format!("sha256:{fingerprint}")) && told.contains("compare"), "{told}");
    assert!(told.contains(&format!("fingerprint={fingerprint}")), "{told}");

    ask(&side, &format!("?fingerprint={fingerprint}")).await.unwrap();
    ask(&side, &format!("?fingerprint=sha256:{}", fingerprint.to_uppercase())).await.unwrap();
    let own = side.root.join("state/tls/cert.pem");
    let cert = if own.is_file() { own } else { side.root.join("tls/cert.pem") };
    ask(&side, &format!("?ca_file={}", cert.display())).await.unwrap();

    let other = VaultSide::new(true);
    let pinned = format!("?fingerprint={}", other.fingerprint.clone().unwrap());
    let error = ask(&side, &pinned).await.unwrap_err();
    let told = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Credentials);
    assert!(told.contains("not the pinned one") && told.contains(&fingerprint), "{told}");
    let missing = ask(&side, "?ca_file=/nowhere.pem").await.unwrap_err();
    assert!(missing.kind() == ErrorKind::Credentials && missing.to_string().contains("/nowhere.pem"), "{missing}");
}

/// `holdfast endpoints test` with a vault: who one is, a small upload there and away.
#[test]
fn a_vault_is_tried_step_by_step() {
    let side = VaultSide::new(true);
    let token = side.home.beside("token");
    std::fs::write(&token, &side.token).unwrap();
    let url = format!("vault://127.0.0.1:{}/?fingerprint={}", side.port, side.fingerprint.clone().unwrap());
    let test = ["endpoints", "test", "--url", &url, "--password-file", token.to_str().unwrap()];
    let unbound = side.home.holdfast(test).arg("--json").run();
    assert_eq!(unbound.code(), Some(1), "there is no home, and so no installation that the token could belong to");
    assert!(unbound.out().contains("REMOTE_CREDENTIALS"), "{}", unbound.out());

    crate::support::small_tree(&side.home.beside("source"));
    side.home.back_up(["source"]);
    let tried = side.home.json(test);
    let steps: Vec<_> = tried["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["standing", "write", "list", "delete"], "{tried}");
    assert_eq!(tried["ok"], true, "{tried}");
    let listed = side.home.holdfast(["vault", "runs", "--json", "--root"]).arg(&side.root).run();
    assert!(!listed.out().contains("holdfast-test"), "no run came of it: {}", listed.out());
}
