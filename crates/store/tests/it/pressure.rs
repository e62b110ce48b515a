//! Pressure: locks, queues and deadlines. Every caller gets an answer.

use std::{sync::Arc, time::Duration};

use carillon_store::{
    NotificationStore, SqliteOptions, SqliteStore, StoreError,
    conformance::facts::{self, EPOCH_MS},
};
use rusqlite::Connection;
use tokio::task::JoinSet;

use crate::support::{House, eventually};

fn lock(house: &House) -> Connection {
    let other = Connection::open(house.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

/// Locks the file and gives the writer one write to wait with, so that all later ones wait in the queue.
async fn held(
    house: &House,
    store: &Arc<SqliteStore>,
    writes: &mut JoinSet<Result<(), StoreError>>,
) -> Connection {
    let other = lock(house);
    let before = groups(house);
    let one = Arc::clone(store);
    writes.spawn(async move { persist(&one, 1_000).await });
    eventually(|| groups(house), |groups| *groups > before).await;
    other
}

/// Transactions that were begun.
fn groups(house: &House) -> u64 {
    house
        .metrics
        .histogram("carillon_store_group_rows", "", &[])
        .get_sample_count()
}

fn waiting(house: &House) -> i64 {
    house.metrics.gauge("carillon_store_waiting_writes", "").get()
}

async fn persist(store: &SqliteStore, n: u64) -> Result<(), StoreError> {
    store
        .persist(&[facts::new(&"a".parse().unwrap(), n, 1, EPOCH_MS, "r")])
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_of_another_process_is_waited_for() {
    let house = House::new();
    let store = Arc::new(house.open(SqliteOptions::default()).unwrap());
    let other = lock(&house);
    let mut writes = JoinSet::new();
    for n in 0..4 {
        let store = Arc::clone(&store);
        writes.spawn(async move { persist(&store, n).await });
    }
    // Readers do not mind; when all writes have arrived, the lock is let go.
    assert!(
        store
            .notification(&"a".parse().unwrap(), facts::id(1))
            .await
            .unwrap()
            .is_none()
    );
    other.execute_batch("COMMIT").unwrap();
    for written in writes.join_all().await {
        written.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_stays_is_unavailable_by_the_deadline_and_works_after_it() {
    let house = House::new();
    let deadline = Duration::from_millis(200);
    let store = house
        .open(SqliteOptions {
            deadline,
            ..SqliteOptions::default()
        })
        .unwrap();
    let other = lock(&house);
    let began = std::time::Instant::now();
    let error = persist(&store, 1).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop(other);
    persist(&store, 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_unavailable_at_once_and_the_waiting_are_served() {
    let house = House::new();
    let store = Arc::new(
        house
            .open(SqliteOptions {
                queue: 2,
                ..SqliteOptions::default()
            })
            .unwrap(),
    );
    let (mut writes, mut held_ones) = (JoinSet::new(), JoinSet::new());
    let other = held(&house, &store, &mut held_ones).await;
    for n in 0..40 {
        let store = Arc::clone(&store);
        writes.spawn(async move { persist(&store, n).await });
    }
    // One is with the writer and two wait; all others hear of it while the lock stays.
    for _ in 0..38 {
        let answer = writes.join_next().await.unwrap().unwrap();
        assert!(
            matches!(&answer, Err(StoreError::Unavailable(text)) if text.contains("queue")),
            "{answer:?}"
        );
    }
    other.execute_batch("COMMIT").unwrap();
    for served in writes
        .join_all()
        .await
        .into_iter()
        .chain(held_ones.join_all().await)
    {
        served.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_payload_is_bounded_in_bytes_and_one_large_batch_passes() {
    let house = House::new();
    let store = Arc::new(
        house
            .open(SqliteOptions {
                queue_bytes: 4096,
                ..SqliteOptions::default()
            })
            .unwrap(),
    );
    let large: Vec<_> = (0..200)
        .map(|n| facts::new(&"a".parse().unwrap(), n, 1, EPOCH_MS, "r"))
        .collect();
    store.persist(&large).await.unwrap();
    let other = lock(&house);
    let mut writes = JoinSet::new();
    for _ in 0..3 {
        let (store, large) = (Arc::clone(&store), large.clone());
        writes.spawn(async move { store.persist(&large).await });
    }
    for _ in 0..2 {
        let answer = writes.join_next().await.unwrap().unwrap();
        assert!(
            matches!(&answer, Err(StoreError::Unavailable(text)) if text.contains("bytes")),
            "{answer:?}"
        );
    }
    other.execute_batch("COMMIT").unwrap();
    writes.join_next().await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_of_many_tasks_share_a_transaction() {
    let house = House::new();
    let store = Arc::new(house.open(SqliteOptions::default()).unwrap());
    let mut writes = JoinSet::new();
    let other = held(&house, &store, &mut writes).await;
    for n in 0..200 {
        let store = Arc::clone(&store);
        writes.spawn(async move { persist(&store, n).await });
    }
    eventually(|| waiting(&house), |waiting| *waiting == 200).await;
    other.execute_batch("COMMIT").unwrap();
    for written in writes.join_all().await {
        written.unwrap();
    }
    assert_eq!(groups(&house), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_finishes_what_was_taken() {
    let house = House::new();
    let store = Arc::new(house.open(SqliteOptions::default()).unwrap());
    let mut writes = JoinSet::new();
    let other = held(&house, &store, &mut writes).await;
    for n in 0..10 {
        let store = Arc::clone(&store);
        writes.spawn(async move { persist(&store, n).await });
    }
    eventually(|| waiting(&house), |waiting| *waiting == 10).await;
    let mut closing = JoinSet::new();
    {
        let store = Arc::clone(&store);
        closing.spawn(async move { store.close().await });
    }
    other.execute_batch("COMMIT").unwrap();
    closing.join_all().await;
    for answer in writes.join_all().await {
        answer.unwrap();
    }
    assert_eq!(persist(&store, 99).await, Err(StoreError::Closed));
}
