//! Configuration: sources, secrets, and what is refused.

use crate::run::{Ended, command, run, succeed};

const CANARY: &str = "canary-0123456789-0123456789-0123456789";

fn row<'a>(listing: &'a serde_json::Value, key: &str) -> (&'a serde_json::Value, &'a str) {
    let setting = listing
        .as_array()
        .unwrap()
        .iter()
        .find(|s| s["key"] == key)
        .unwrap();
    (&setting["value"], setting["source"].as_str().unwrap())
}

#[test]
fn config_show_names_the_source_of_each_value_and_hides_secrets() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("carillon.toml"),
        "kafka = \"from-file:1\"\n[auth]\nissuer = \"me\"\n",
    )
    .unwrap();
    for output in ["json", "text"] {
        let mut command = command(
            dir.path(),
            &["config", "show", "--listen", "127.0.0.1:7", "--output", output],
        );
        command
            .env("CARILLON_AUTH_HS256_SECRET", CANARY)
            .env("CARILLON_FSYNC", "interval");
        command.env("CARILLON_TOKEN", CANARY);
        let ended = Ended::from(command.output().unwrap());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(
            !ended.stdout.contains(CANARY) && ended.stdout.contains("***"),
            "{}",
            ended.stdout
        );
        if output == "json" {
            let listing = serde_json::from_str(&ended.stdout).unwrap();
            assert_eq!(row(&listing, "kafka"), (&"from-file:1".into(), "file"));
            assert_eq!(row(&listing, "auth.issuer"), (&"me".into(), "file"));
            assert_eq!(
                row(&listing, "fsync"),
                (&"interval".into(), "environment CARILLON_FSYNC")
            );
            assert_eq!(row(&listing, "listen"), (&"127.0.0.1:7".into(), "flag --listen"));
            assert_eq!(row(&listing, "no_auth"), (&false.into(), "default"));
            let secret = (&"***".into(), "environment CARILLON_AUTH_HS256_SECRET");
            assert_eq!(row(&listing, "auth.hs256_secret"), secret);
        }
    }
}

#[test]
fn a_secret_of_digits_and_a_list_of_one_are_taken_as_they_are_meant() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path(), &["config", "show", "--output", "json"]);
    command
        .env("CARILLON_AUTH_HS256_SECRET", "0".repeat(40))
        .env("CARILLON_AUTH_KEY_FILE", "a,b.pem");
    let ended = Ended::from(command.output().unwrap());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let listing = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(row(&listing, "auth.key_file").0, &serde_json::json!(["a,b.pem"]));
}

#[test]
fn an_unknown_key_names_the_nearest_known_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("other.toml");
    std::fs::write(&file, "[auth]\nisuer = \"me\"\n").unwrap();
    let ended = run(dir.path(), &["config", "check", "--config", "other.toml"]);
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("auth.isuer") && ended.stderr.contains("did you mean auth.issuer?"),
        "{}",
        ended.stderr
    );

    let ended: Ended = command(dir.path(), &["config", "check"])
        .env("CARILLON_KAFKAA", "x")
        .output()
        .unwrap()
        .into();
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("did you mean CARILLON_KAFKA?"),
        "{}",
        ended.stderr
    );
    assert_eq!(
        succeed(dir.path(), &["config", "check"]),
        "the configuration is valid\n"
    );
}

#[test]
fn the_ladder_and_the_limits_of_channels_are_settings_that_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("carillon.toml");
    let limits = "[[router.channel_limits]]\ntenant = \"acme\"\nchannel = \"alerts\"\nmax_bytes = 2048\n";
    std::fs::write(
        &file,
        format!("[topics]\nretry_tiers = [\"1s\", \"2s\"]\nbeside = 3\n{limits}"),
    )
    .unwrap();
    let shown = succeed(dir.path(), &["config", "show", "--output", "json"]);
    let listing = serde_json::from_str(&shown).unwrap();
    let tiers = serde_json::json!(["1s", "2s"]);
    assert_eq!(row(&listing, "topics.retry_tiers"), (&tiers, "file"));
    assert_eq!(row(&listing, "topics.beside"), (&3.into(), "file"));
    let limit = serde_json::json!([{"tenant": "acme", "channel": "alerts", "max_bytes": 2048}]);
    assert_eq!(row(&listing, "router.channel_limits"), (&limit, "file"));

    for (text, words) in [
        (
            "[topics]\nretry_tiers = [\"5s\", \"soon\"]\n",
            "\"soon\" must be written as whole seconds",
        ),
        (
            "[topics]\nretry_tiers = [\"5s\", \"2s\"]\n",
            "2s stands behind 5s",
        ),
        ("[topics]\nretry_tiers = []\n", "at least one delay"),
        (&limits.replace("2048", "0"), "channel_limits"),
        (&limits.replace("max_bytes", "max"), "max_bytes"),
        (&limits.replace("acme", "ACME"), "lower-case"),
    ] {
        std::fs::write(&file, text).unwrap();
        let ended = run(dir.path(), &["config", "check"]);
        assert_eq!(ended.code, Some(2), "{text}");
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }

    std::fs::remove_file(&file).unwrap();
    let mut command = command(dir.path(), &["config", "show", "--output", "json"]);
    command.env("CARILLON_TOPICS_RETRY_TIERS", "1s 2s");
    let ended = Ended::from(command.output().unwrap());
    let listing = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(row(&listing, "topics.retry_tiers").0, &tiers, "{}", ended.stderr);
}

#[test]
fn a_role_without_a_key_or_a_store_says_what_to_give() {
    let dir = tempfile::tempdir().unwrap();
    let ended = run(dir.path(), &["ingest", "--admin-listen", "127.0.0.1:0"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("--store sqlite:PATH"), "{}", ended.stderr);
    let arguments = [
        "ingest",
        "--store",
        "sqlite:a.db",
        "--admin-listen",
        "127.0.0.1:0",
        "--listen",
        "127.0.0.1:0",
    ];
    let ended = run(dir.path(), &arguments);
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("--auth-key-file") && ended.stderr.contains("--no-auth"),
        "{}",
        ended.stderr
    );
}

#[test]
fn no_auth_is_refused_where_other_machines_can_reach() {
    let dir = tempfile::tempdir().unwrap();
    let ended = run(
        dir.path(),
        &[
            "up",
            "--no-auth",
            "--listen",
            "0.0.0.0:0",
            "--kafka-listen",
            "127.0.0.1:0",
        ],
    );
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("loopback"), "{}", ended.stderr);
    assert!(
        !dir.path().join("carillon-data").exists(),
        "refused before any work"
    );
}
