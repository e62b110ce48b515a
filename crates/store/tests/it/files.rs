//! The file: made whole, migrated safely, refused when damaged, and never reset.

use std::fs;

use carillon_schemas::status::Status;
use carillon_store::{
    DeliveriesQuery, Fsync, NotificationStore, SqliteOptions, StoreConfig, StoreError, check,
    conformance::facts::{self, EPOCH_MS},
    migrate, open,
};

use crate::support::{House, contents, eventually};

async fn with_one_notification() -> House {
    let house = House::new();
    let store = house.open(SqliteOptions::default()).unwrap();
    store.persist(&[new(1)]).await.unwrap();
    store.close().await;
    house
}

fn new(n: u64) -> carillon_store::NewNotification {
    facts::new(&"a".parse().unwrap(), n, 1, EPOCH_MS, "r")
}

/// Opening, migrating and checking are refused with a text that names the file; no byte of it changes.
async fn assert_refused(house: &House, about: &str) {
    let before = contents(house.directory.path());
    let errors = [
        house.open(SqliteOptions::default()).err(),
        house.migrate().await.err(),
        house.check().await.err(),
    ];
    for error in errors {
        let Some(StoreError::Corrupt(text)) = &error else {
            panic!("{about}: {error:?}")
        };
        assert!(
            text.contains(&house.path().display().to_string()),
            "{about}: {text}"
        );
        assert!(text.contains("Restore"), "{about}: says nothing to do: {text}");
    }
    let after = contents(house.directory.path());
    let kept = |files: &[(std::path::PathBuf, Vec<u8>)]| -> Vec<_> {
        files
            .iter()
            .filter(|(path, _)| !path.to_string_lossy().ends_with("-shm"))
            .cloned()
            .collect()
    };
    assert!(kept(&before) == kept(&after), "{about}: something was changed");
}

#[tokio::test]
async fn a_damaged_or_foreign_file_is_refused_and_left_alone() {
    let house = with_one_notification().await;
    let whole = fs::read(house.path()).unwrap();
    let damages: [(&str, Vec<u8>); 5] = [
        ("an empty file", Vec::new()),
        ("a text", b"not a database at all, but some notes\n".repeat(200)),
        ("a file cut in the middle", whole[..whole.len() / 2].to_vec()),
        ("a file cut behind its first page", whole[..4096].to_vec()),
        ("a broken header", [&[0u8; 60][..], &whole[60..]].concat()),
    ];
    for (about, bytes) in damages {
        fs::write(house.path(), bytes).unwrap();
        assert_refused(&house, about).await;
    }
    fs::write(house.path(), &whole).unwrap();
    assert_eq!(
        house.check().await.unwrap().rows[0],
        ("notifications", 1),
        "whole again, it works again"
    );
}

#[tokio::test]
async fn another_programs_database_is_refused_and_left_alone() {
    let house = House::new();
    let other = rusqlite::Connection::open(house.path()).unwrap();
    other
        .execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)")
        .unwrap();
    drop(other);
    assert_refused(&house, "a foreign database").await;
}

#[tokio::test]
async fn a_schema_that_is_not_ours_is_refused() {
    let house = with_one_notification().await;
    let hand = rusqlite::Connection::open(house.path()).unwrap();
    hand.execute_batch("DROP INDEX tenant_timeline").unwrap();
    drop(hand);
    let error = house.open(SqliteOptions::default()).err();
    assert!(
        matches!(&error, Some(StoreError::Corrupt(text)) if text.contains("tenant_timeline")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_log_without_its_file_is_refused() {
    let house = House::new();
    fs::write(house.directory.path().join("carillon.db-wal"), b"left behind").unwrap();
    let error = house.open(SqliteOptions::default()).err();
    assert!(
        matches!(&error, Some(StoreError::Corrupt(text)) if text.contains("missing")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let house = with_one_notification().await;
    let hand = rusqlite::Connection::open(house.path()).unwrap();
    hand.pragma_update(None, "user_version", 99).unwrap();
    drop(hand);
    for error in [
        house.open(SqliteOptions::default()).err(),
        house.migrate().await.err(),
        house.check().await.err(),
    ] {
        assert!(
            matches!(&error, Some(StoreError::Refused(text)) if text.contains("99")),
            "{error:?}"
        );
    }
}

/// Whatever byte of the file is wrong: an answer or an error, and nothing of another tenant; never a panic.
#[tokio::test(flavor = "multi_thread")]
async fn damage_inside_is_an_error_and_not_a_panic() {
    let house = House::new();
    let store = house.open(SqliteOptions::default()).unwrap();
    let batch: Vec<_> = (0..200).map(new).collect();
    store.persist(&batch).await.unwrap();
    store.close().await;
    let whole = fs::read(house.path()).unwrap();
    let tenant = "a".parse().unwrap();
    let mut refused = 0;
    for page in 1..whole.len() / 4096 {
        let mut broken = whole.clone();
        broken[page * 4096..page * 4096 + 64].fill(0xa5);
        fs::write(house.path(), &broken).unwrap();
        let found = house.check().await;
        assert!(
            matches!(found, Err(StoreError::Corrupt(_)) | Ok(_)),
            "page {page}: {found:?}"
        );
        refused += usize::from(found.is_err());
        let Ok(store) = house.open(SqliteOptions::default()) else {
            continue;
        };
        let query = DeliveriesQuery {
            limit: 500,
            ..DeliveriesQuery::default()
        };
        let answers = [
            store.deliveries(&tenant, &query).await.err(),
            store.notification(&tenant, facts::id(1)).await.err(),
            store.persist(&[new(900)]).await.err(),
        ];
        store.close().await;
        for error in answers.into_iter().flatten() {
            assert!(matches!(error, StoreError::Corrupt(_)), "page {page}: {error:?}");
        }
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(house.directory.path().join(format!("carillon.db{suffix}")));
        }
    }
    assert!(refused > 10, "the check finds broken pages: {refused}");
}

#[tokio::test]
async fn what_was_answered_is_there_when_the_process_died() {
    for fsync in [Fsync::Full, Fsync::Interval(std::time::Duration::from_millis(1))] {
        let house = House::new();
        let store = house
            .open(SqliteOptions {
                fsync,
                ..SqliteOptions::default()
            })
            .unwrap();
        for n in 0..50 {
            store.persist(&[new(n)]).await.unwrap();
        }
        // The files as they lie there now are what a killed process leaves.
        let after = House::new();
        for (path, bytes) in contents(house.directory.path()) {
            if !path.to_string_lossy().ends_with("-shm") {
                fs::write(after.directory.path().join(path.file_name().unwrap()), bytes).unwrap();
            }
        }
        let recovered = after.open(SqliteOptions::default()).unwrap();
        for n in 0..50 {
            let known = recovered
                .notification(&"a".parse().unwrap(), facts::id(n))
                .await
                .unwrap();
            assert!(known.is_some(), "{n} is lost with {fsync:?}");
        }
    }
}

#[tokio::test]
async fn a_store_left_without_closing_lets_go_of_its_files() {
    let house = House::new();
    for n in 0..3 {
        let store = house.open(SqliteOptions::default()).unwrap();
        store.persist(&[new(n)]).await.unwrap();
    }
    let here = house.directory.path();
    let open = || {
        let links = fs::read_dir("/proc/self/fd").unwrap().flatten();
        links
            .filter(|link| fs::read_link(link.path()).is_ok_and(|file| file.starts_with(here)))
            .count()
    };
    eventually(open, |open| *open == 0).await;
    assert_eq!(house.check().await.unwrap().rows[0], ("notifications", 3));
}

#[tokio::test]
async fn a_closed_store_leaves_one_file() {
    for _ in 0..20 {
        let house = with_one_notification().await;
        assert_eq!(contents(house.directory.path()).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_may_create_and_migrate_one_file_at_once() {
    let house = House::new();
    let mut racers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let url = house.url();
        racers.spawn(async move {
            let config = StoreConfig::default();
            migrate(&url, &config).await?;
            check(&url, &config).await
        });
    }
    for outcome in racers.join_all().await {
        outcome.unwrap();
    }
    assert_eq!(contents(house.directory.path()).len(), 1, "no draft is left");
    assert_eq!(
        house.migrate().await.unwrap().from,
        2,
        "once more changes nothing"
    );
}

#[tokio::test]
async fn a_url_opens_the_store_that_migrate_made_and_check_counts() {
    let house = House::new();
    assert!(
        matches!(house.check().await, Err(StoreError::Unavailable(_))),
        "nothing is there yet"
    );
    let migrated = house.migrate().await.unwrap();
    assert_eq!((migrated.from, migrated.to), (0, 2));
    let store = open(
        &house.url(),
        &StoreConfig::default(),
        &house.clock,
        &house.metrics,
    )
    .await
    .unwrap();
    store.persist(&[new(1), new(2)]).await.unwrap();
    let checked = house.check().await.unwrap();
    assert_eq!(checked.rows[..2], [("notifications", 2), ("delivery_log", 0)]);
    store.close().await;
}

/// A file as the first version wrote it: its rows are there, and live on as others do.
#[tokio::test]
async fn a_file_of_the_first_version_is_migrated_with_its_rows() {
    let house = House::new();
    let hand = rusqlite::Connection::open(house.path()).unwrap();
    hand.execute_batch(include_str!("../../migrations/0001_notifications.sql"))
        .unwrap();
    hand.pragma_update(None, "application_id", 0x4361_7269).unwrap();
    hand.pragma_update(None, "user_version", 1).unwrap();
    let (old, id) = (new(1), facts::id(1));
    let stored = facts::stamp(Status::Stored).packed();
    let row = "INSERT INTO notifications VALUES
        ('a', ?1, ?2, ?3, ?2, ?4, -1 - ?4, 'r', ?4, 'alerts', NULL, 'of-a-1', ?5)";
    let end = (EPOCH_MS + 3_600_000) as i64;
    let values = (id.as_bytes(), stored, end, EPOCH_MS as i64, &old.bytes[..]);
    hand.execute(row, values).unwrap();
    drop(hand);
    let migrated = house.migrate().await.unwrap();
    assert_eq!((migrated.from, migrated.to), (1, 2));
    let store = house.open(SqliteOptions::default()).unwrap();
    let tenant = "a".parse().unwrap();
    let mut fact = facts::note(&tenant, 1, facts::stamp(Status::Delivered), EPOCH_MS + 7, "f");
    fact.sessions = Some(2);
    let known = async || store.notification(&tenant, facts::id(1)).await.unwrap().unwrap();
    assert_eq!(known().await.timeline.len(), 2);
    for fact in [fact.clone(), fact] {
        store.note(&[fact]).await.unwrap();
    }
    let known = known().await;
    assert_eq!((known.bytes, known.status), (old.bytes, Status::Delivered));
    assert_eq!(known.first_delivered_at, Some(EPOCH_MS + 7));
    assert_eq!(known.timeline[2].sessions, Some(2));
    store.close().await;
    house.check().await.unwrap();
}

#[tokio::test]
async fn the_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let house = House::new();
    house.migrate().await.unwrap();
    assert_eq!(
        fs::metadata(house.path()).unwrap().permissions().mode() & 0o777,
        0o600
    );
}
