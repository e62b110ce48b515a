//! `carillon topics` against both kinds of Kafka: what it would do, what it did, what it refuses.
//!
//! On the shared cluster its topics stay, under a prefix of their own: the product deletes nothing.

use std::{net::TcpListener, path::Path, process::Stdio};

use carillon_schemas::topics::{Layout, Topics};

use crate::run::{Ended, Process, command, run, succeed};

struct Kafka {
    address: String,
    copies: &'static str,
}

/// A broker and its address. The commands themselves wait for one that is about to listen.
fn embedded(dir: &Path) -> (Process, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let mut broker = command(dir, &["broker", "--kafka-listen", &address]);
    let broker = broker.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    (Process(broker.unwrap()), address)
}

#[test]
fn topics_of_the_embedded_broker_are_planned_made_and_not_made_worse() {
    let dir = tempfile::tempdir().unwrap();
    let (_broker, address) = embedded(dir.path());
    let kafka = Kafka { address, copies: "1" };
    planned_made_and_not_made_worse(dir.path(), &kafka);
}

#[test]
fn a_command_asks_nothing_of_the_settings_of_a_server_that_it_does_not_enter() {
    let dir = tempfile::tempdir().unwrap();
    let (_broker, kafka) = embedded(dir.path());
    let plan = ["topics", "plan", "--kafka", &kafka, "--replication", "1"];
    let migrate = ["store", "migrate", "--store", "sqlite:s.db"];
    let with = |variable: &str, arguments: &[&str]| {
        let mut command = command(dir.path(), arguments);
        Ended::from(command.env(variable, "without-a-user").output().unwrap())
    };
    let (kafkas, cassandras) = ("CARILLON_KAFKA_SECURITY_PASSWORD", "CARILLON_CASSANDRA_PASSWORD");
    for (variable, arguments) in [(cassandras, &plan[..]), (kafkas, &migrate)] {
        let ended = with(variable, arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr);
    }
    // Nor does what a command does enter go unasked, and `config check` asks about all.
    let check = ["config", "check"];
    for (variable, arguments) in [
        (kafkas, &plan[..]),
        (cassandras, &migrate),
        (kafkas, &check),
        (cassandras, &check),
    ] {
        let ended = with(variable, arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.stdout);
        assert!(ended.stderr.contains("without a user"), "{}", ended.stderr);
    }
}

#[test]
#[ignore = "needs the cluster: make cluster"]
fn topics_of_a_cluster_are_planned_made_and_not_made_worse() {
    let dir = tempfile::tempdir().unwrap();
    let address = carillon_fixtures::shared().kafka.plaintext;
    let kafka = Kafka { address, copies: "3" };
    planned_made_and_not_made_worse(dir.path(), &kafka);
}

fn planned_made_and_not_made_worse(dir: &Path, kafka: &Kafka) {
    let prefix = format!("cli-{}.", std::process::id());
    let topics = |what: &'static str, copies: &str, shards: &str| {
        let arguments = [
            "topics",
            what,
            "--kafka",
            &kafka.address,
            "--topics-prefix",
            &prefix,
            "--replication",
            copies,
            "--shards",
            shards,
            "--output",
            "json",
        ];
        arguments.map(str::to_owned)
    };
    let call = |arguments: [String; 12]| run(dir, &arguments.each_ref().map(String::as_str));

    let wide = call(topics("apply", "7", "2"));
    assert_eq!(wide.code, Some(1), "{}", wide.stdout);
    let brokers = format!("brokers: {}", kafka.copies);
    assert!(
        wide.stderr.contains("7 copies") && wide.stderr.contains(&brokers),
        "{}",
        wide.stderr
    );

    let specified = topics("plan", kafka.copies, "2");
    let specified = specified.each_ref().map(String::as_str);
    let planned = succeed(dir, &specified);
    let copies = format!("{} copies", kafka.copies);
    let all = Topics::new(&prefix).all(&Layout::SINGLE).len();
    assert_eq!(planned.matches(&copies).count(), all, "{planned}");
    let made = call(topics("apply", kafka.copies, "2"));
    assert_eq!(made.stdout.replace("true", "false"), planned, "{}", made.stderr);
    assert_eq!(succeed(dir, &specified), "{\"applied\":false,\"changes\":[]}\n");

    let grown = call(topics("apply", kafka.copies, "4"));
    assert_eq!(grown.code, Some(1), "{}", grown.stdout);
    assert!(grown.stderr.contains("new generation"), "{}", grown.stderr);
    let told = call(topics("plan", kafka.copies, "4"));
    assert!(told.code == Some(0) && told.stdout.contains("refuse"), "{told:?}");
    assert_eq!(succeed(dir, &specified), "{\"applied\":false,\"changes\":[]}\n");
}
