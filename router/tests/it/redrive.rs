//! Redrive: dead letters back in, each once, whatever happens in between.

use std::collections::{BTreeMap, HashMap};

use carillon_bus::Record;
use carillon_fixtures::eventually;
use carillon_schemas::{
    NotificationId,
    audit::AuditKind,
    command::Order,
    dead_letter::{DeadLetterState, Job, JobState, RedriveRequest},
    headers,
    status::Status,
};

use crate::{
    operator::{fast, job_id},
    records::{envelope, id},
    stack::Stack,
};

async fn redriven(stack: &Stack) -> Vec<Record> {
    let topic = &stack.bus.topics.redrive;
    stack.read(topic, stack.count(topic).await as usize).await
}

fn by_id(records: &[Record]) -> HashMap<NotificationId, Vec<&Record>> {
    let mut by_id: HashMap<_, Vec<_>> = HashMap::new();
    for record in records {
        let id = record.headers.text(headers::ID).unwrap().parse().unwrap();
        by_id.entry(id).or_default().push(record);
    }
    by_id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_counts_and_moves_nothing_and_the_real_one_moves_what_was_counted() {
    let stack = Stack::start().await;
    stack.bury("acme", 0..7, 0, "store_refused").await;
    stack.bury("acme", 7..10, 1, "not_acknowledged").await;
    stack.bury("globex", 20..22, 0, "store_refused").await;
    let router = stack.router();
    let dry = RedriveRequest {
        dry_run: true,
        ..fast()
    };
    stack.order("acme", job_id(1), Order::Redrive(dry)).await;
    let dry = stack.ended("acme", job_id(1)).await;
    let histogram = BTreeMap::from([
        ("not_acknowledged".to_owned(), 3),
        ("store_refused".to_owned(), 7),
    ]);
    assert_eq!((dry.state, dry.matched, dry.moved), (JobState::Done, 10, 0));
    assert_eq!(dry.by_code, histogram);
    assert_eq!(stack.count(&stack.bus.topics.redrive).await, 0);

    stack.order("acme", job_id(2), Order::Redrive(fast())).await;
    let job = stack.ended("acme", job_id(2)).await;
    assert_eq!((job.matched, job.moved, job.skipped), (10, 10, 0));
    let records = redriven(&stack).await;
    assert_eq!(records.len(), 10);
    for (n, record) in records.iter().enumerate() {
        let n = n as u64;
        assert_eq!(
            record.value.as_deref(),
            Some(&envelope("acme", n).to_json().unwrap()[..])
        );
        let count = if n < 7 { "1" } else { "2" };
        for (name, value) in [
            (headers::ID, id(n).to_string().as_str()),
            (headers::REDRIVE_COUNT, count),
            (headers::HOPS, count),
            (headers::ATTEMPT, "1"),
            (headers::REDRIVE_ID, job_id(2).to_string().as_str()),
            (headers::ORIGIN, "carillon.notifications.v1/0/1"),
            ("x-theirs", "kept"),
        ] {
            assert_eq!(record.headers.text(name), Some(value), "{name} of {n}");
        }
        assert_eq!(record.headers.text(headers::ERROR_CODE), None);
        assert_eq!(record.headers.get(headers::DLT_TOPIC), None);
    }
    let rows = stack.letters("acme").await;
    assert!(rows.iter().all(|row| row.state == DeadLetterState::Redriven));
    let others = stack.letters("globex").await;
    assert!(others.iter().all(|row| row.state == DeadLetterState::Waiting));
    router.stop().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_job_twice_has_no_second_effect_and_one_entry_per_deed() {
    let stack = Stack::start().await;
    stack.bury("acme", 0..3, 0, "store_refused").await;
    let router = stack.router();
    stack.order("acme", job_id(1), Order::Redrive(fast())).await;
    let first = stack.ended("acme", job_id(1)).await;
    stack.bury("acme", 3..6, 0, "store_refused").await;
    stack.order("acme", job_id(1), Order::Redrive(fast())).await;
    stack
        .order(
            "acme",
            job_id(2),
            Order::Redrive(RedriveRequest {
                dry_run: true,
                ..fast()
            }),
        )
        .await;
    stack.ended("acme", job_id(2)).await;
    assert_eq!(stack.job("acme", job_id(1)).await, Some(first));
    assert_eq!(stack.count(&stack.bus.topics.redrive).await, 3);
    let codes = stack.codes("acme", AuditKind::Redrive).await;
    let begun = codes.iter().filter(|code| *code == "redrive_begun").count();
    let ended = codes.iter().filter(|code| *code == "redrive_ended").count();
    assert_eq!((begun, ended), (2, 2));
    router.stop().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_matches_nothing_ends_with_nothing_and_max_and_names_are_kept() {
    let stack = Stack::start().await;
    stack.bury("acme", 0..6, 0, "store_refused").await;
    let router = stack.router();
    let mut none = fast();
    none.filter.error_class = Some("too_large".to_owned());
    stack.order("acme", job_id(1), Order::Redrive(none)).await;
    let job = stack.ended("acme", job_id(1)).await;
    assert_eq!((job.state, job.matched, job.moved), (JobState::Done, 0, 0));

    let two = RedriveRequest {
        max: Some(2),
        ..fast()
    };
    stack.order("acme", job_id(2), Order::Redrive(two)).await;
    assert_eq!(stack.ended("acme", job_id(2)).await.moved, 2);

    let rows = stack.letters("acme").await;
    let mut named = fast();
    named.filter.ids = vec![rows[5].id, rows[0].id, rows[5].id];
    stack.order("acme", job_id(3), Order::Redrive(named)).await;
    let job = stack.ended("acme", job_id(3)).await;
    assert_eq!((job.matched, job.moved, job.skipped), (2, 1, 1));
    let ids: Vec<_> = by_id(&redriven(&stack).await).into_keys().collect();
    assert_eq!(ids.len(), 3);
    assert!([id(0), id(1), id(5)].iter().all(|id| ids.contains(id)));
    router.stop().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_came_back_three_times_is_parked() {
    let stack = Stack::start().await;
    stack.bury("acme", 0..2, 3, "not_acknowledged").await;
    stack.bury("acme", 2..3, 2, "not_acknowledged").await;
    let router = stack.router();
    stack.order("acme", job_id(1), Order::Redrive(fast())).await;
    let job = stack.ended("acme", job_id(1)).await;
    assert_eq!((job.matched, job.moved, job.parked), (3, 1, 2));
    let states: Vec<_> = stack.letters("acme").await.iter().map(|row| row.state).collect();
    let parked = DeadLetterState::Parked;
    assert_eq!(states, [parked, parked, DeadLetterState::Redriven]);
    router.stop().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_that_is_killed_in_the_middle_goes_on_where_it_was() {
    const ALL: u64 = 600;
    let stack = Stack::start().await;
    stack.bury("acme", 0..ALL, 0, "store_refused").await;
    let request = RedriveRequest {
        rate_per_second: Some(400),
        ..RedriveRequest::default()
    };
    stack.order("acme", job_id(1), Order::Redrive(request)).await;
    for at_least in [100, 300] {
        let router = stack.router();
        let moved = async || stack.count(&stack.bus.topics.redrive).await;
        eventually("redriven", moved, |n| *n >= at_least).await;
        router.kill().await;
    }
    let router = stack.router();
    let job = stack.ended("acme", job_id(1)).await;
    assert_eq!((job.state, job.matched, job.moved), (JobState::Done, ALL, ALL));
    let records = redriven(&stack).await;
    let by_id = by_id(&records);
    assert_eq!(by_id.len() as u64, ALL);
    // What a crash repeats carries the same redrive, so that the pipeline knows it.
    for same in by_id.values().filter(|same| same.len() > 1) {
        let stamp = |record: &&Record| {
            let text = |name| record.headers.text(name).unwrap().to_owned();
            (text(headers::REDRIVE_ID), text(headers::REDRIVE_COUNT))
        };
        assert!(same.iter().all(|record| stamp(record) == stamp(&same[0])));
    }
    let repeated = records.len() - by_id.len();
    assert!(repeated <= 2 * 20, "{repeated} of steps of 20");
    let rows = stack.letters("acme").await;
    assert!(
        rows.iter()
            .all(|row| row.state == DeadLetterState::Redriven && row.job_id == Some(job_id(1)))
    );
    let codes = stack.codes("acme", AuditKind::Redrive).await;
    assert_eq!(codes, ["redrive_begun", "redrive_ended"]);
    // A kill may repeat a delivery that was not recorded; it repeats it under the same count.
    let last = || stack.status("acme", id(ALL - 1));
    eventually("status", last, |s| *s == Some(Status::Dispatched)).await;
    router.stop().await;
    let deliveries = stack.count(&stack.bus.topics.deliveries).await as usize;
    let mut stamps: Vec<_> = stack.deliveries(deliveries).await.iter().map(delivered).collect();
    stamps.sort();
    stamps.dedup();
    let once: Vec<_> = (0..ALL).map(|n| (id(n), "1".to_owned())).collect();
    assert_eq!(stamps, once);
    stack.stop().await;
}

fn delivered(record: &Record) -> (NotificationId, String) {
    let text = |name| record.headers.text(name).unwrap().to_owned();
    (text(headers::ID).parse().unwrap(), text(headers::DELIVERY))
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_go_on_where_their_partitions_go() {
    const TENANTS: [&str; 4] = ["acme", "globex", "initech", "umbrella"];
    let stack = Stack::start().await;
    for (at, tenant) in TENANTS.into_iter().enumerate() {
        let first = at as u64 * 1_000;
        stack.bury(tenant, first..first + 60, 0, "store_refused").await;
        let request = RedriveRequest {
            rate_per_second: Some(30),
            ..RedriveRequest::default()
        };
        stack.order(tenant, job_id(1), Order::Redrive(request)).await;
    }
    let first = stack.router();
    let moved = async || stack.count(&stack.bus.topics.redrive).await;
    eventually("redriven", moved, |n| *n >= 8).await;
    let second = stack.router();
    for tenant in TENANTS {
        let job = stack.ended(tenant, job_id(1)).await;
        assert_eq!((job.matched, job.moved, job.skipped), (60, 60, 0), "{tenant}");
    }
    assert!(second.metric("carillon_router_commands_total{order=\"redrive\",result=\"through\"}") > 0.0);
    assert_eq!(by_id(&redriven(&stack).await).len(), 240);
    first.stop().await;
    second.stop().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_that_is_stopped_saves_its_position_and_ends_elsewhere() {
    let stack = Stack::start().await;
    stack.bury("acme", 0..90, 0, "store_refused").await;
    let request = RedriveRequest {
        rate_per_second: Some(40),
        ..RedriveRequest::default()
    };
    stack.order("acme", job_id(1), Order::Redrive(request)).await;
    let router = stack.router();
    let moved = async || stack.count(&stack.bus.topics.redrive).await;
    eventually("redriven", moved, |n| *n >= 5).await;
    router.stop().await;
    let running: Job = stack.job("acme", job_id(1)).await.unwrap();
    assert_eq!(running.moved as i64, stack.count(&stack.bus.topics.redrive).await);
    assert!(running.state == JobState::Running && running.position.is_some());

    let next = stack.router();
    let job = stack.ended("acme", job_id(1)).await;
    assert_eq!((job.matched, job.moved, job.skipped), (90, 90, 0));
    assert_eq!(redriven(&stack).await.len(), 90);
    next.stop().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_away_a_job_waits_and_shows() {
    let stack = Stack::start().await;
    stack.bury("acme", 0..30, 0, "store_refused").await;
    let router = stack.router();
    let request = RedriveRequest {
        rate_per_second: Some(20),
        ..RedriveRequest::default()
    };
    stack.order("acme", job_id(1), Order::Redrive(request)).await;
    let moved = async || stack.count(&stack.bus.topics.redrive).await;
    eventually("redriven", moved, |n| *n >= 2).await;
    stack.store.set_away(true);
    let unmet = async || router.readiness.unmet();
    eventually("unmet", unmet, |unmet| {
        unmet.iter().any(|(name, _)| *name == "store")
    })
    .await;
    stack.store.set_away(false);
    let job = stack.ended("acme", job_id(1)).await;
    assert_eq!((job.matched, job.moved), (30, 30));
    assert_eq!(by_id(&redriven(&stack).await).len(), 30);
    router.stop().await;
    stack.stop().await;
}
