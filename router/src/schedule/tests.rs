//! The schedule on a real store, with a clock in the test's hand.

use std::sync::Arc;

use carillon_chassis::readiness::Readiness;
use carillon_schemas::{
    NotificationId,
    status::{Stamp, Status},
};
use carillon_store::{Fact, NewNotification, SqliteOptions, SqliteStore};

use super::*;
use crate::{metrics::Held, open::open, work::sample};

const BEGIN: u64 = 1_760_000_000_000;

struct Stage {
    clock: Clock,
    store: Arc<SqliteStore>,
    handle: ScheduleHandle,
    due: mpsc::Receiver<DueNow>,
    schedule: Schedule,
    _dir: tempfile::TempDir,
}

fn stage() -> Stage {
    let dir = tempfile::tempdir().unwrap();
    let (clock, metrics) = (Clock::manual(BEGIN), Metrics::new());
    let path = dir.path().join("carillon.db");
    let store = SqliteStore::open(path, SqliteOptions::default(), clock.clone(), &metrics);
    let store = Arc::new(store.unwrap());
    let readiness = Readiness::default();
    let conditions = Dependency::ALL.map(|d| readiness.condition(d.as_str()));
    let waits = crate::hold::Waits {
        first: Duration::from_millis(10),
        cap: Duration::from_millis(100),
        opens_at: 3,
    };
    let holds = Arc::new(Holds::new(conditions, waits, Held::new(&metrics), |_| {}));
    let (sender, due) = mpsc::channel(64);
    let handle = ScheduleHandle::default();
    let config = BesideConfig {
        look_every: Duration::from_secs(1),
        due_batch: 3,
        due_in_flight: 4,
        ..BesideConfig::default()
    };
    Stage {
        schedule: Schedule {
            store: store.clone(),
            holds,
            handle: handle.clone(),
            due: sender,
            clock: clock.clone(),
            config,
            meters: Meters::new(&metrics),
        },
        clock,
        store,
        handle,
        due,
        _dir: dir,
    }
}

impl Stage {
    /// The n-th notification, due so many milliseconds after the beginning.
    async fn wait_until(&self, n: i64, after_ms: u64) -> Scheduled {
        let new = open(&sample::record("acme", n), &Arc::from("r1"), BEGIN).unwrap();
        let place = Scheduled {
            partition: 0,
            due_at_ms: BEGIN + after_ms,
            tenant: new.envelope.tenant_id.clone(),
            id: new.envelope.notification_id,
        };
        self.store.persist(std::slice::from_ref(&new)).await.unwrap();
        self.note(&new, Status::Scheduled).await;
        self.store.schedule(std::slice::from_ref(&place)).await.unwrap();
        place
    }

    async fn note(&self, new: &NewNotification, status: Status) {
        let fact = Fact {
            tenant: new.envelope.tenant_id.clone(),
            id: new.envelope.notification_id,
            stamp: Stamp {
                redrive: 0,
                attempt: 1,
                status,
            },
            at_ms: BEGIN,
            node: Arc::from("r1"),
            sessions: None,
        };
        self.store.note(&[fact]).await.unwrap();
    }

    async fn left(&self) -> usize {
        self.store.due(0, u64::MAX >> 2, 100).await.unwrap().len()
    }

    /// What one look hands over, in its order.
    async fn look(&mut self) -> (Vec<NotificationId>, Option<u64>) {
        let next = self.schedule.look(0).await;
        let mut ids = Vec::new();
        while let Ok(due) = self.due.try_recv() {
            ids.push(due.place.id);
        }
        (ids, next)
    }
}

#[tokio::test]
async fn nothing_is_handed_over_before_it_is_due_and_the_next_look_is_when_it_is() {
    let mut stage = stage();
    stage.handle.own([0]);
    let first = stage.wait_until(1, 700).await;
    stage.wait_until(2, 60_000).await;
    assert_eq!(stage.look().await, (vec![], Some(BEGIN + 700)));
    stage.clock.advance(Duration::from_millis(699));
    assert!(stage.look().await.0.is_empty());
    stage.clock.advance(Duration::from_millis(1));
    assert_eq!(stage.look().await.0, [first.id]);
}

#[tokio::test]
async fn what_is_on_its_way_is_not_handed_over_again_until_it_is_settled() {
    let mut stage = stage();
    stage.handle.own([0]);
    let place = stage.wait_until(1, 0).await;
    assert_eq!(stage.look().await.0, [place.id]);
    assert!(stage.look().await.0.is_empty());
    stage
        .store
        .unschedule(std::slice::from_ref(&place))
        .await
        .unwrap();
    stage.handle.settled(&place);
    assert!(stage.look().await.0.is_empty());
    assert_eq!(stage.left().await, 0);
}

#[tokio::test]
async fn a_restart_hands_over_again_what_was_not_taken_out() {
    let mut stage = stage();
    stage.handle.own([0]);
    let place = stage.wait_until(1, 0).await;
    assert_eq!(stage.look().await.0, [place.id]);
    stage.handle.disown([0]);
    assert!(stage.look().await.0.is_empty());
    stage.handle.own([0]);
    assert_eq!(stage.look().await.0, [place.id]);
}

#[tokio::test]
async fn what_was_cancelled_or_handled_is_taken_out_and_not_handed_over() {
    let mut stage = stage();
    stage.handle.own([0]);
    for (n, status) in [(1, Status::Cancelled), (2, Status::Dispatched)] {
        stage.wait_until(n, 0).await;
        let new = open(&sample::record("acme", n), &Arc::from("r1"), BEGIN).unwrap();
        stage.note(&new, status).await;
    }
    let waits = stage.wait_until(3, 0).await;
    let mut handed = stage.look().await.0;
    handed.extend(stage.look().await.0);
    assert_eq!(handed, [waits.id]);
    assert_eq!(stage.left().await, 1);
}

#[tokio::test]
async fn a_backlog_comes_in_its_order_and_no_more_than_the_bound_is_on_its_way() {
    let mut stage = stage();
    stage.handle.own([0]);
    let mut places = Vec::new();
    for n in 0..10 {
        places.push(stage.wait_until(n, n as u64).await);
    }
    stage.clock.advance(Duration::from_secs(1));
    let mut handed = Vec::new();
    let mut settled = 0;
    while handed.len() < 10 {
        let (ids, _) = stage.look().await;
        handed.extend(ids);
        assert!(handed.len() - settled <= 4);
        if handed.len() - settled == 4 || handed.len() == 10 {
            for place in &places[settled..handed.len()] {
                stage.store.unschedule(std::slice::from_ref(place)).await.unwrap();
                stage.handle.settled(place);
            }
            settled = handed.len();
        }
    }
    let order: Vec<_> = places.iter().map(|place| place.id).collect();
    assert_eq!(handed, order);
}

#[tokio::test]
async fn it_runs_by_itself_and_ends_with_the_pipeline() {
    let Stage {
        schedule,
        handle,
        store,
        mut due,
        clock,
        _dir,
    } = stage();
    let pipeline = async {
        let stage_place = Scheduled {
            partition: 0,
            due_at_ms: BEGIN,
            tenant: "acme".parse().unwrap(),
            id: open(&sample::record("acme", 1), &Arc::from("r1"), BEGIN)
                .unwrap()
                .envelope
                .notification_id,
        };
        let new = open(&sample::record("acme", 1), &Arc::from("r1"), BEGIN).unwrap();
        store.persist(&[new]).await.unwrap();
        store.schedule(std::slice::from_ref(&stage_place)).await.unwrap();
        handle.own([0]);
        let taken = due.recv().await.unwrap();
        assert_eq!(taken.place, stage_place);
        drop(due);
        handle.disown([0]);
        handle.own([0]);
        clock.advance(Duration::from_secs(1));
    };
    let both = async { tokio::join!(schedule.run(), pipeline) };
    tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
}
