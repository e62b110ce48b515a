//! A real cluster: getting in, schemas of other versions, and a server that is away.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use carillon_chassis::{clock::Clock, metrics::Metrics, secret::Secret};
use carillon_schemas::status::Status;
use carillon_store::{
    CassandraTls, NotificationStore, StoreConfig, StoreError, check,
    conformance::facts::{self, EPOCH_MS},
    migrate, open,
};

use crate::keyspace::Keyspace;

async fn opened(keyspace: &Keyspace, config: &StoreConfig) -> Result<Arc<dyn NotificationStore>, StoreError> {
    open(&keyspace.url(), config, &Clock::manual(EPOCH_MS), &Metrics::new()).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the cluster: make cluster"]
async fn an_encrypted_connection_works_and_another_authority_is_refused() {
    let keyspace = Keyspace::shared().await;
    let mut config = keyspace.config();
    config.cassandra.tls = Some(CassandraTls {
        ca_file: Some(keyspace.cluster.ca_file.clone()),
    });
    let store = opened(&keyspace, &config).await.unwrap();
    let tenant = "encrypted".parse().unwrap();
    let new = facts::new(&tenant, 1, 1, EPOCH_MS, "r");
    store.persist(&[new]).await.unwrap();
    let known = store.notification(&tenant, facts::id(1)).await.unwrap();
    assert!(known.is_some());
    let directory = tempfile::tempdir().unwrap();
    let another = carillon_fixtures::another_authority(directory.path()).unwrap();
    config.cassandra.tls = Some(CassandraTls {
        ca_file: Some(another),
    });
    let error = opened(&keyspace, &config).await.err().unwrap();
    assert!(
        matches!(&error, StoreError::Refused(text) if text.contains("certificate")),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the cluster: make cluster"]
async fn a_wrong_password_is_refused_and_never_shown() {
    let keyspace = Keyspace::shared().await;
    let mut config = keyspace.config();
    config.cassandra.password = Some(Secret::new("wrong-thing"));
    let wrong = [
        opened(&keyspace, &config).await.err(),
        migrate(&keyspace.url(), &config).await.err(),
        check(&keyspace.url(), &config).await.err(),
    ];
    config.cassandra.user = None;
    let without = opened(&keyspace, &config).await.err();
    for error in wrong.into_iter().chain([without]) {
        let Some(StoreError::Refused(text)) = &error else {
            panic!("{error:?}")
        };
        assert!(
            text.contains("password") && !text.contains("wrong-thing"),
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the cluster: make cluster"]
async fn many_may_create_and_migrate_one_keyspace_at_once() {
    let keyspace = Keyspace::unmade();
    let mut racers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (url, config) = (keyspace.url(), keyspace.config());
        racers.spawn(async move { migrate(&url, &config).await });
    }
    for outcome in racers.join_all().await {
        assert_eq!(outcome.unwrap().to, 2);
    }
    let (url, config) = (keyspace.url(), keyspace.config());
    assert_eq!(check(&url, &config).await.unwrap().schema, 2);
    let again = migrate(&url, &config).await.unwrap();
    assert_eq!((again.from, again.to), (2, 2), "once more changes nothing");
    let store = keyspace.open(&Clock::manual(EPOCH_MS)).await.unwrap();
    let tenant = "a".parse().unwrap();
    store
        .persist(&[facts::new(&tenant, 1, 1, EPOCH_MS, "r")])
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the cluster: make cluster"]
async fn a_keyspace_of_the_first_version_is_migrated_with_its_rows_by_many_at_once() {
    let keyspace = Keyspace::unmade();
    let hand = keyspace.by_hand().await;
    let name = &keyspace.name;
    let place = "{'class': 'SimpleStrategy', 'replication_factor': 1}";
    let first = include_str!("../../migrations/0001_notifications.cql");
    let code: Vec<_> = first.lines().filter(|line| !line.starts_with("--")).collect();
    let code = code.join("\n").replace("IF NOT EXISTS ", &format!("{name}."));
    let versions = format!(
        "CREATE TABLE {name}.schema_migrations (part text, version int, PRIMARY KEY ((part), version))"
    );
    let noted = format!("INSERT INTO {name}.schema_migrations (part, version) VALUES ('carillon', 1)");
    // As the first version wrote it: a fact with its payload.
    let old = facts::new(&"a".parse().unwrap(), 1, 1, EPOCH_MS, "r");
    let row = format!(
        "INSERT INTO {name}.notifications
            (tenant_id, notification_id, stamp, node, day, at, accepted_at, channel, correlation_id, envelope)
         VALUES ('a', 0x{}, {}, 'r', {}, {EPOCH_MS}, {EPOCH_MS}, 'news', 'of-a-1', 0x{})",
        hex(facts::id(1).as_bytes()),
        facts::stamp(Status::Stored).packed(),
        EPOCH_MS / 86_400_000,
        hex(&old.bytes),
    );
    let keyspace_made = format!("CREATE KEYSPACE {name} WITH replication = {place}");
    let statements = [keyspace_made].into_iter();
    let statements = statements.chain(code.split(';').map(str::to_owned));
    for statement in statements.chain([versions, noted, row]) {
        if !statement.trim().is_empty() {
            hand.query_unpaged(statement, ()).await.unwrap();
        }
    }
    let mut racers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (url, config) = (keyspace.url(), keyspace.config());
        racers.spawn(async move { migrate(&url, &config).await });
    }
    for outcome in racers.join_all().await {
        assert_eq!(outcome.unwrap().to, 2);
    }
    // One that was cut off before it noted its version.
    let forget = format!("DELETE FROM {name}.schema_migrations WHERE part = 'carillon' AND version = 2");
    hand.query_unpaged(forget, ()).await.unwrap();
    let again = migrate(&keyspace.url(), &keyspace.config()).await.unwrap();
    assert_eq!((again.from, again.to), (1, 2));
    let store = keyspace.open(&Clock::manual(EPOCH_MS)).await.unwrap();
    let tenant = "a".parse().unwrap();
    let mut fact = facts::note(&tenant, 1, facts::stamp(Status::Delivered), EPOCH_MS, "f");
    fact.sessions = Some(2);
    store.note(&[fact]).await.unwrap();
    let known = store.notification(&tenant, facts::id(1)).await.unwrap().unwrap();
    assert_eq!((known.bytes, known.status), (old.bytes, Status::Delivered));
    assert_eq!(known.timeline[2].sessions, Some(2));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the cluster: make cluster"]
async fn a_keyspace_of_another_version_is_told_from_one_that_is_missing() {
    let keyspace = Keyspace::unmade();
    let (url, config) = (keyspace.url(), keyspace.config());
    for error in [
        opened(&keyspace, &config).await.err(),
        check(&url, &config).await.err(),
    ] {
        assert!(
            matches!(&error, Some(StoreError::NotMigrated(text)) if text.contains(&keyspace.name)),
            "{error:?}"
        );
    }
    migrate(&url, &config).await.unwrap();
    let hand = keyspace.by_hand().await;
    let name = &keyspace.name;
    let does = async |statement: String| hand.query_unpaged(statement, ()).await.map(|_| ()).unwrap();
    does(format!(
        "INSERT INTO {name}.schema_migrations (part, version) VALUES ('carillon', 99)"
    ))
    .await;
    for error in [
        opened(&keyspace, &config).await.err(),
        check(&url, &config).await.err(),
        migrate(&url, &config).await.err(),
    ] {
        assert!(
            matches!(&error, Some(StoreError::Refused(text)) if text.contains("99")),
            "{error:?}"
        );
    }
    does(format!(
        "DELETE FROM {name}.schema_migrations WHERE part = 'carillon'"
    ))
    .await;
    for error in [
        opened(&keyspace, &config).await.err(),
        check(&url, &config).await.err(),
    ] {
        assert!(
            matches!(&error, Some(StoreError::NotMigrated(text)) if text.contains("version 0")),
            "{error:?}"
        );
    }
    assert_eq!(
        migrate(&url, &config).await.unwrap().from,
        0,
        "what was begun is ended"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the cluster: make cluster"]
async fn a_table_that_is_not_ours_is_refused_by_its_column() {
    let keyspace = Keyspace::migrated().await;
    let hand = keyspace.by_hand().await;
    let statement = format!("ALTER TABLE {}.notifications DROP correlation_id", keyspace.name);
    hand.query_unpaged(statement, ()).await.unwrap();
    let (url, config) = (keyspace.url(), keyspace.config());
    for error in [
        opened(&keyspace, &config).await.err(),
        check(&url, &config).await.err(),
    ] {
        assert!(
            matches!(&error, Some(StoreError::Corrupt(text)) if text.contains("correlation_id")),
            "{error:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the cluster: make cluster"]
async fn more_copies_than_nodes_are_refused_before_anything_is_made() {
    let keyspace = Keyspace::unmade();
    let mut config = keyspace.config();
    config.cassandra.replication = 3;
    let error = migrate(&keyspace.url(), &config).await.err();
    assert!(
        matches!(&error, Some(StoreError::Refused(text)) if text.contains("3 copies")),
        "{error:?}"
    );
    config.cassandra.datacenter = Some("nowhere".to_owned());
    for error in [
        migrate(&keyspace.url(), &config).await.err(),
        opened(&keyspace, &config).await.err(),
    ] {
        assert!(
            matches!(&error, Some(StoreError::Refused(text)) if text.contains("nowhere")),
            "{error:?}"
        );
    }
    assert!(matches!(
        check(&keyspace.url(), &keyspace.config()).await,
        Err(StoreError::NotMigrated(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_unavailable_within_the_deadline() {
    // A port that was free a moment ago, and an address of documentation (RFC 5737) that nobody answers.
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for place in [closed.to_string(), "192.0.2.1".to_owned()] {
        let url = format!("cassandra://{place}/carillon");
        let config = StoreConfig {
            deadline: Duration::from_secs(2),
            ..StoreConfig::default()
        };
        let began = Instant::now();
        let clock = Clock::manual(EPOCH_MS);
        let errors = [
            open(&url, &config, &clock, &Metrics::new()).await.err(),
            check(&url, &config).await.err(),
        ];
        assert!(
            began.elapsed() < Duration::from_secs(6),
            "{place}: {:?}",
            began.elapsed()
        );
        for error in errors {
            assert!(
                matches!(error, Some(StoreError::Unavailable(_))),
                "{place}: {error:?}"
            );
        }
    }
}
