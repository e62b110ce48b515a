//! Bytes that are no request: the connection ends, the broker goes on.

use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, MetadataRequest, RequestHeader};
use kafka_protocol::protocol::{Encodable, StrBytes};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use crate::stage::Stage;

/// A frame with a plausible head.
fn frame(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend_from_slice(&i32::try_from(body.len() + 10).unwrap().to_be_bytes());
    frame.extend_from_slice(&key.to_be_bytes());
    frame.extend_from_slice(&version.to_be_bytes());
    frame.extend_from_slice(&7_i32.to_be_bytes());
    frame.extend_from_slice(&(-1_i16).to_be_bytes());
    frame.extend_from_slice(body);
    frame
}

async fn is_alive(stage: &Stage) {
    let answer = stage
        .client()
        .await
        .ask(&MetadataRequest::default().with_topics(None), 5)
        .await;
    assert_eq!(answer.brokers.len(), 1);
}

#[tokio::test]
async fn unknown_requests_and_versions_close_the_connection() {
    let stage = Stage::start().await;
    for (key, version) in [
        (9999, 0),
        (-1, 0),
        (ApiKey::Metadata as i16, 13),
        (ApiKey::Produce as i16, 2),
    ] {
        let mut client = stage.client().await;
        client.write(&frame(key, version, &[])).await;
        assert_eq!(client.frame().await, None, "key {key}");
    }
    is_alive(&stage).await;
}

#[tokio::test]
async fn a_length_without_its_bytes_reserves_no_memory_and_ends_the_connection() {
    let stage = Stage::start().await;
    // Two thousand million topics, of which none is there.
    for (key, version) in [
        (ApiKey::Metadata, 5),
        (ApiKey::DeleteTopics, 1),
        (ApiKey::DescribeGroups, 0),
    ] {
        let mut client = stage.client().await;
        client
            .write(&frame(key as i16, version, &i32::MAX.to_be_bytes()))
            .await;
        assert_eq!(client.frame().await, None);
    }
    let mut client = stage.client().await;
    client.write(&i32::MAX.to_be_bytes()).await;
    assert_eq!(client.frame().await, None);
    is_alive(&stage).await;
}

#[tokio::test]
async fn a_client_of_the_future_is_told_what_is_understood() {
    let stage = Stage::start().await;
    let mut client = stage.client().await;
    client
        .write(&frame(ApiKey::ApiVersions as i16, 77, &[1, 2, 3]))
        .await;
    let answer = client.frame().await.unwrap();
    assert_eq!(&answer[4..6], &35_i16.to_be_bytes());
    let told = client.ask(&ApiVersionsRequest::default(), 3).await;
    let produce = told.api_keys.iter().find(|k| k.api_key == 0).unwrap();
    assert_eq!((produce.min_version, produce.max_version), (0, 8));
    let header = RequestHeader::default().with_client_id(Some(StrBytes::new()));
    assert!(header.compute_size(1).is_ok());
}

#[test]
fn noise_under_any_request_head_never_harms_the_broker() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let stage = runtime.block_on(Stage::start());
    let noise = (
        0_i16..70,
        0_i16..10,
        proptest::collection::vec(any::<u8>(), 0..120),
    );
    let config = Config {
        failure_persistence: None,
        ..Config::with_cases(400)
    };
    let run = TestRunner::new(config).run(&noise, |(key, version, body)| {
        runtime.block_on(async {
            let mut client = stage.client().await;
            client.write(&frame(key, version, &body)).await;
            // A heartbeat of nobody, malformed: ends the connection if the noise was a request.
            client.write(&[0, 0, 0, 1, 0]).await;
            while client.frame().await.is_some() {}
        });
        Ok(())
    });
    run.unwrap();
    runtime.block_on(is_alive(&stage));
}
