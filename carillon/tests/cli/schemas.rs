//! Schemas: the committed ones are up to date, and staleness is told.

use std::path::Path;

use crate::run::{run, succeed};

#[test]
fn the_committed_schemas_are_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    assert_eq!(
        succeed(root, &["schemas", "check"]),
        "every schema is up to date\n"
    );
}

#[test]
fn a_stale_a_missing_and_a_foreign_file_are_told() {
    let dir = tempfile::tempdir().unwrap();
    succeed(dir.path(), &["schemas", "write", "--dir", "out"]);
    succeed(dir.path(), &["schemas", "check", "--dir", "out"]);
    let out = dir.path().join("out");
    std::fs::write(out.join("problem.json"), "{}").unwrap();
    std::fs::remove_file(out.join("delivery.json")).unwrap();
    std::fs::write(out.join("mine.json"), "{}").unwrap();
    let ended = run(dir.path(), &["schemas", "check", "--dir", "out"]);
    assert_eq!(ended.code, Some(1));
    for line in [
        "problem.json is stale",
        "delivery.json is missing",
        "mine.json is none of ours",
    ] {
        assert!(ended.stdout.contains(line), "{}", ended.stdout);
    }
}
