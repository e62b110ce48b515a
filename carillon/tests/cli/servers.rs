//! The way into Kafka and Cassandra: secrets stay secret, contradictions are refused, and what can never work
//! ends a role at once.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
};

use crate::run::{Ended, Process, command, run};

const CANARY: &str = "00417";

#[test]
fn passwords_are_taken_as_they_are_written_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let toml = "[kafka_security]\nprotocol = \"sasl_tls\"\nuser = \"k\"\n[cassandra]\nuser = \"c\"\n";
    std::fs::write(dir.path().join("carillon.toml"), toml).unwrap();
    let mut command = command(dir.path(), &["config", "show", "--output", "json"]);
    command
        .env("CARILLON_KAFKA_SECURITY_PASSWORD", CANARY)
        .env("CARILLON_CASSANDRA_PASSWORD", CANARY);
    let ended = Ended::from(command.output().unwrap());
    if !cfg!(feature = "tls") {
        assert_eq!(ended.code, Some(2));
        assert!(ended.stderr.contains("--features tls"), "{}", ended.stderr);
        return;
    }
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!ended.stdout.contains(CANARY), "{}", ended.stdout);
    let listing: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    for key in ["kafka_security.password", "cassandra.password"] {
        let row = listing.as_array().unwrap().iter().find(|row| row["key"] == key);
        assert_eq!(row.unwrap()["value"], "***");
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let tls_only: &[(&[&str], &str)] = &[
        (
            &["--kafka-security-protocol", "sasl_tls"],
            "--kafka-security-user",
        ),
        (
            &[
                "--kafka-security-protocol",
                "tls",
                "--kafka-security-key-file",
                "key.pem",
            ],
            "--kafka-security-certificate-file",
        ),
    ];
    let always: &[(&[&str], &str)] = &[
        (&["--kafka-security-user", "me"], "no password for the user me"),
        (
            &["--kafka-security-password-file", "p"],
            "give --kafka-security-user",
        ),
        (
            &[
                "--kafka-security-user",
                "me",
                "--kafka-security-password-file",
                "p",
            ],
            "sasl_tls",
        ),
        (
            &["--kafka-security-ca-file", "ca.pem"],
            "--kafka-security-protocol tls",
        ),
        (&["--cassandra-user", "me"], "--cassandra-password-file"),
        (&["--cassandra-password-file", "p"], "--cassandra-user"),
        (&["--cassandra-ca-file", "ca.pem"], "--cassandra-tls"),
        (&["--cassandra-replication", "0"], "at least 1"),
    ];
    let more = if cfg!(feature = "tls") { tls_only } else { &[] };
    for (flags, hint) in always.iter().chain(more) {
        let role = [
            "router",
            "--store",
            "sqlite:s.db",
            "--admin-listen",
            "127.0.0.1:0",
        ];
        let ended = run(dir.path(), &[&role[..], *flags].concat());
        assert_eq!(ended.code, Some(2), "{flags:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(hint), "{flags:?}: {}", ended.stderr);
        assert!(
            !ended.stderr.contains("role starts"),
            "{flags:?}: {}",
            ended.stderr
        );
    }
    assert!(!dir.path().join("s.db").exists());
}

#[test]
fn a_password_file_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let flags = [
        "store",
        "migrate",
        "--store",
        "cassandra://127.0.0.1:1/carillon",
        "--cassandra-user",
        "me",
        "--cassandra-password-file",
        "no-such-file",
    ];
    let ended = run(dir.path(), &flags);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("no-such-file"), "{}", ended.stderr);
}

/// A role waits for servers, not for a URL to become another one.
#[test]
fn a_store_url_that_can_never_work_ends_a_role() {
    let dir = tempfile::tempdir().unwrap();
    for (url, hint) in [
        ("postgres://x", "sqlite:PATH"),
        ("cassandra://127.0.0.1:1/Not-A-Keyspace", "keyspace"),
        ("cassandra://me:secret@127.0.0.1:1/carillon", "password"),
    ] {
        let ended = ends(dir.path(), url);
        assert_eq!(ended.code, Some(1), "{url}: {}", ended.stderr);
        assert!(ended.stderr.contains(hint), "{url}: {}", ended.stderr);
        assert!(!ended.stderr.contains("secret"), "{url}: {}", ended.stderr);
    }
}

fn ends(dir: &Path, url: &str) -> Ended {
    run(
        dir,
        &[
            "router",
            "--admin-listen",
            "127.0.0.1:0",
            "--kafka",
            "127.0.0.1:1",
            "--store",
            url,
        ],
    )
}

/// A router whose Cassandra is not there: who wrote its lines, up to the one that says so.
fn log_without_cassandra(filter: &[&str]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let role = [
        "router",
        "--admin-listen",
        "127.0.0.1:0",
        "--kafka",
        "127.0.0.1:1",
        "--store",
        "cassandra://127.0.0.1:1/carillon",
        "--log-format",
        "json",
    ];
    let mut command = command(dir.path(), &[&role, filter].concat());
    let mut router = Process(command.stderr(Stdio::piped()).spawn().unwrap());
    let mut targets = Vec::new();
    for line in BufReader::new(router.0.stderr.take().unwrap()).lines() {
        let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        targets.push(line["target"].as_str().unwrap().to_owned());
        if line["server"] == "store" {
            return targets;
        }
    }
    panic!("it ended: {targets:?}");
}

/// That Cassandra is not there is told by us, once; the driver tells each attempt to whoever asks for it.
#[test]
fn the_drivers_attempts_to_connect_are_not_logged_unless_asked_for() {
    let of_the_driver = |targets: &[String]| targets.iter().any(|target| target.starts_with("scylla"));
    let quiet = log_without_cassandra(&[]);
    assert!(!of_the_driver(&quiet), "{quiet:?}");
    let asked = log_without_cassandra(&["--log-filter", "info"]);
    assert!(of_the_driver(&asked), "{asked:?}");
}
