//! Promises about a tenant's deliveries, page by page.

use std::collections::BTreeSet;

use carillon_schemas::{NotificationId, TenantId, status::Status};

use super::{
    Subject,
    facts::{self, Dice, EPOCH_MS},
};
use crate::{DeliveriesQuery, DeliveriesResult};

async fn persist(subject: &Subject, tenant: &TenantId, numbers: impl Iterator<Item = u64>) {
    let batch: Vec<_> = numbers
        .map(|n| facts::new(tenant, n, 1, EPOCH_MS + n, "r"))
        .collect();
    subject.store.persist(&batch).await.unwrap();
}

async fn next_page(
    subject: &Subject,
    tenant: &TenantId,
    query: &mut DeliveriesQuery,
) -> Option<DeliveriesResult> {
    let page = subject.store.deliveries(tenant, query).await.unwrap();
    assert!(page.rows.len() <= query.limit as usize);
    query.cursor = page.next;
    Some(page)
}

fn ids(page: &DeliveriesResult) -> Vec<NotificationId> {
    page.rows.iter().map(|row| row.notification_id).collect()
}

pub async fn pages_lose_and_double_no_row_while_rows_arrive(subject: &Subject) {
    let tenant = subject.tenant("a");
    let mut dice = Dice(subject.run);
    // 200 rows, two a millisecond, so that pages end between rows of one moment; 50 numbers stay free.
    let (before, between): (Vec<u64>, Vec<u64>) = (0..250).partition(|n| n % 5 != 2);
    persist(subject, &tenant, before.iter().copied()).await;
    let mut query = DeliveriesQuery {
        limit: 7,
        ..DeliveriesQuery::default()
    };
    let mut seen = Vec::new();
    let mut arriving = between.iter().copied();
    while let Some(page) = next_page(subject, &tenant, &mut query).await {
        seen.extend(ids(&page));
        if query.cursor.is_none() {
            break;
        }
        let some = arriving
            .by_ref()
            .take(1 + dice.roll(2) as usize)
            .chain(250 + dice.roll(99)..350);
        persist(subject, &tenant, some.collect::<Vec<_>>().into_iter()).await;
        assert!(seen.len() < 1_000, "it does not end");
    }
    let distinct: BTreeSet<_> = seen.iter().copied().collect();
    assert_eq!(distinct.len(), seen.len(), "a row was doubled");
    assert!(seen.is_sorted_by(|a, b| a > b), "newest first");
    let lost: Vec<_> = before
        .iter()
        .filter(|n| !distinct.contains(&facts::id(**n)))
        .collect();
    assert!(lost.is_empty(), "rows were lost: {lost:?}");
}

pub async fn a_filter_finds_the_one_row_behind_many_others_in_bounded_pages(subject: &Subject) {
    let tenant = subject.tenant("a");
    let rare = facts::sealed(facts::envelope(&tenant, 0, "rare"), 1, EPOCH_MS, "r");
    subject.store.persist(&[rare]).await.unwrap();
    persist(subject, &tenant, 1..600).await;
    let one = facts::dispatched(&tenant, 0, 1, 1, EPOCH_MS, "r");
    subject.store.dispatched(&[one]).await.unwrap();
    let by_channel = DeliveriesQuery {
        channel: Some("rare".parse().unwrap()),
        ..DeliveriesQuery::default()
    };
    let by_status = DeliveriesQuery {
        status: Some(Status::Dispatched),
        ..DeliveriesQuery::default()
    };
    for mut query in [by_channel, by_status] {
        query.limit = 2;
        let mut found = Vec::new();
        let mut pages = 0;
        while let Some(page) = next_page(subject, &tenant, &mut query).await {
            found.extend(ids(&page));
            pages += 1;
            assert!(pages <= 600, "a page moves on");
            if query.cursor.is_none() {
                break;
            }
        }
        assert_eq!(found, [facts::id(0)]);
    }
}

pub async fn pages_end_where_the_asked_moment_begins(subject: &Subject) {
    let tenant = subject.tenant("a");
    persist(subject, &tenant, 0..40).await;
    let since_ms = Some(EPOCH_MS + 15);
    let mut query = DeliveriesQuery {
        limit: 4,
        since_ms,
        ..DeliveriesQuery::default()
    };
    let mut seen = Vec::new();
    while let Some(page) = next_page(subject, &tenant, &mut query).await {
        seen.extend(ids(&page));
        if query.cursor.is_none() {
            break;
        }
    }
    let expected: Vec<_> = (30..40).rev().map(facts::id).collect();
    assert_eq!(seen, expected);
    query.limit = 0;
    let clamped = subject.store.deliveries(&tenant, &query).await.unwrap();
    assert_eq!(clamped.rows.len(), 1, "a page of nothing would never end");
}
