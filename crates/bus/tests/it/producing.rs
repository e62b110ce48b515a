//! Producing: acknowledgements, order, partitions, metrics.

use std::time::Duration;

use carillon_bus::{ConsumerOptions, SendError};
use carillon_schemas::shard::partition_of_key;

use crate::{
    stage::{Lane, Stage, on_both_lanes},
    support::{PATIENCE, eventually, metric, number, outgoing, send_numbers},
};

on_both_lanes!(
    a_key_goes_to_the_partition_that_every_kafka_client_computes,
    what_is_acknowledged_stands_once_and_in_the_order_in_which_it_was_sent,
    lag_and_connection_become_metrics,
);

async fn a_key_goes_to_the_partition_that_every_kafka_client_computes(lane: Lane) {
    let stage = Stage::start(lane, 12).await;
    let producer = stage.place.producer();
    for tenant in ["acme", "globex", "t", "tenant-a", "0"] {
        let ack = producer
            .send(outgoing(&stage.topic, None, tenant, "v"))
            .unwrap()
            .await
            .unwrap();
        let expected = partition_of_key(tenant.as_bytes(), 12);
        assert_eq!(ack.partition as u32, expected, "{tenant}");
    }
    let nowhere = format!("{}-not", stage.topic);
    let unknown = producer.send(outgoing(&nowhere, None, "k", "v")).unwrap();
    assert!(matches!(unknown.await, Err(SendError::Refused(_))));
}

async fn what_is_acknowledged_stands_once_and_in_the_order_in_which_it_was_sent(lane: Lane) {
    let stage = Stage::start(lane, 1).await;
    let producer = stage.place.producer();
    let acks = send_numbers(&producer, &stage.topic, 1, 0..3000).await;
    let offsets: Vec<_> = acks.iter().map(|ack| ack.offset).collect();
    assert_eq!(offsets, (0..3000).collect::<Vec<_>>());
    producer.flush(PATIENCE).await.unwrap();
    let ranges = stage.ranges();
    let page = ranges.read(0, 0, 3000, usize::MAX, PATIENCE).await.unwrap();
    let read: Vec<_> = page.records.iter().map(number).collect();
    assert_eq!(read, (0..3000).collect::<Vec<_>>());
    assert_eq!(stage.admin().ends(&stage.topic).await.unwrap(), [(0, 0, 3000)]);
}

async fn lag_and_connection_become_metrics(lane: Lane) {
    let stage = Stage::start(lane, 1).await;
    let metrics = &stage.place.metrics;
    send_numbers(&stage.place.producer(), &stage.topic, 1, 0..30).await;
    let options = ConsumerOptions {
        commit_every: Duration::from_millis(20),
        ..ConsumerOptions::default()
    };
    let mut member = stage.member(options);
    member.until(|m| m.records.len() == 30).await;
    for record in &member.records[..10] {
        member.finish(record);
    }
    let topic = &stage.topic;
    let lag = format!(r#"carillon_bus_lag_records{{client="carillon",kind="group",topic="{topic}"}}"#);
    eventually("the lag is told", || metric(metrics, &lag) == Some(20.0)).await;
    let up = r#"carillon_bus_connected{client="carillon",kind="group"}"#;
    assert_eq!(metric(metrics, up), Some(1.0));
    assert!(member.consumer.connected() && member.consumer.trouble().is_none());
    member.finish_all();
    eventually("the lag is gone", || metric(metrics, &lag) == Some(0.0)).await;
}
