//! Tokens: what is minted is what is shown.

use std::{io::Write, process::Stdio};

use crate::run::{Ended, command, run, succeed};

const MINT: &[&str] = &[
    "token",
    "mint",
    "--hs256-secret-file",
    "secret",
    "--tenant",
    "demo",
    "--sub",
    "alice",
    "--expires-in",
    "1h",
];

#[test]
fn what_is_minted_can_be_inspected() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("secret"),
        "a secret that only this test uses, of 40\n",
    )
    .unwrap();
    let more = [
        "--scope",
        "publish read:tenant",
        "--scope",
        "listen",
        "--channel",
        "orders.*",
    ];
    let token = succeed(dir.path(), &[MINT, &more].concat());
    assert_eq!((token.lines().count(), token.matches('.').count()), (1, 2));

    let mut child = command(dir.path(), &["token", "inspect", "--output", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
    let ended = Ended::from(child.wait_with_output().unwrap());
    let shown: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let claims = &shown["claims"];
    assert_eq!(shown["header"]["alg"], "HS256");
    assert_eq!(
        (&claims["tenant_id"], &claims["sub"]),
        (&"demo".into(), &"alice".into())
    );
    assert_eq!(claims["scope"], "publish read:tenant listen");
    assert_eq!(claims["channels"], serde_json::json!(["orders.*"]));
    assert_eq!(
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
        3600
    );
}

#[test]
fn what_cannot_be_minted_is_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("secret"), "too short").unwrap();
    let ended = run(dir.path(), MINT);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("32 bytes"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("too short"), "{}", ended.stderr);

    let ended = run(dir.path(), &[MINT, &["--scope", "fly"]].concat());
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("fly") && ended.stderr.contains("publish"),
        "{}",
        ended.stderr
    );

    let ended = run(dir.path(), &["token", "mint", "--tenant", "demo", "--sub", "a"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("carillon up"), "{}", ended.stderr);
    assert_eq!(
        run(
            dir.path(),
            &["token", "mint", "--tenant", "Not A Tenant", "--sub", "a"]
        )
        .code,
        Some(2)
    );
    assert_eq!(run(dir.path(), &["token", "inspect", "junk"]).code, Some(1));
}
