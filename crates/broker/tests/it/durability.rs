//! Restarts: what was acknowledged is there, once, and ids are never given twice.

use std::fs;

use carillon_broker::Fsync;
use kafka_protocol::records::Compression;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use crate::{client::batch, stage::Stage};

#[tokio::test]
async fn everything_survives_a_restart_in_order_and_nothing_is_scanned_after_one() {
    let stage = Stage::start_with(|o| o.segment_bytes = 3_000).await;
    let mut client = stage.client().await;
    client.create("keep", 3, &[("retention.ms", "1234")]).await;
    for i in 0..200 {
        client.put("keep", i % 3, &[&format!("value {i}")]).await;
    }
    let stage = stage.restart().await;
    assert_eq!(
        stage
            .stats
            .recovery_bytes_scanned
            .load(std::sync::atomic::Ordering::Relaxed),
        0
    );
    let mut client = stage.client().await;
    for partition in 0..3 {
        let values = client.values("keep", partition, 0).await;
        let expected = (0..200)
            .filter(|i| i % 3 == partition)
            .map(|i| format!("value {i}"));
        assert_eq!(values, expected.collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_retry_after_a_crash_is_recognised() {
    let stage = Stage::start().await;
    let mut client = stage.client().await;
    client.create("retry", 1, &[]).await;
    let id = client.producer_id().await;
    let sent = |sequence| batch((id, 0, sequence), 1, Compression::None, &["a", "b"]);
    for sequence in [0, 2, 4, 6] {
        client.produce("retry", 0, sent(sequence)).await;
    }
    let stage = Stage::start_in(stage.abandon().await, |_| {}).await.unwrap();
    let mut client = stage.client().await;
    assert_eq!(client.produce("retry", 0, sent(6)).await.base_offset, 6);
    assert_eq!(client.produce("retry", 0, sent(2)).await.base_offset, 2);
    assert_eq!(client.produce("retry", 0, sent(8)).await.base_offset, 8);
    assert_eq!(client.values("retry", 0, 0).await.len(), 10);
    assert!(client.producer_id().await > id);
    // A restart in order keeps the producers, too, in the index instead of the log.
    let stage = stage.restart().await;
    assert_eq!(
        stage
            .client()
            .await
            .produce("retry", 0, sent(8))
            .await
            .base_offset,
        8
    );
}

#[tokio::test]
async fn with_an_interval_a_stop_in_order_loses_nothing() {
    let stage = Stage::start_with(|o| o.fsync = Fsync::Interval(std::time::Duration::from_secs(3600))).await;
    let mut client = stage.client().await;
    client.create("later", 1, &[]).await;
    for i in 0..50 {
        client.put("later", 0, &[&i.to_string()]).await;
    }
    let stage = stage.restart().await;
    assert_eq!(stage.client().await.values("later", 0, 0).await.len(), 50);
}

/// What may happen to a log.
#[derive(Debug, Clone)]
enum Step {
    Append(u8),
    /// The process dies; that many bytes of what was never synced are left of a write it had begun.
    Crash(u16),
    Restart,
}

#[test]
fn any_history_of_crashes_keeps_exactly_what_was_acknowledged() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let step = prop_oneof![
        5 => (1..20_u8).prop_map(Step::Append),
        1 => any::<u16>().prop_map(Step::Crash),
        1 => Just(Step::Restart),
    ];
    let config = Config {
        failure_persistence: None,
        ..Config::with_cases(20)
    };
    let run = TestRunner::new(config).run(&proptest::collection::vec(step, 1..25), |steps| {
        runtime.block_on(history(steps));
        Ok(())
    });
    run.unwrap();
}

async fn history(steps: Vec<Step>) {
    let change = |o: &mut carillon_broker::Options| {
        o.segment_bytes = 1_500;
        o.limits.checkpoint_bytes = 400;
    };
    let mut stage = Stage::start_with(change).await;
    stage.client().await.create("h", 1, &[]).await;
    let mut expected: Vec<String> = Vec::new();
    for step in steps {
        match step {
            Step::Append(count) => {
                let values: Vec<String> = (0..count).map(|i| format!("{}-{i}", expected.len())).collect();
                let borrowed: Vec<&str> = values.iter().map(String::as_str).collect();
                let offset = stage.client().await.put("h", 0, &borrowed).await;
                assert_eq!(offset, i64::try_from(expected.len()).unwrap());
                expected.extend(values);
            }
            Step::Crash(torn) => {
                let dir = stage.abandon().await;
                tear(
                    dir.path(),
                    usize::from(torn),
                    i64::try_from(expected.len()).unwrap(),
                );
                stage = Stage::start_in(dir, change).await.unwrap();
            }
            Step::Restart => stage = stage.restart().await,
        }
        assert_eq!(stage.client().await.values("h", 0, 0).await, expected);
    }
}

/// Leaves a part of a batch behind the log, as a killed machine may.
fn tear(dir: &std::path::Path, torn: usize, next_offset: i64) {
    let Ok(files) = fs::read_dir(dir.join("topics/h/0")) else {
        return;
    };
    let logs = files
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "log"));
    let Some(last) = logs.max() else { return };
    let mut batch = batch(
        (-1, -1, -1),
        1,
        Compression::None,
        &["never acknowledged", "nor this"],
    )
    .to_vec();
    batch[..8].copy_from_slice(&next_offset.to_be_bytes());
    let mut bytes = fs::read(&last).unwrap();
    bytes.extend_from_slice(&batch[..torn % batch.len()]);
    fs::write(&last, bytes).unwrap();
}
