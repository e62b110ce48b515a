//! Reading without a group: tails, ranges, ends.

use std::time::Duration;

use carillon_bus::{BusError, Record};
use carillon_schemas::headers::{self, Headers};
use tokio::sync::mpsc;

use crate::{
    stage::{Lane, Stage, on_both_lanes},
    support::{PATIENCE, number, outgoing, send_numbers},
};

on_both_lanes!(
    a_tail_begins_where_it_is_told_and_goes_on,
    a_record_comes_back_with_its_key_its_headers_and_its_time,
    a_range_is_read_whole_or_in_pages_and_its_end_is_told,
    a_range_that_holds_nothing_ends_and_one_beyond_the_end_says_how_far_it_came,
    many_ranges_at_once_are_all_answered_and_too_many_are_refused,
    the_ends_of_a_topic_and_a_ping_are_answered,
);

const DEADLINE: Duration = Duration::from_secs(5);

async fn take(tail: &mut mpsc::Receiver<Vec<Record>>, count: usize) -> Vec<Record> {
    let mut records = Vec::new();
    while records.len() < count {
        let batch = tokio::time::timeout(PATIENCE, tail.recv()).await;
        records.extend(batch.expect("records in time").expect("a tail that goes on"));
    }
    records
}

async fn a_tail_begins_where_it_is_told_and_goes_on(lane: Lane) {
    let stage = Stage::start(lane, 2).await;
    let producer = stage.place.producer();
    send_numbers(&producer, &stage.topic, 2, 0..10).await;
    let (tail, mut records) = stage.tail(vec![(0, 3), (1, 5)]);
    let mut first: Vec<_> = take(&mut records, 2).await.iter().map(number).collect();
    first.sort_unstable();
    assert_eq!(first, [6, 8]);
    send_numbers(&producer, &stage.topic, 2, 10..12).await;
    let next = take(&mut records, 2).await;
    assert!(next.iter().any(|r| r.partition == 1 && r.offset == 5));
    drop(records);
    tail.close(DEADLINE).await.unwrap();
}

async fn a_record_comes_back_with_its_key_its_headers_and_its_time(lane: Lane) {
    let stage = Stage::start(lane, 1).await;
    let mut sent = outgoing(&stage.topic, Some(0), "acme", "value");
    let mut h = Headers::default();
    h.set(headers::TENANT, "acme");
    h.set("other-teams-header", vec![0u8, 255]);
    sent.headers = h;
    let ack = stage.place.producer().send(sent.clone()).unwrap().await.unwrap();
    let (_tail, mut records) = stage.tail(vec![(0, ack.offset)]);
    let read = take(&mut records, 1).await.remove(0);
    assert_eq!((read.key.unwrap(), read.value.unwrap()), (sent.key, sent.value));
    assert_eq!(read.headers, sent.headers);
    assert!(read.timestamp_ms.unwrap() > 1_500_000_000_000);
}

async fn a_range_is_read_whole_or_in_pages_and_its_end_is_told(lane: Lane) {
    let stage = Stage::start(lane, 1).await;
    send_numbers(&stage.place.producer(), &stage.topic, 1, 0..100).await;
    let ranges = stage.ranges();
    let page = ranges.read(0, 10, 60, usize::MAX, DEADLINE).await.unwrap();
    assert_eq!((page.next, page.earliest), (60, 10));
    assert_eq!(
        page.records.iter().map(number).collect::<Vec<_>>(),
        (10..60).collect::<Vec<_>>()
    );

    let mut from = 90;
    let mut read = Vec::new();
    while from < 100 {
        let page = ranges.read(0, from, 100, 12, DEADLINE).await.unwrap();
        assert!(page.next > from && page.records.len() <= 3);
        read.extend(page.records.iter().map(number));
        from = page.next;
    }
    assert_eq!(read, (90..100).collect::<Vec<_>>());
}

async fn a_range_that_holds_nothing_ends_and_one_beyond_the_end_says_how_far_it_came(lane: Lane) {
    let stage = Stage::start(lane, 2).await;
    send_numbers(&stage.place.producer(), &stage.topic, 1, 0..5).await;
    let ranges = stage.ranges();
    let empty = ranges.read(0, 3, 3, usize::MAX, DEADLINE).await.unwrap();
    assert_eq!((empty.records.len(), empty.next), (0, 3));
    let beyond = ranges.read(0, 3, 50, usize::MAX, DEADLINE).await.unwrap();
    assert_eq!((beyond.records.len(), beyond.next), (2, 5));
    let none = ranges.read(1, 0, 7, usize::MAX, DEADLINE).await.unwrap();
    assert_eq!((none.records.len(), none.next), (0, 0));
}

async fn many_ranges_at_once_are_all_answered_and_too_many_are_refused(lane: Lane) {
    let stage = Stage::start(lane, 4).await;
    send_numbers(&stage.place.producer(), &stage.topic, 4, 0..400).await;
    let ranges = stage.ranges();
    let reads = (0..40).map(|n| {
        let ranges = &ranges;
        async move { ranges.read(n % 4, i64::from(n), 100, usize::MAX, PATIENCE).await }
    });
    for (n, page) in futures_join(reads).await.into_iter().enumerate() {
        let page = page.unwrap();
        assert_eq!((page.records.len(), page.next), (100 - n, 100));
        assert!(page.records.iter().all(|r| r.partition == (n % 4) as i32));
    }
    let too_many = (0..1000).map(|_| ranges.read(0, 0, 1, 1, Duration::from_millis(1)));
    assert!(futures_join(too_many).await.contains(&Err(BusError::Busy)));
}

async fn futures_join<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = waiting.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in waiting.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(output) = future.as_mut().poll(context)
            {
                *done = Some(output);
            }
        }
        match done.iter().all(Option::is_some) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

async fn the_ends_of_a_topic_and_a_ping_are_answered(lane: Lane) {
    let stage = Stage::start(lane, 3).await;
    send_numbers(&stage.place.producer(), &stage.topic, 3, 0..7).await;
    let admin = stage.admin();
    admin.ping().await.unwrap();
    assert_eq!(
        admin.ends(&stage.topic).await.unwrap(),
        [(0, 0, 3), (1, 0, 2), (2, 0, 2)]
    );
    let unknown = admin.ends("nothing").await.unwrap_err();
    assert!(matches!(unknown, BusError::Refused(_)), "{unknown:?}");
}
