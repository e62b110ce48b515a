//! Commands: cancels and jobs, each once, however often they are read.

use carillon_chassis::clock::Clock;
use carillon_fixtures::eventually;
use carillon_schemas::{
    audit::AuditKind,
    command::Order,
    dead_letter::{DeadLetterState, JobState, RedriveRequest},
    status::{Stamp, Status},
};
use carillon_store::{Fact, NewNotification, NotificationStore};

use crate::{
    operator::{OPERATOR, fast, job_id},
    records::{changed, envelope, id, tenant},
    stack::{Stack, counts},
};

/// A notification that waits for its time.
async fn waits(stack: &Stack, n: u64, deliver_at: u64) {
    let mut envelope = envelope("acme", n);
    envelope.deliver_at = Some(deliver_at);
    let new = NewNotification {
        bytes: envelope.to_json().unwrap().into(),
        stream: envelope.stream().unwrap(),
        envelope,
        attempt: 1,
        redrive: 0,
        at_ms: Clock::system().unix_ms(),
        node: "router-0".into(),
    };
    let scheduled = Fact {
        tenant: tenant("acme"),
        id: id(n),
        stamp: Stamp {
            redrive: 0,
            attempt: 1,
            status: Status::Scheduled,
        },
        at_ms: new.at_ms,
        node: "router-0".into(),
        sessions: None,
    };
    stack.store.persist(&[new]).await.unwrap();
    stack.store.note(&[scheduled]).await.unwrap();
}

fn cancel(n: u64) -> Order {
    Order::Cancel {
        notification_id: id(n),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_holds_before_the_due_time_and_is_told_when_it_is_too_late() {
    let stack = Stack::start().await;
    let now = Clock::system().unix_ms();
    waits(&stack, 1, now + 3_600_000).await;
    waits(&stack, 2, now).await;
    let router = stack.router();
    for n in [1, 2, 3] {
        stack.order("acme", job_id(n.into()), cancel(n)).await;
    }
    let codes = || stack.codes("acme", AuditKind::Administration);
    let mut codes = eventually("codes", codes, |codes| codes.len() == 3).await;
    codes.sort();
    assert_eq!(codes, ["cancel_too_late", "cancel_unknown", "cancelled"]);
    assert_eq!(stack.status("acme", id(1)).await, Some(Status::Cancelled));
    assert_eq!(stack.status("acme", id(2)).await, Some(Status::Scheduled));
    let entries = stack.trail("acme").await;
    assert!(
        entries
            .iter()
            .all(|entry| entry.actor.as_deref() == Some(OPERATOR))
    );
    router.stop().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_waits_behind_no_job_and_the_next_job_does() {
    let stack = Stack::start().await;
    stack.bury("acme", 0..40, 0, "store_refused").await;
    waits(&stack, 100, Clock::system().unix_ms() + 3_600_000).await;
    let router = stack.router();
    let slow = RedriveRequest {
        rate_per_second: Some(1),
        ..RedriveRequest::default()
    };
    stack.order("acme", job_id(1), Order::Redrive(slow)).await;
    stack.order("acme", job_id(2), Order::Discard(fast())).await;
    stack.order("acme", job_id(3), cancel(100)).await;
    stack.order("globex", job_id(4), Order::Redrive(fast())).await;
    let status = || stack.status("acme", id(100));
    eventually("status", status, |s| *s == Some(Status::Cancelled)).await;
    assert_eq!(stack.ended("globex", job_id(4)).await.state, JobState::Done);
    assert_eq!(
        stack.job("acme", job_id(1)).await.unwrap().state,
        JobState::Running
    );
    assert_eq!(stack.job("acme", job_id(2)).await, None);
    router.stop().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_are_thrown_away_are_marked_and_stay_on_the_topic() {
    let stack = Stack::start().await;
    stack.bury("acme", 0..5, 0, "store_refused").await;
    stack.bury("acme", 5..8, 0, "too_large").await;
    let router = stack.router();
    let mut request = fast();
    request.filter.error_class = Some("store_refused".to_owned());
    stack.order("acme", job_id(1), Order::Discard(request)).await;
    let job = stack.ended("acme", job_id(1)).await;
    assert_eq!((job.state, job.matched, job.moved), (JobState::Done, 5, 5));
    let rows = stack.letters("acme").await;
    let discarded = rows.iter().filter(|row| row.state == DeadLetterState::Discarded);
    assert!(
        discarded
            .clone()
            .all(|row| row.error_code == "store_refused" && row.job_id == Some(job_id(1)))
    );
    assert_eq!(discarded.count(), 5);
    assert_eq!(stack.count(&stack.bus.topics.dead_letters).await, 8);
    assert_eq!(stack.count(&stack.bus.topics.redrive).await, 0);
    let codes = stack.codes("acme", AuditKind::Redrive).await;
    assert_eq!(codes, ["discard_begun", "discard_ended"]);
    router.stop().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cancelled_before_its_time_is_not_delivered_and_its_row_is_gone() {
    let stack = Stack::start().await;
    let router = stack.router();
    let due = Clock::system().unix_ms() + 4_000;
    let later = |n| changed("acme", n, |e| e.deliver_at = Some(due));
    stack.publish([later(1), later(2)]).await;
    for n in [1, 2] {
        let status = || stack.status("acme", id(n));
        eventually("status", status, |s| *s == Some(Status::Scheduled)).await;
    }
    stack.order("acme", job_id(1), cancel(1)).await;
    let status = || stack.status("acme", id(2));
    eventually("status", status, |s| *s == Some(Status::Dispatched)).await;
    assert_eq!(stack.status("acme", id(1)).await, Some(Status::Cancelled));
    let left = async || {
        let mut left = 0;
        for partition in 0..3 {
            left += stack.store.due(partition, due, 10).await.unwrap().len();
        }
        left
    };
    eventually("rows", left, |n| *n == 0).await;
    router.stop().await;
    let delivered = counts(&stack.deliveries(1).await);
    assert_eq!(delivered.into_keys().collect::<Vec<_>>(), [id(2)]);
    assert_eq!(stack.count(&stack.bus.topics.deliveries).await, 1);
    stack.stop().await;
}
