//! Holding, room by room, with a clock of its own.

use std::sync::Arc;

use carillon_chassis::{metrics::Metrics, readiness::Readiness};

use super::*;

fn holds() -> (Holds, Readiness, Arc<Mutex<Vec<bool>>>) {
    holds_that_wait(Duration::from_millis(100))
}

fn holds_that_wait(first: Duration) -> (Holds, Readiness, Arc<Mutex<Vec<bool>>>) {
    let readiness = Readiness::default();
    let conditions = Dependency::ALL.map(|d| readiness.condition(d.as_str()));
    let pauses = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&pauses);
    let waits = Waits {
        first,
        cap: first.max(Duration::from_secs(30)),
        opens_at: 3,
    };
    let holds = Holds::new(conditions, waits, HeldMetrics::new(&Metrics::new()), move |p| {
        told.lock().push(p)
    });
    (holds, readiness, pauses)
}

#[test]
fn a_router_is_not_ready_before_the_probe_has_seen_both_and_that_pauses_nothing() {
    let (holds, readiness, pauses) = holds();
    assert_eq!(readiness.unmet().len(), 2);
    holds.let_go(Site::StoreProbe);
    assert_eq!(readiness.unmet(), [("kafka", "starting".to_owned())]);
    holds.let_go(Site::KafkaProbe);
    assert!(readiness.unmet().is_empty() && pauses.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_consumer_is_paused_while_any_room_holds() {
    let (holds, readiness, pauses) = holds();
    holds.let_go(Site::StoreProbe);
    holds.let_go(Site::KafkaProbe);
    let mut persist = holds.attempts(Site::Persist);
    let mut settle = holds.attempts(Site::Settle);
    persist.wait(Dependency::Store, "locked").await;
    settle.wait(Dependency::Store, "locked").await;
    persist.wait(Dependency::Store, "still locked").await;
    assert_eq!(readiness.unmet(), [("store", "still locked".to_owned())]);
    drop(persist);
    assert_eq!(*pauses.lock(), [true]);
    drop(settle);
    assert_eq!(*pauses.lock(), [true, false]);
    assert!(readiness.unmet().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_when_the_probe_sees_what_was_waited_for() {
    let year = Duration::from_secs(365 * 86_400);
    let (holds, _, _) = holds_that_wait(year);
    holds.let_go(Site::KafkaProbe);
    let mut persist = holds.attempts(Site::Persist);
    let begun = Instant::now();
    let seen = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        // Kafka was seen all the time: that is no news for who waits for the store.
        holds.let_go(Site::KafkaProbe);
        tokio::time::sleep(Duration::from_secs(4)).await;
        holds.let_go(Site::StoreProbe);
    };
    tokio::join!(persist.wait(Dependency::Store, "away"), seen);
    assert_eq!(begun.elapsed().as_secs(), 7);
}

#[test]
fn an_attempt_that_never_failed_holds_nothing() {
    let (holds, _, pauses) = holds();
    drop(holds.attempts(Site::Persist));
    assert!(pauses.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_lets_one_probe_and_its_success_frees_the_others() {
    let (holds, readiness, _) = holds();
    holds.let_go(Site::StoreProbe);
    holds.let_go(Site::KafkaProbe);
    let mut persist = holds.attempts(Site::Persist);
    for _ in 0..3 {
        persist.wait(Dependency::Store, "away").await;
    }
    assert!(holds.is_open(Dependency::Store));
    let mut settle = holds.attempts(Site::Settle);
    let other = async {
        settle.wait(Dependency::Store, "away").await;
        assert!(!holds.is_open(Dependency::Store));
    };
    let probe = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        persist.succeeded(Dependency::Store);
    };
    tokio::join!(other, probe);
    drop((persist, settle));
    assert!(readiness.unmet().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_room_that_probes_and_is_given_up_leaves_its_place() {
    let (holds, _, _) = holds();
    let mut persist = holds.attempts(Site::Persist);
    for _ in 0..3 {
        persist.wait(Dependency::Store, "away").await;
    }
    drop(persist);
    let begun = Instant::now();
    holds.attempts(Site::Settle).wait(Dependency::Store, "away").await;
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_room_beside_the_pipeline_is_told_but_neither_pauses_it_nor_opens_a_breaker() {
    let (holds, readiness, pauses) = holds();
    holds.let_go(Site::StoreProbe);
    holds.let_go(Site::KafkaProbe);
    let mut receipts = holds.attempts(Site::Receipts);
    for _ in 0..9 {
        receipts.wait(Dependency::Store, "locked").await;
    }
    assert_eq!(readiness.unmet(), [("store", "locked".to_owned())]);
    assert!(holds.holds_for(Dependency::Store) && !holds.holds_for(Dependency::Kafka));
    assert!(!holds.is_open(Dependency::Store));
    drop(receipts);
    assert!(readiness.unmet().is_empty() && pauses.lock().is_empty());
}
