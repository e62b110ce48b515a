//! Room: expired rows go, and a full store goes on when there is some.

use std::{collections::BTreeMap, time::Duration};

use carillon_schemas::{
    TenantId,
    audit::{AuditEntry, AuditKind},
    dead_letter::{Job, JobKind, JobState},
    status::Status,
};
use carillon_store::{
    Claim, NotificationStore, Scheduled, SqliteOptions, StoreError,
    conformance::facts::{self, EPOCH_MS},
};
use uuid::Uuid;

use crate::support::{House, eventually};

/// Rows per table, counted by another connection.
fn rows(house: &House) -> Vec<i64> {
    let connection = rusqlite::Connection::open(house.path()).unwrap();
    let count = |table| {
        let counted = connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0));
        counted.unwrap()
    };
    ["notifications", "delivery_log", "channel_recent", "idempotency"]
        .map(count)
        .to_vec()
}

/// The same of the tables that are about what operators ask for, and about what waits.
fn other_rows(house: &House) -> Vec<i64> {
    let connection = rusqlite::Connection::open(house.path()).unwrap();
    let count = |table| {
        let counted = connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0));
        counted.unwrap()
    };
    ["collapse_latest", "scheduled", "jobs", "audit", "dead_letters"]
        .map(count)
        .to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_and_what_operators_ask_for_goes_too() {
    let house = House::new();
    let retention = Duration::from_secs(3600);
    let options = SqliteOptions {
        retention,
        sweep_every: Duration::from_millis(5),
        ..SqliteOptions::default()
    };
    let store = house.open(options).unwrap();
    let tenant: TenantId = "a".parse().unwrap();
    // More than a slice of each.
    let mut letters = Vec::new();
    for n in 0..300u64 {
        let mut envelope = facts::envelope(&tenant, n, "alerts");
        envelope.collapse_key = Some(format!("k{n}").parse().unwrap());
        let place = Scheduled {
            partition: 1,
            due_at_ms: EPOCH_MS,
            tenant: tenant.clone(),
            id: facts::id(n),
        };
        store
            .persist(&[facts::sealed(envelope, 1, EPOCH_MS, "r")])
            .await
            .unwrap();
        store.schedule(&[place]).await.unwrap();
        store.begin_job(&job(&tenant, n)).await.unwrap();
        store.audit(&[entry(&tenant, n)]).await.unwrap();
        letters.push(facts::dead(&tenant, n, 1, EPOCH_MS, "r"));
    }
    store.dead(&letters).await.unwrap();
    house.clock.advance(retention - Duration::from_secs(1));
    assert_eq!(other_rows(&house), [300; 5]);
    house.clock.advance(Duration::from_secs(1));
    eventually(|| other_rows(&house), |rows| rows[..] == [0, 0, 0, 0, 300]).await;
    house.clock.advance(Duration::from_secs(30 * 24 * 3600));
    eventually(|| other_rows(&house), |rows| rows[..] == [0; 5]).await;
    store.close().await;
}

fn job(tenant: &TenantId, n: u64) -> Job {
    Job {
        id: Uuid::from_u128(n.into()),
        tenant_id: tenant.clone(),
        kind: JobKind::Discard,
        state: JobState::Running,
        dry_run: false,
        actor: None,
        created_at: EPOCH_MS,
        updated_at: EPOCH_MS,
        matched: 0,
        moved: 0,
        parked: 0,
        skipped: 0,
        by_code: BTreeMap::new(),
        position: None,
        detail: None,
    }
}

fn entry(tenant: &TenantId, n: u64) -> AuditEntry {
    AuditEntry {
        id: Uuid::from_u128(n.into()),
        tenant_id: tenant.clone(),
        at: EPOCH_MS,
        kind: AuditKind::Rejection,
        code: "forbidden".to_owned(),
        actor: None,
        node: "ingest-0".to_owned(),
        subject: None,
        count: 1,
        detail: None,
    }
}

/// An ordinary life leaves one row, whichever process delivers.
#[tokio::test]
async fn an_ordinary_delivery_and_acknowledgement_stand_in_the_notifications_row() {
    let house = House::new();
    let store = house.open(SqliteOptions::default()).unwrap();
    let tenant: TenantId = "a".parse().unwrap();
    let note = |n, status, sessions| {
        let mut note = facts::note(&tenant, n, facts::stamp(status), EPOCH_MS + 5, "fanout-0");
        note.sessions = sessions;
        note
    };
    for n in 0..20 {
        let new = facts::new(&tenant, n, 1, EPOCH_MS, "router-0");
        let sent = facts::dispatched(&tenant, n, 1, 1, EPOCH_MS + 1, "router-0");
        store.persist(&[new]).await.unwrap();
        store.dispatched(&[sent]).await.unwrap();
        store.note(&[note(n, Status::Delivered, Some(1))]).await.unwrap();
        store.note(&[note(n, Status::Acknowledged, None)]).await.unwrap();
        store.note(&[note(n, Status::Delivered, Some(3))]).await.unwrap();
    }
    assert_eq!(rows(&house)[..2], [20, 0]);
    let known = store.notification(&tenant, facts::id(7)).await.unwrap().unwrap();
    let told: Vec<_> = known.timeline.iter().map(|e| (e.status, e.sessions)).collect();
    assert_eq!(
        told[3..],
        [(Status::Delivered, Some(3)), (Status::Acknowledged, None)]
    );
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_rows_of_every_table_are_removed_and_others_stay() {
    let house = House::new();
    let retention = Duration::from_secs(3600);
    let options = SqliteOptions {
        retention,
        sweep_every: Duration::from_millis(5),
        ..SqliteOptions::default()
    };
    let store = house.open(options).unwrap();
    let tenants = ["a", "b"].map(|t| t.parse().unwrap());
    let fill = async |numbers: std::ops::Range<u64>, at_ms| {
        for tenant in &tenants {
            let new: Vec<_> = numbers
                .clone()
                .map(|n| facts::new(tenant, n, 1, at_ms, "r"))
                .collect();
            let sent: Vec<_> = numbers
                .clone()
                .map(|n| facts::dispatched(tenant, n, 1, 1, at_ms, "r"))
                .collect();
            store.persist(&new).await.unwrap();
            store.dispatched(&sent).await.unwrap();
        }
    };
    // More than one slice per tenant and per stream, and some whose payload never came.
    fill(0..700, EPOCH_MS).await;
    let bare: Vec<_> = (2_000..2_300)
        .map(|n| facts::dead(&tenants[0], n, 1, EPOCH_MS, "r"))
        .collect();
    store.dead(&bare).await.unwrap();
    let claim = Claim {
        id: facts::id(1),
        body_hash: [1; 32],
        at_ms: EPOCH_MS,
    };
    store
        .claim(&tenants[0], &"k".parse().unwrap(), &claim)
        .await
        .unwrap();
    house.clock.advance(retention - Duration::from_secs(1));
    fill(700..705, house.clock.unix_ms()).await;
    assert_eq!(rows(&house), [705 * 2 + 300, 300, 705 * 2, 1]);
    house.clock.advance(Duration::from_secs(1));
    eventually(|| rows(&house), |rows| rows[..] == [10, 0, 10, 1]).await;
    house.clock.advance(Duration::from_secs(24 * 3600));
    eventually(|| rows(&house), |rows| rows[..] == [0, 0, 0, 0]).await;
    assert!(house.metrics.render().contains("carillon_store_expired_total"));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_says_so_and_works_again_when_there_is_room() {
    let house = House::new();
    let options = SqliteOptions {
        max_bytes: Some(1 << 20),
        sweep_every: Duration::from_millis(5),
        ..SqliteOptions::default()
    };
    let retention = options.retention;
    let store = house.open(options).unwrap();
    let tenant = "a".parse().unwrap();
    let mut kept = 0;
    let error = loop {
        let batch: Vec<_> = (kept..kept + 50)
            .map(|n| facts::new(&tenant, n, 1, EPOCH_MS, "r"))
            .collect();
        match store.persist(&batch).await {
            Ok(()) => kept += 50,
            Err(error) => break error,
        }
        assert!(kept < 100_000, "it is never full");
    };
    assert!(
        matches!(error, StoreError::Full(_)) && error.is_systemic(),
        "{error:?}"
    );
    for n in [0, kept - 1] {
        assert!(
            store.notification(&tenant, facts::id(n)).await.unwrap().is_some(),
            "what was answered is there"
        );
    }
    assert!(
        store
            .notification(&tenant, facts::id(kept))
            .await
            .unwrap()
            .is_none(),
        "all or nothing"
    );
    house.clock.advance(retention);
    eventually(|| rows(&house), |rows| rows[0] == 0).await;
    let now = house.clock.unix_ms();
    let batch: Vec<_> = (0..50)
        .map(|n| facts::new(&tenant, kept + n, 1, now, "r"))
        .collect();
    store.persist(&batch).await.unwrap();
    store.close().await;
}

/// Thousands of small commits leave a short log and a store that is whole.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_carried_over_while_writing_goes_on() {
    let house = House::new();
    let fsync = carillon_store::Fsync::Interval(Duration::from_millis(2));
    let store = house
        .open(SqliteOptions {
            fsync,
            ..SqliteOptions::default()
        })
        .unwrap();
    let tenant = "a".parse().unwrap();
    for n in 0..300 {
        store
            .persist(&[facts::new(&tenant, n, 1, EPOCH_MS, "r")])
            .await
            .unwrap();
    }
    let main = house.path();
    let empty = 16 * 4096;
    eventually(|| std::fs::metadata(&main).unwrap().len(), |bytes| *bytes > empty).await;
    store.close().await;
    assert_eq!(rows(&house), [300, 0, 0, 0]);
}
