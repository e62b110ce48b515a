//! Seeded bugs break what they say, and only when they are chosen.

use std::time::Duration;

use carillon_bus::ConsumerOptions;

use crate::{
    stage::{Lane, Stage},
    support::{PATIENCE, eventually, metric, send_numbers},
};

async fn stage(partitions: u32, bug: &str) -> Stage {
    let mut stage = Stage::start(Lane::Embedded, partitions).await;
    stage.place.config.seeded_bug = Some(bug.parse().unwrap());
    stage
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commit_high_water_loses_what_was_handed_out_and_not_finished() {
    let stage = stage(1, "commit_high_water").await;
    send_numbers(&stage.place.producer(), &stage.topic, 1, 0..10).await;
    let mut member = stage.member(ConsumerOptions::default());
    member.until(|m| m.records.len() == 10).await;
    member.consumer.close(PATIENCE).await.unwrap();
    let committed = stage.admin().committed(&stage.group, &stage.topic).await.unwrap();
    assert_eq!(committed, [(0, Some(10))]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_resume_after_rebalance_leaves_a_paused_partition_that_stays_paused() {
    let stage = stage(2, "no_resume_after_rebalance").await;
    send_numbers(&stage.place.producer(), &stage.topic, 2, 0..1000).await;
    let options = ConsumerOptions {
        in_flight_per_partition: 100,
        hand_over: Duration::from_millis(50),
        ..ConsumerOptions::default()
    };
    let mut first = stage.member(options.clone());
    first.until(|m| m.records.len() >= 150).await;
    let paused = r#"carillon_bus_pauses_total{client="carillon",kind="group",reason="in_flight"}"#;
    eventually("a pause", || metric(&stage.place.metrics, paused) >= Some(1.0)).await;
    let _second = stage.member(options);
    first.until(|m| m.assigned.len() == 1).await;
    let before = first.records.len();
    first.finish_all();
    let more = tokio::time::timeout(Duration::from_secs(1), first.until(|m| m.records.len() > before)).await;
    assert!(more.is_err(), "it went on");
}
