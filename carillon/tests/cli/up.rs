//! `up` as a process: what it prints works, a second start is refused, and it stops when it is told to.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::Path,
    process::Stdio,
};

use crate::run::{Ended, Process, command, run, succeed};

const UP: &[&str] = &[
    "up",
    "--listen",
    "127.0.0.1:0",
    "--kafka-listen",
    "127.0.0.1:0",
    "--output",
    "json",
];

/// Starts `up`, and gives the facts of its banner.
pub(crate) fn up(dir: &Path, more: &[&str]) -> (Process, serde_json::Value) {
    let mut child = command(dir, &[UP, more].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let process = Process(child);
    (
        process,
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}")),
    )
}

/// A command of the client, with the server's address.
pub(crate) fn with_url<'a>(arguments: &[&'a str], facts: &'a serde_json::Value) -> Vec<&'a str> {
    [arguments, &["--url", facts["url"].as_str().unwrap()]].concat()
}

#[test]
fn what_is_sent_is_heard_and_what_was_missed_comes_later() {
    let dir = tempfile::tempdir().unwrap();
    let (process, facts) = up(dir.path(), &[]);

    let listen = [
        "listen",
        "--channel",
        "alerts",
        "--count",
        "1",
        "--output",
        "json",
    ];
    let mut listener = command(dir.path(), &with_url(&listen, &facts))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map(Process)
        .unwrap();
    let mut told = BufReader::new(listener.0.stderr.take().unwrap()).lines();
    assert!(told.any(|line| line.unwrap().starts_with("subscribed to channel:alerts")));

    let id = succeed(
        dir.path(),
        &with_url(&["send", "--channel", "alerts", "hello"], &facts),
    );
    let mut line = String::new();
    BufReader::new(listener.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let frame: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&frame["notification_id"], &frame["content"]),
        (&id.trim().into(), &"hello".into())
    );
    assert_eq!(
        listener.0.wait().unwrap().code(),
        Some(0),
        "it ends after --count"
    );

    let mut sender = command(
        dir.path(),
        &with_url(&["send", "--channel", "alerts", "--output", "json"], &facts),
    )
    .stdin(Stdio::piped())
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    let lines = b"{\"content\":\"two\"}\n\n{\"content\":\"three\",\"title\":\"t\"}\n";
    sender.stdin.take().unwrap().write_all(lines).unwrap();
    let sent = Ended::from(sender.wait_with_output().unwrap());
    assert_eq!((sent.code, sent.stdout.lines().count()), (Some(0), 2));

    let cursor = frame["cursor"].as_str().unwrap();
    let resume = ["listen", "--channel", "alerts", "--since", cursor, "--count", "2"];
    let missed = succeed(dir.path(), &with_url(&resume, &facts));
    let contents: Vec<_> = missed
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["content"].clone())
        .collect();
    assert_eq!(contents, ["two", "three"]);
    assert_eq!(process.terminate(), Some(0));
}

#[test]
fn what_the_banner_says_to_paste_works() {
    let dir = tempfile::tempdir().unwrap();
    for more in [&["--no-auth"][..], &[]] {
        let (process, facts) = up(dir.path(), more);
        let shell = |line: &str| {
            let mut shell = std::process::Command::new("sh");
            shell.args(["-c", line]).current_dir(dir.path());
            shell
        };
        let listen = format!("{} --count 1", facts["listen"].as_str().unwrap());
        let mut listener = shell(&listen)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map(Process)
            .unwrap();
        let mut told = BufReader::new(listener.0.stderr.take().unwrap()).lines();
        assert!(
            told.any(|line| line.unwrap().starts_with("subscribed to channel:alerts")),
            "{listen}"
        );
        let posted = shell(facts["curl"].as_str().unwrap()).output().unwrap();
        let answer = String::from_utf8_lossy(&posted.stdout).into_owned();
        assert!(answer.contains("\"accepted\""), "{answer}");
        let mut line = String::new();
        BufReader::new(listener.0.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert!(line.contains("\"content\":\"hello\""), "{line}");
        assert_eq!(process.terminate(), Some(0));
    }
}

#[test]
fn a_second_start_on_the_same_directory_is_refused_and_the_first_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (process, facts) = up(dir.path(), &[]);
    let ended = run(dir.path(), UP);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains("carillon-data") && ended.stderr.contains("in use"),
        "{}",
        ended.stderr
    );
    succeed(dir.path(), &with_url(&["send", "still here"], &facts));
    assert_eq!(process.terminate(), Some(0));
}

#[test]
fn a_port_in_use_is_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let port = address.rsplit(':').next().unwrap();
    for (flag, other) in [("--listen", "--kafka-listen"), ("--kafka-listen", "--listen")] {
        let ended = run(dir.path(), &["up", flag, &address, other, "127.0.0.1:0"]);
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.contains(&format!("port {port}")), "{}", ended.stderr);
        assert!(ended.stderr.contains(&format!("{flag} ")), "{}", ended.stderr);
    }
}

#[test]
fn a_damaged_store_is_refused_by_name_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (process, _) = up(dir.path(), &[]);
    assert_eq!(process.terminate(), Some(0));
    let store = dir.path().join("carillon-data/carillon.db");
    std::fs::write(&store, "this is no database").unwrap();
    let ended = run(dir.path(), UP);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("carillon.db"), "{}", ended.stderr);
    assert_eq!(std::fs::read(&store).unwrap(), b"this is no database");
}

#[test]
fn a_wrong_token_and_a_missing_server_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let (process, facts) = up(dir.path(), &[]);
    let ended = run(
        dir.path(),
        &with_url(&["send", "x", "--token", "canary.is.wrong"], &facts),
    );
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains("401") && !ended.stderr.contains("canary"),
        "{}",
        ended.stderr
    );
    assert_eq!(process.terminate(), Some(0));
    let ended = run(
        dir.path(),
        &with_url(&["send", "x", "--token", "canary.is.wrong"], &facts),
    );
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains("cannot reach") && ended.stderr.contains("carillon up"),
        "{}",
        ended.stderr
    );
}

#[test]
fn the_smoke_test_passes_against_a_running_instance() {
    let dir = tempfile::tempdir().unwrap();
    let (process, facts) = up(dir.path(), &[]);
    let smoke = ["smoke", "--kafka", facts["kafka"].as_str().unwrap()];
    let lines = succeed(dir.path(), &with_url(&smoke, &facts));
    assert_eq!(
        (lines.lines().count(), lines.matches("pass").count()),
        (7, 7),
        "{lines}"
    );
    assert_eq!(process.terminate(), Some(0));
    let ended = run(dir.path(), &with_url(&smoke, &facts));
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
}

#[test]
fn the_demo_shows_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let shown = succeed(
        dir.path(),
        &["demo", "--drop-subscriber", "--alerts", "6", "--last-n", "2"],
    );
    for step in 1..=8 {
        assert!(shown.contains(&format!("[{step}/8]")), "{shown}");
    }
    assert_eq!(shown.matches(" received ").count(), 24, "{shown}");
    assert!(shown.contains("everything shown is so"), "{shown}");
}
