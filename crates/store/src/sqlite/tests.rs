//! What only a broken piece of work shows: it harms no caller but its own, and the writer goes on.

use carillon_schemas::TenantId;

use super::*;

use crate::{
    NotificationStore,
    conformance::facts::{self, EPOCH_MS},
};

struct House {
    store: SqliteStore,
    metrics: Metrics,
    _directory: tempfile::TempDir,
    lock: Connection,
}

fn house() -> House {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("carillon.db");
    let metrics = Metrics::new();
    let store =
        SqliteStore::open(&path, SqliteOptions::default(), Clock::manual(EPOCH_MS), &metrics).unwrap();
    House {
        store,
        metrics,
        _directory: directory,
        lock: Connection::open(path).unwrap(),
    }
}

fn good(n: u64) -> Work {
    let tenant: TenantId = "a".parse().unwrap();
    Work::persist(&[facts::new(&tenant, n, 1, EPOCH_MS, "r")])
}

/// Several writes that arrive while the file is locked, so that they share a group.
async fn together(house: House, works: Vec<Work>) -> (House, Vec<Result<(), StoreError>>) {
    house.lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let before = house.store.meters.group_rows.get_sample_count();
    let House {
        store,
        metrics,
        _directory,
        lock,
    } = house;
    let store = Arc::new(store);
    let count = works.len() as i64;
    let mut writes = tokio::task::JoinSet::new();
    // The writer waits for the lock with one; the others wait for the writer.
    let one = Arc::clone(&store);
    writes.spawn(async move { (usize::MAX, one.write(good(1_000)).await.map(|_| ())) });
    while store.meters.group_rows.get_sample_count() == before {
        tokio::task::yield_now().await;
    }
    for (at, work) in works.into_iter().enumerate() {
        let store = Arc::clone(&store);
        writes.spawn(async move { (at, store.write(work).await.map(|_| ())) });
    }
    while store.meters.waiting.get() < count {
        tokio::task::yield_now().await;
    }
    lock.execute_batch("COMMIT").unwrap();
    let mut answers = writes.join_all().await;
    answers.sort_by_key(|(at, _)| *at);
    answers.pop();
    let store = Arc::into_inner(store).unwrap();
    let house = House {
        store,
        metrics,
        _directory,
        lock,
    };
    (house, answers.into_iter().map(|(_, answer)| answer).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_the_writer_is_an_answer_to_its_group_and_the_next_write_works() {
    let house = house();
    for round in 0..3 {
        let answer = house.store.write(Work::Panic).await;
        assert!(matches!(answer.err(), Some(StoreError::Unavailable(_))));
        house.store.write(good(round)).await.unwrap();
    }
    let works = vec![good(10), good(11), Work::Panic, good(12)];
    let (house, answers) = together(house, works).await;
    for answer in &answers {
        assert!(
            matches!(answer, Ok(()) | Err(StoreError::Unavailable(_))),
            "{answer:?}"
        );
    }
    assert!(answers[2].is_err());
    house.store.write(good(13)).await.unwrap();
    assert!(
        house
            .metrics
            .render()
            .contains("carillon_store_writer_panics_total 4")
    );
    house.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_refused_does_not_fail_its_neighbours() {
    let house = house();
    let works = vec![good(1), good(2), Work::Refused, good(3), Work::Refused];
    let (house, answers) = together(house, works).await;
    for (at, answer) in answers.iter().enumerate() {
        let refused = matches!(answer, Err(StoreError::Refused(_)));
        assert!(
            if at == 2 || at == 4 {
                refused
            } else {
                answer.is_ok()
            },
            "{at}: {answer:?}"
        );
    }
    let ids: Vec<_> = (1..4).map(facts::id).collect();
    let states = house.store.heads(&"a".parse().unwrap(), &ids).await.unwrap();
    assert!(states.iter().all(Option::is_some));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_panics_is_unavailable_and_the_next_one_works() {
    let house = house();
    for _ in 0..2 * house.store.options.readers {
        let answer = house
            .store
            .read(|_, _| -> rusqlite::Result<()> { panic!("asked for by a test") })
            .await;
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    }
    house.store.ping().await.unwrap();
}
