//! Promises about dead letters and jobs.

use std::time::Duration;

use carillon_schemas::{
    TenantId,
    dead_letter::{DeadLetterRow, DeadLetterState, Job, JobKind, JobState},
};
use uuid::Uuid;

use super::{
    Subject,
    facts::{self, Dice, EPOCH_MS},
};
use crate::{DeadLetter, DeadLetterMark, DeadLettersQuery, DeadLettersResult};

const HOUR_MS: u64 = 3_600_000;

/// Letters over some days, some at one moment; every seventh has another code.
fn letters(tenant: &TenantId, count: u64) -> Vec<DeadLetter> {
    let letter = |n: u64| {
        let mut dead = facts::dead(tenant, n, 1, EPOCH_MS + n / 3 * HOUR_MS, "r");
        if n.is_multiple_of(7) {
            "expired_too_often".clone_into(&mut dead.row.error_code);
        }
        if n % 10 == 1 {
            (dead.row.notification_id, dead.row.channel) = (None, None);
        }
        dead
    };
    (0..count).map(letter).collect()
}

fn mark(row: &DeadLetterRow, state: DeadLetterState, job: u128, marked_at_ms: u64) -> DeadLetterMark {
    DeadLetterMark {
        id: row.id,
        at_ms: row.at,
        state,
        job: Uuid::from_u128(job),
        marked_at_ms,
    }
}

async fn every_page(
    subject: &Subject,
    tenant: &TenantId,
    query: &DeadLettersQuery,
) -> (Vec<DeadLetterRow>, usize) {
    let (mut query, mut rows, mut pages) = (query.clone(), Vec::new(), 0);
    loop {
        let DeadLettersResult { rows: some, next } =
            subject.store.dead_letters(tenant, &query).await.unwrap();
        assert!(some.len() <= query.limit as usize);
        rows.extend(some);
        pages += 1;
        assert!(pages < 1_000, "it does not end");
        query.cursor = next;
        if next.is_none() {
            return (rows, pages);
        }
    }
}

pub async fn dead_letters_come_page_by_page_both_ways(subject: &Subject) {
    let tenant = subject.tenant("a");
    let all = letters(&tenant, 300);
    subject.store.dead(&all).await.unwrap();
    subject.store.dead(&all[..50]).await.unwrap();
    let rows: Vec<_> = all.iter().map(|dead| dead.row.clone()).collect();
    let query = |limit, oldest_first| DeadLettersQuery {
        limit,
        oldest_first,
        ..DeadLettersQuery::default()
    };
    let backwards: Vec<_> = rows.iter().rev().cloned().collect();
    assert_eq!(every_page(subject, &tenant, &query(7, true)).await.0, rows);
    assert_eq!(every_page(subject, &tenant, &query(7, false)).await.0, backwards);
    let between = |oldest_first| DeadLettersQuery {
        since_ms: Some(rows[30].at),
        until_ms: Some(rows[90].at),
        ..query(4, oldest_first)
    };
    assert_eq!(every_page(subject, &tenant, &between(true)).await.0, rows[30..90]);
    let back: Vec<_> = rows[30..90].iter().rev().cloned().collect();
    assert_eq!(every_page(subject, &tenant, &between(false)).await.0, back);
    for row in [&rows[0], &rows[1], &rows[299]] {
        assert_eq!(
            subject.store.dead_letter(&tenant, row.id).await.unwrap().as_ref(),
            Some(row)
        );
    }
    let mut unknown = rows[0].id;
    unknown.offset += 1;
    assert!(
        subject
            .store
            .dead_letter(&tenant, unknown)
            .await
            .unwrap()
            .is_none()
    );
    let stranger = subject.tenant("b");
    assert_eq!(every_page(subject, &stranger, &query(7, false)).await.0, []);
    assert!(
        subject
            .store
            .dead_letter(&stranger, rows[0].id)
            .await
            .unwrap()
            .is_none()
    );
}

pub async fn a_filter_finds_the_one_dead_letter_in_bounded_pages(subject: &Subject) {
    let tenant = subject.tenant("a");
    let mut all = letters(&tenant, 300);
    "rare".clone_into(&mut all[3].row.error_class);
    subject.store.dead(&all).await.unwrap();
    let parked = mark(&all[3].row, DeadLetterState::Parked, 1, EPOCH_MS + HOUR_MS);
    subject.store.mark_dead_letters(&tenant, &[parked]).await.unwrap();
    let by_state = DeadLettersQuery {
        limit: 1,
        state: Some(DeadLetterState::Parked),
        ..DeadLettersQuery::default()
    };
    let by_class = DeadLettersQuery {
        limit: 1,
        class: Some("rare".to_owned()),
        ..DeadLettersQuery::default()
    };
    for query in [by_state, by_class] {
        let (found, pages) = every_page(subject, &tenant, &query).await;
        assert_eq!(
            found.iter().map(|row| row.id).collect::<Vec<_>>(),
            [all[3].row.id]
        );
        assert!(pages > 5, "a page looked at too much: {pages} pages");
    }
    let by_code = DeadLettersQuery {
        limit: 500,
        class: Some("expired_too_often".to_owned()),
        ..DeadLettersQuery::default()
    };
    assert_eq!(every_page(subject, &tenant, &by_code).await.0.len(), 43);
}

pub async fn the_last_mark_stays_in_any_order_and_when_its_letter_is_told_again(subject: &Subject) {
    let (store, tenant) = (&subject.store, subject.tenant("a"));
    let all = letters(&tenant, 6);
    store.dead(&all).await.unwrap();
    let mut dice = Dice(subject.run);
    let states = &DeadLetterState::ALL[1..];
    let mut marks: Vec<_> = (0..60u64)
        .map(|n| {
            let row = &all[dice.roll(5) as usize].row;
            mark(row, states[dice.roll(3) as usize], n.into(), EPOCH_MS + 1_000 + n)
        })
        .collect();
    let last: Vec<_> = all
        .iter()
        .map(|dead| {
            let mut row = dead.row.clone();
            let of_row = marks.iter().filter(|mark| mark.id == row.id);
            if let Some(mark) = of_row.max_by_key(|mark| mark.marked_at_ms) {
                (row.state, row.job_id) = (mark.state, Some(mark.job));
            }
            row
        })
        .collect();
    marks.extend_from_within(..20);
    for at in (1..marks.len()).rev() {
        marks.swap(at, dice.roll(at as u64 + 1) as usize);
    }
    for some in marks.chunks(7) {
        store.mark_dead_letters(&tenant, some).await.unwrap();
    }
    store.dead(&all).await.unwrap();
    // The names are equal, the tenant is another.
    store
        .mark_dead_letters(&subject.tenant("b"), &marks)
        .await
        .unwrap();
    let query = DeadLettersQuery {
        limit: 500,
        oldest_first: true,
        ..DeadLettersQuery::default()
    };
    assert_eq!(every_page(subject, &tenant, &query).await.0, last);
    assert_eq!(every_page(subject, &subject.tenant("b"), &query).await.0, []);
    assert_eq!(
        store.dead_letter(&tenant, last[0].id).await.unwrap().as_ref(),
        Some(&last[0])
    );
}

pub async fn a_dead_letter_stays_for_thirty_days(subject: &Subject) {
    let (store, tenant) = (&subject.store, subject.tenant("a"));
    let letter = facts::dead(&tenant, 1, 1, EPOCH_MS, "r");
    store.dead(std::slice::from_ref(&letter)).await.unwrap();
    let kept = subject.retention.max(Duration::from_secs(30 * 24 * 3600));
    let there = async || {
        let one = store.dead_letter(&tenant, letter.row.id).await.unwrap();
        let page = store
            .dead_letters(&tenant, &DeadLettersQuery::default())
            .await
            .unwrap();
        assert_eq!(one.is_some(), !page.rows.is_empty());
        one.is_some()
    };
    subject.clock.advance(kept - Duration::from_secs(1));
    assert!(there().await);
    subject.clock.advance(Duration::from_secs(1));
    assert!(!there().await);
}

fn job(tenant: &TenantId, id: u128, created_at: u64, updated_at: u64) -> Job {
    Job {
        id: Uuid::from_u128(id),
        tenant_id: tenant.clone(),
        kind: JobKind::Redrive,
        state: JobState::Running,
        dry_run: false,
        actor: Some(format!("of {tenant} at {created_at}")),
        created_at,
        updated_at,
        matched: updated_at - created_at,
        moved: 0,
        parked: 0,
        skipped: 0,
        by_code: [("store_refused".to_owned(), 3)].into(),
        position: Some(updated_at.to_string()),
        detail: None,
    }
}

pub async fn a_job_begins_once_and_its_last_saving_stays_in_any_order(subject: &Subject) {
    let tenants = [subject.tenant("a"), subject.tenant("b")];
    let id = Uuid::from_u128(7);
    let mut race = tokio::task::JoinSet::new();
    for n in 0..8u64 {
        let store = [&subject.store, &subject.other][n as usize % 2];
        let (store, new) = (
            std::sync::Arc::clone(store),
            job(&tenants[0], 7, EPOCH_MS + n, EPOCH_MS + n),
        );
        race.spawn(async move { store.begin_job(&new).await.unwrap() });
    }
    let begun = race.join_all().await;
    assert!(begun.iter().all(|job| *job == begun[0]), "two jobs have begun");
    let first = &begun[0];
    let store = &subject.store;
    assert_eq!(store.job(&tenants[0], id).await.unwrap().as_ref(), Some(first));
    assert!(store.job(&tenants[1], id).await.unwrap().is_none());
    let other = job(&tenants[1], 7, EPOCH_MS + 50, EPOCH_MS + 50);
    assert_eq!(store.begin_job(&other).await.unwrap(), other);
    let mut dice = Dice(subject.run);
    let mut saved: Vec<_> = (0..30)
        .map(|n| job(&tenants[0], 7, first.created_at, EPOCH_MS + 100 + n))
        .collect();
    saved[29].state = JobState::Done;
    let last = saved[29].clone();
    for at in (1..saved.len()).rev() {
        saved.swap(at, dice.roll(at as u64 + 1) as usize);
    }
    for job in saved.iter().chain(&saved[..4]) {
        store.save_job(job).await.unwrap();
    }
    // At one moment, one that has ended is the later.
    let mut running = last.clone();
    running.state = JobState::Running;
    store.save_job(&running).await.unwrap();
    for store in [&subject.store, &subject.other] {
        assert_eq!(store.job(&tenants[0], id).await.unwrap().as_ref(), Some(&last));
        let again = job(&tenants[0], 7, EPOCH_MS + 500, EPOCH_MS + 500);
        assert_eq!(store.begin_job(&again).await.unwrap(), last);
        assert_eq!(store.job(&tenants[1], id).await.unwrap().as_ref(), Some(&other));
    }
}

pub async fn a_job_ends_with_its_time_and_its_id_is_free_again(subject: &Subject) {
    let (store, tenant) = (&subject.store, subject.tenant("a"));
    let old = job(&tenant, 1, EPOCH_MS, EPOCH_MS);
    store.begin_job(&old).await.unwrap();
    subject.clock.advance(subject.retention - Duration::from_secs(1));
    assert_eq!(store.job(&tenant, old.id).await.unwrap().as_ref(), Some(&old));
    subject.clock.advance(Duration::from_secs(1));
    assert!(store.job(&tenant, old.id).await.unwrap().is_none());
    let now = subject.clock.unix_ms();
    let new = job(&tenant, 1, now, now);
    assert_eq!(store.begin_job(&new).await.unwrap(), new);
    assert_eq!(store.job(&tenant, old.id).await.unwrap(), Some(new));
}
