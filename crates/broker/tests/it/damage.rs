//! Damage on disk: a torn tail is cut, everything else is refused by name, and nothing is thrown away.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use carillon_broker::{Broker, BrokerError};
use kafka_protocol::ResponseError;
use tempfile::TempDir;

use crate::{
    client::records,
    stage::{Stage, options},
};

fn log(dir: &Path) -> PathBuf {
    dir.join("topics/t/0/00000000000000000000.log")
}

/// A directory with ten records in one partition, closed in order or not.
async fn directory(in_order: bool) -> TempDir {
    let stage = Stage::start().await;
    let mut client = stage.client().await;
    client.create("t", 1, &[]).await;
    for i in 0..10 {
        client.put("t", 0, &[&format!("record {i}")]).await;
    }
    if in_order {
        stage.stop().await
    } else {
        stage.abandon().await
    }
}

async fn refusal(dir: &Path) -> String {
    match Broker::bind(options(dir, |_| {})).await {
        Ok(_) => panic!("the broker started on damaged files"),
        Err(error @ (BrokerError::Damaged { .. } | BrokerError::Metadata { .. })) => error.to_string(),
        Err(other) => panic!("another error: {other}"),
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_torn_tail_is_cut_and_what_was_acknowledged_stays() {
    let dir = directory(false).await;
    let bytes = fs::read(log(dir.path())).unwrap();
    let each = bytes.len() / 10;
    let torn = &bytes[..each - 5];
    OpenOptions::new()
        .append(true)
        .open(log(dir.path()))
        .unwrap()
        .write_all(torn)
        .unwrap();
    let stage = Stage::start_in(dir, |_| {}).await.unwrap();
    let mut client = stage.client().await;
    assert_eq!(client.values("t", 0, 0).await.len(), 10);
    assert_eq!(client.put("t", 0, &["next"]).await, 10);
    let dir = stage.stop().await;
    assert_eq!(
        fs::metadata(log(dir.path())).unwrap().len(),
        bytes.len() as u64 + each as u64 - 4
    );
}

#[tokio::test]
async fn damage_before_valid_records_is_refused_with_file_and_place() {
    let dir = directory(false).await;
    let before = fs::read(log(dir.path())).unwrap();
    flip(&log(dir.path()), before.len() / 2);
    let damaged = fs::read(log(dir.path())).unwrap();
    let told = refusal(dir.path()).await;
    assert!(
        told.contains("00000000000000000000.log") && told.contains("damaged at byte"),
        "{told}"
    );
    assert!(told.contains("restore this file"), "{told}");
    assert_eq!(fs::read(log(dir.path())).unwrap(), damaged, "nothing was changed");
}

#[tokio::test]
async fn damage_after_a_clean_stop_is_told_to_readers_and_what_stands_before_it_stays_readable() {
    let dir = directory(true).await;
    let bytes = fs::read(log(dir.path())).unwrap();
    let sixth = bytes.len() / 10 * 5;
    flip(&log(dir.path()), sixth + bytes.len() / 10 - 2);
    let stage = Stage::start_in(dir, |_| {}).await.unwrap();
    let mut client = stage.client().await;
    let before = client.fetch("t", 0, 0).await;
    let last = records(&before).last().map(|(offset, ..)| *offset);
    assert_eq!((before.error_code, last), (0, Some(4)));
    let damaged = client.fetch("t", 0, 5).await;
    assert_eq!(damaged.error_code, ResponseError::KafkaStorageError.code());
    assert!(records(&damaged).is_empty());
    assert_eq!(client.fetch("t", 0, 6).await.error_code, 0);
    stage.stop().await;
}

#[tokio::test]
async fn a_log_shorter_than_when_it_was_synced_is_refused() {
    let dir = directory(true).await;
    let bytes = fs::read(log(dir.path())).unwrap();
    fs::write(log(dir.path()), &bytes[..bytes.len() - 1]).unwrap();
    assert!(refusal(dir.path()).await.contains("shorter"));
}

#[tokio::test]
async fn a_missing_segment_is_refused() {
    let stage = Stage::start_with(|o| o.segment_bytes = 500).await;
    let mut client = stage.client().await;
    client.create("t", 1, &[]).await;
    for _ in 0..30 {
        client.put("t", 0, &["some words to fill segments"]).await;
    }
    let dir = stage.stop().await;
    let mut logs: Vec<_> = fs::read_dir(dir.path().join("topics/t/0"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    logs.retain(|path| path.extension().is_some_and(|e| e == "log"));
    logs.sort();
    assert!(logs.len() > 4);
    fs::remove_file(&logs[2]).unwrap();
    assert!(refusal(dir.path()).await.contains("does not begin where"));
}

#[tokio::test]
async fn lost_or_damaged_indexes_are_made_again() {
    let stage = Stage::start_with(|o| o.segment_bytes = 500).await;
    let mut client = stage.client().await;
    client.create("t", 1, &[]).await;
    for i in 0..30 {
        client.put("t", 0, &[&format!("record {i}")]).await;
    }
    let dir = stage.stop().await;
    let files = fs::read_dir(dir.path().join("topics/t/0"))
        .unwrap()
        .map(|e| e.unwrap().path());
    for (at, path) in files
        .filter(|p| p.extension().is_some_and(|e| e == "index"))
        .enumerate()
    {
        if at % 2 == 0 {
            fs::remove_file(path).unwrap()
        } else {
            flip(&path, 20)
        }
    }
    let stage = Stage::start_in(dir, |_| {}).await.unwrap();
    assert_eq!(stage.client().await.values("t", 0, 0).await.len(), 30);
}

#[tokio::test]
async fn damaged_metadata_is_refused() {
    let dir = directory(true).await;
    fs::write(dir.path().join("topics/t/topic.json"), b"{\"partitions\":").unwrap();
    assert!(refusal(dir.path()).await.contains("topic.json"));
    fs::remove_file(dir.path().join("topics/t/topic.json")).unwrap();
    assert!(refusal(dir.path()).await.contains("the topic has logs"));
}

#[tokio::test]
async fn one_process_at_a_time_and_loopback_only() {
    let stage = Stage::start().await;
    let second = Broker::bind(options(stage.dir.path(), |_| {})).await;
    assert!(matches!(second, Err(BrokerError::InUse(_))));
    let dir = TempDir::new().unwrap();
    let open = Broker::bind(options(dir.path(), |o| o.listen = "0.0.0.0:0".parse().unwrap())).await;
    assert!(matches!(open, Err(BrokerError::NotLoopback(_))));
}
