//! The schema: how a keyspace is made, migrated and checked.
//!
//! In: a session and a keyspace's name. Out: tables of this version, or what is wrong with those that are there.
//! Always: every statement may be repeated, and all go through one node, so that several processes may migrate
//! at once; a version is noted when the cluster agrees on its tables.

use std::time::Duration;

use carillon_chassis::backoff::Backoff;
use scylla::{
    client::session::Session,
    errors::{DbError, ExecutionError, RequestAttemptError},
    policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy},
    response::query_result::{QueryResult, QueryRowsResult},
    statement::unprepared::Statement,
};

use super::{
    CassandraOptions,
    definition::{self, Column, Columns},
    failure::{corrupt, store_error, unavailable},
};
use crate::{
    StoreError,
    config::{Checked, Migrated},
};

/// Migrations in order; the schema's version is how many were applied.
pub(super) const MIGRATIONS: [&str; 2] = [
    include_str!("../../migrations/0001_notifications.cql"),
    include_str!("../../migrations/0002_life.cql"),
];

/// Notes which migrations were applied. Not a tenant's.
const VERSIONS: &str = "schema_migrations";

/// How long making a table, and the agreement on it, may take: each goes to the disks of all nodes.
pub(super) const MAKING: Duration = Duration::from_secs(30);

/// How often a migration is tried while other processes make the same tables.
const ATTEMPTS: u32 = 6;

/// The version that this program works with.
pub(super) fn latest() -> i32 {
    MIGRATIONS.len() as i32
}

/// Brings a keyspace up to date, creating it where there is none. When another process makes the same tables
/// at this moment, a node may list what it does not know yet: then it is tried again.
pub(super) async fn migrate(
    session: &Session,
    keyspace: &str,
    options: &CassandraOptions,
) -> Result<Migrated, StoreError> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));
    let mut left = ATTEMPTS;
    loop {
        match attempt(session, keyspace, options).await {
            Err(StoreError::Unavailable(_)) if left > 1 => left -= 1,
            outcome => return outcome,
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

async fn attempt(
    session: &Session,
    keyspace: &str,
    options: &CassandraOptions,
) -> Result<Migrated, StoreError> {
    let found = found(session, keyspace).await?;
    if let Found::Version(version, _) = &found
        && *version > latest()
    {
        return Err(newer(keyspace, *version));
    }
    if found == Found::Nothing {
        make(session, &new_keyspace(session, keyspace, options)?).await?;
    }
    let versions = format!(
        "CREATE TABLE IF NOT EXISTS {keyspace}.{VERSIONS} (part text, version int, PRIMARY KEY ((part), version))"
    );
    make(session, &versions).await?;
    let from = found.version();
    for (version, migration) in (1..).zip(MIGRATIONS).skip(from as usize) {
        for statement in definition::statements(migration, keyspace) {
            let added = definition::added(&statement, keyspace);
            if added.is_some_and(|(column, _)| found.has(&column)) {
                continue;
            }
            make(session, &statement).await?;
        }
        let note = format!("INSERT INTO {keyspace}.{VERSIONS} (part, version) VALUES ('carillon', ?)");
        let mut note = Statement::new(note);
        note.set_is_idempotent(true);
        session
            .query_unpaged(note, (version,))
            .await
            .map_err(|error| store_error(&error))?;
    }
    check(session, keyspace).await?;
    Ok(Migrated {
        from: from.unsigned_abs(),
        to: latest().unsigned_abs(),
    })
}

/// Refuses a keyspace whose tables are not what this version's migrations make.
pub(super) async fn check(session: &Session, keyspace: &str) -> Result<Checked, StoreError> {
    let (version, columns) = match found(session, keyspace).await? {
        Found::Nothing => {
            return Err(StoreError::NotMigrated(format!(
                "there is no keyspace {keyspace}"
            )));
        }
        Found::Version(version, columns) => (version, columns),
    };
    if version > latest() {
        return Err(newer(keyspace, version));
    }
    if version < latest() {
        return Err(StoreError::NotMigrated(format!(
            "the schema of keyspace {keyspace} is version {version}, this program's is {}",
            latest()
        )));
    }
    for ((table, name), expected) in definition::columns(&MIGRATIONS) {
        let found = columns.get(&(table.clone(), name.clone()));
        if found != Some(&expected) {
            return Err(StoreError::Corrupt(format!(
                "keyspace {keyspace}: column {name} of table {table} is {found:?}, this version's is {expected:?}"
            )));
        }
    }
    Ok(Checked {
        schema: version.unsigned_abs(),
        bytes: None,
        rows: Vec::new(),
    })
}

/// Reads a row of each table.
pub(super) async fn read_each(session: &Session, keyspace: &str) -> Result<(), StoreError> {
    let columns = definition::columns(&MIGRATIONS);
    let tables: std::collections::BTreeSet<_> = columns.keys().map(|(table, _)| table).collect();
    for table in tables {
        let mut statement = Statement::new(format!("SELECT * FROM {keyspace}.{table} LIMIT 1"));
        statement.set_is_idempotent(true);
        let answer = session.query_unpaged(statement, ()).await;
        answer.map_err(|error| store_error(&error))?;
    }
    Ok(())
}

fn newer(keyspace: &str, version: i32) -> StoreError {
    StoreError::Refused(format!(
        "keyspace {keyspace} was written by a newer version (schema {version}, this program knows {}); nothing \
         was changed",
        latest()
    ))
}

/// What is there.
#[derive(Debug, PartialEq)]
enum Found {
    Nothing,
    Version(i32, Columns),
}

impl Found {
    fn version(&self) -> i32 {
        match self {
            Self::Nothing => 0,
            Self::Version(version, _) => *version,
        }
    }

    fn has(&self, column: &(String, String)) -> bool {
        matches!(self, Self::Version(_, columns) if columns.contains_key(column))
    }
}

async fn found(session: &Session, keyspace: &str) -> Result<Found, StoreError> {
    let keyspaces = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?";
    if read(session, keyspaces, keyspace).await?.rows_num() == 0 {
        return Ok(Found::Nothing);
    }
    let listed = "SELECT table_name, column_name, kind, position, clustering_order, type \
                  FROM system_schema.columns WHERE keyspace_name = ?";
    let rows = read(session, listed, keyspace).await?;
    let rows = rows
        .rows::<(String, String, String, i32, String, String)>()
        .map_err(|error| corrupt("system_schema.columns", &error))?;
    let mut columns = Columns::new();
    for row in rows {
        let (table, name, kind, position, order, type_name) =
            row.map_err(|error| corrupt("system_schema.columns", &error))?;
        let column = Column {
            kind,
            position,
            order,
            type_name,
        };
        columns.insert((table, name), column);
    }
    if !columns.keys().any(|(table, _)| table == VERSIONS) {
        return Ok(Found::Version(0, columns));
    }
    let versions = format!("SELECT max(version) FROM {keyspace}.{VERSIONS} WHERE part = ?");
    let version = match ask(session, &versions, "carillon").await {
        Ok(answer) => rows_of(answer)?,
        // It is listed already, and not there yet: somebody migrates at this moment.
        Err(ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Invalid, _))) => {
            return Ok(Found::Version(0, columns));
        }
        Err(error) => return Err(store_error(&error)),
    };
    let (version,) = version
        .single_row::<(Option<i32>,)>()
        .map_err(|error| corrupt(VERSIONS, &error))?;
    Ok(Found::Version(version.unwrap_or(0), columns))
}

/// A read of what is small: one keyspace's columns, one row.
async fn read(session: &Session, statement: &str, key: &str) -> Result<QueryRowsResult, StoreError> {
    let answer = ask(session, statement, key).await;
    rows_of(answer.map_err(|error| store_error(&error))?)
}

async fn ask(session: &Session, statement: &str, key: &str) -> Result<QueryResult, ExecutionError> {
    let mut statement = Statement::new(statement);
    statement.set_is_idempotent(true);
    session.query_unpaged(statement, (key,)).await
}

fn rows_of(answer: QueryResult) -> Result<QueryRowsResult, StoreError> {
    answer.into_rows_result().map_err(|error| unavailable(&error))
}

fn new_keyspace(session: &Session, keyspace: &str, options: &CassandraOptions) -> Result<String, StoreError> {
    let copies = options.replication;
    let state = session.get_cluster_state();
    let mut nodes = std::collections::BTreeMap::<&str, usize>::new();
    for node in state.get_nodes_info() {
        *nodes.entry(node.datacenter.as_deref().unwrap_or("")).or_default() += 1;
    }
    if let Some(wanted) = &options.datacenter {
        nodes.retain(|name, _| name == wanted);
    }
    for (name, count) in nodes {
        if count < usize::from(copies) {
            return Err(StoreError::Refused(format!(
                "{copies} copies of each row need as many nodes, and datacenter {name} has {count}: set a \
                 smaller replication, or create the keyspace {keyspace} yourself"
            )));
        }
    }
    // A name comes from the settings: a quotation mark in it is doubled.
    let place = options.datacenter.as_deref().unwrap_or("replication_factor");
    let place = place.replace('\'', "''");
    Ok(format!(
        "CREATE KEYSPACE IF NOT EXISTS {keyspace} \
         WITH replication = {{'class': 'NetworkTopologyStrategy', '{place}': {copies}}}"
    ))
}

/// Makes a keyspace or a table. Whoever asks, it is always the same node that does it: two nodes that make one
/// table at the same moment make two.
async fn make(session: &Session, statement: &str) -> Result<(), StoreError> {
    let state = session.get_cluster_state();
    let there = state.get_nodes_info().iter().filter(|node| node.is_connected());
    let Some(node) = there.min_by_key(|node| node.host_id) else {
        return Err(StoreError::Unavailable(
            "no node of Cassandra is connected".to_owned(),
        ));
    };
    let mut statement = Statement::new(statement);
    statement.set_is_idempotent(true);
    statement.set_request_timeout(Some(MAKING));
    statement.set_load_balancing_policy(Some(SingleTargetLoadBalancingPolicy::new(
        NodeIdentifier::Node(node.clone()),
        None,
    )));
    let made = session.query_unpaged(statement, ()).await;
    made.map_err(|error| store_error(&error))?;
    // The driver waits for it only when the statement changed something.
    let agreed = session.await_schema_agreement().await;
    agreed.map(|_| ()).map_err(|error| unavailable(&error))
}
