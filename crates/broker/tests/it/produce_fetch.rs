//! Records in and out: codecs, sequences, waiting, bounds, times.

use std::sync::atomic::Ordering;

use kafka_protocol::{
    ResponseError,
    records::{Compression, RecordBatchDecoder},
};

use crate::{
    client::{NOBODY, batch, correlation_id, records},
    stage::Stage,
};

#[tokio::test]
async fn records_of_every_codec_come_back_as_they_were_sent() {
    let stage = Stage::start().await;
    let mut client = stage.client().await;
    assert_eq!(client.create("codecs", 1, &[]).await, 0);
    let all = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];
    for codec in all {
        let told = client
            .produce("codecs", 0, batch(NOBODY, 1_000, codec, &["one", "two"]))
            .await;
        assert_eq!(told.error_code, 0, "{codec:?}");
    }
    let data = client.fetch("codecs", 0, 0).await;
    assert_eq!(data.high_watermark, 10);
    let values: Vec<_> = records(&data)
        .into_iter()
        .map(|(offset, _, value)| (offset, value))
        .collect();
    let expected = (0..10).map(|i| (i, if i % 2 == 0 { "one" } else { "two" }.to_owned()));
    assert_eq!(values, expected.collect::<Vec<_>>());
    stage.stop().await;
}

#[tokio::test]
async fn a_batch_sent_twice_is_kept_once_and_acknowledged_twice() {
    let stage = Stage::start().await;
    let mut client = stage.client().await;
    client.create("once", 1, &[]).await;
    let id = client.producer_id().await;
    for sequence in [0, 2, 4] {
        let told = client
            .produce(
                "once",
                0,
                batch((id, 0, sequence), 1, Compression::None, &["a", "b"]),
            )
            .await;
        assert_eq!((told.error_code, told.base_offset), (0, i64::from(sequence)));
    }
    for sequence in [2, 0, 4] {
        let told = client
            .produce(
                "once",
                0,
                batch((id, 0, sequence), 1, Compression::None, &["a", "b"]),
            )
            .await;
        assert_eq!((told.error_code, told.base_offset), (0, i64::from(sequence)));
    }
    let told = client
        .produce("once", 0, batch((id, 0, 9), 1, Compression::None, &["gap"]))
        .await;
    assert_eq!(told.error_code, ResponseError::OutOfOrderSequenceNumber.code());
    assert_eq!(client.values("once", 0, 0).await.len(), 6);
    assert_eq!(stage.stats.batches_deduplicated.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_waiting_fetch_is_woken_by_a_produce() {
    let stage = Stage::start().await;
    let (mut reader, mut writer) = (stage.client().await, stage.client().await);
    writer.create("wake", 3, &[]).await;
    // Far longer than any test may take: only the produce can end this wait.
    reader
        .send_fetch("wake", &[(0, 0), (1, 0), (2, 0)], 3_600_000, 1)
        .await;
    while stage.stats.fetches_waited.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    writer.put("wake", 1, &["hello"]).await;
    let told = reader.receive_fetched().await;
    let values: Vec<_> = told.iter().map(|p| records(p).len()).collect();
    assert_eq!(values, [0, 1, 0]);
}

#[tokio::test]
async fn a_fetch_waits_for_as_many_bytes_as_it_asks() {
    let stage = Stage::start().await;
    let (mut reader, mut writer) = (stage.client().await, stage.client().await);
    writer.create("enough", 1, &[]).await;
    reader.send_fetch("enough", &[(0, 0)], 3_600_000, 200).await;
    for _ in 0..4 {
        writer.put("enough", 0, &["x"]).await;
    }
    let told = reader.receive_fetched().await;
    assert!(records(&told[0]).len() >= 2);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let stage = Stage::start().await;
    let mut client = stage.client().await;
    client.create("pipe", 1, &[]).await;
    for round in 0..20 {
        client
            .send_produce("pipe", 0, batch(NOBODY, 1, Compression::None, &["p"]))
            .await;
        if round % 3 == 0 {
            client.send_fetch("pipe", &[(0, 0)], 0, 1).await;
        }
    }
    for expected in 2..29 {
        assert_eq!(correlation_id(client.frame().await.unwrap()), expected);
    }
}

#[tokio::test]
async fn every_producer_is_answered_while_segments_are_sealed_under_it() {
    let stage = Stage::start_with(|o| {
        o.segment_bytes = 200;
        o.limits.checkpoint_bytes = 100;
    })
    .await;
    let mut clients = [stage.client().await, stage.client().await, stage.client().await];
    clients[0].create("seal", 1, &[]).await;
    for _ in 0..100 {
        for client in &mut clients {
            client
                .send_produce("seal", 0, batch(NOBODY, 1, Compression::None, &["s"]))
                .await;
        }
    }
    for client in &mut clients {
        for _ in 0..100 {
            assert_eq!(client.receive_produced().await.error_code, 0);
        }
    }
    let stage = stage.restart().await;
    assert_eq!(stage.client().await.values("seal", 0, 0).await.len(), 300);
}

#[tokio::test]
async fn offsets_out_of_range_and_unknown_partitions_are_told() {
    let stage = Stage::start().await;
    let mut client = stage.client().await;
    client.create("range", 1, &[]).await;
    client.put("range", 0, &["only"]).await;
    assert_eq!(client.fetch("range", 0, 1).await.error_code, 0);
    for offset in [-1, 2, i64::MAX] {
        assert_eq!(
            client.fetch("range", 0, offset).await.error_code,
            ResponseError::OffsetOutOfRange.code()
        );
    }
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    assert_eq!(client.fetch("range", 1, 0).await.error_code, unknown);
    assert_eq!(client.fetch("nowhere", 0, 0).await.error_code, unknown);
    let told = client
        .produce("nowhere", 0, batch(NOBODY, 1, Compression::None, &["x"]))
        .await;
    assert_eq!(told.error_code, unknown);
}

#[tokio::test]
async fn a_bad_batch_is_refused_and_leaves_no_trace() {
    let stage = Stage::start().await;
    let mut client = stage.client().await;
    client.create("bad", 1, &[("max.message.bytes", "500")]).await;
    let good = batch(NOBODY, 1, Compression::None, &["good"]);
    let mut flipped = good.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    let mut control = good.to_vec();
    control[22] |= 1 << 5;
    let cases = [
        (flipped.into(), ResponseError::CorruptMessage),
        (control.into(), ResponseError::CorruptMessage),
        (good.slice(..40), ResponseError::InvalidRecord),
        (
            [good.clone(), good.clone()].concat().into(),
            ResponseError::InvalidRecord,
        ),
        (vec![0; 100].into(), ResponseError::UnsupportedForMessageFormat),
        (
            batch(NOBODY, 1, Compression::None, &[&"x".repeat(600)]),
            ResponseError::MessageTooLarge,
        ),
    ];
    for (bytes, expected) in cases {
        assert_eq!(client.produce("bad", 0, bytes).await.error_code, expected.code());
    }
    assert_eq!(client.offset("bad", 0, -1).await.0, 0);
}

#[tokio::test]
async fn offsets_are_found_by_time_in_every_codec_and_segment() {
    let stage = Stage::start_with(|o| o.segment_bytes = 2_000).await;
    let mut client = stage.client().await;
    client.create("times", 1, &[]).await;
    let codecs = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];
    for i in 0..100_i64 {
        let codec = codecs[usize::try_from(i).unwrap() % 5];
        client
            .produce("times", 0, batch(NOBODY, i * 10, codec, &["a", "b", "c"]))
            .await;
    }
    let stage = stage.restart().await;
    let mut client = stage.client().await;
    for i in [0, 1, 4, 37, 99_i64] {
        assert_eq!(client.offset("times", 0, i * 10).await, (i * 3, i * 10));
        assert_eq!(
            client.offset("times", 0, i * 10 + 2).await,
            (i * 3 + 2, i * 10 + 2)
        );
    }
    assert_eq!(client.offset("times", 0, 5).await, (3, 10));
    assert_eq!(client.offset("times", 0, 10_000).await, (-1, -1));
    assert_eq!(client.offset("times", 0, -3).await, (299, 992));
    assert_eq!(
        (
            client.offset("times", 0, -2).await.0,
            client.offset("times", 0, -1).await.0
        ),
        (0, 300)
    );
}

#[tokio::test]
async fn a_topic_may_carry_the_brokers_time() {
    let stage = Stage::start_with(|o| o.clock = carillon_chassis::clock::Clock::manual(777_000)).await;
    let mut client = stage.client().await;
    client
        .create("stamped", 1, &[("message.timestamp.type", "LogAppendTime")])
        .await;
    let told = client
        .produce("stamped", 0, batch(NOBODY, 5, Compression::Zstd, &["a", "b"]))
        .await;
    assert_eq!(told.log_append_time_ms, 777_000);
    // The records keep their own times; the batch says that its greatest one counts for all (KIP-32).
    let batch = client.fetch("stamped", 0, 0).await.records.unwrap();
    assert_eq!(
        (batch[22] & 8, &batch[35..43]),
        (8, &777_000_i64.to_be_bytes()[..])
    );
    assert!(
        RecordBatchDecoder::decode(&mut batch.clone()).is_ok(),
        "the checksum was renewed"
    );
    assert_eq!(client.offset("stamped", 0, 776_999).await, (0, 777_000));
    assert_eq!(client.offset("stamped", 0, 777_001).await, (-1, -1));
}

#[tokio::test]
async fn the_brokers_time_never_falls_within_a_partition_even_over_a_restart() {
    use carillon_chassis::clock::Clock;
    let at = |ms: u64| -> fn(&mut carillon_broker::Options) {
        match ms {
            9_000 => |o| o.clock = Clock::manual(9_000),
            5_000 => |o| o.clock = Clock::manual(5_000),
            _ => |o| o.clock = Clock::manual(12_000),
        }
    };
    let sent = || batch(NOBODY, 99_000, Compression::None, &["a", "b"]);
    let mut stage = Stage::start_with(at(9_000)).await;
    let settings = [("message.timestamp.type", "LogAppendTime")];
    stage.client().await.create("stamped", 1, &settings).await;
    for (clock, stamp) in [(9_000, 9_000), (5_000, 9_000), (12_000, 12_000), (5_000, 12_000)] {
        let dir = stage.stop().await;
        stage = Stage::start_in(dir, at(clock)).await.unwrap();
        let mut client = stage.client().await;
        for _ in 0..2 {
            let told = client.produce("stamped", 0, sent()).await;
            assert_eq!(told.log_append_time_ms, stamp, "while the clock says {clock}");
        }
    }
    stage.stop().await;
}
