//! Definitions: the tables that our migrations make, read from the migrations themselves.
//!
//! In: the text of our own `.cql` files. Out: statements, and each table's columns as the cluster lists them.
//! Always: one source; what the check expects is what the migration asks for.

use std::collections::BTreeMap;

/// What each statement begins with, so that it may be repeated.
const BEGINS: &str = "CREATE TABLE IF NOT EXISTS ";

/// What the other statements begin with: they add one column each.
const ADDS: &str = "ALTER TABLE ";

/// A column as the cluster's own tables list it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) kind: String,
    pub(super) position: i32,
    pub(super) order: String,
    pub(super) type_name: String,
}

/// Columns by table and name.
pub(super) type Columns = BTreeMap<(String, String), Column>;

/// The statements of a migration, for a keyspace.
pub(super) fn statements(migration: &str, keyspace: &str) -> Vec<String> {
    let code = |line: &&str| !line.trim_start().starts_with("--") && !line.trim().is_empty();
    let lines: Vec<_> = migration.lines().filter(code).collect();
    let text = lines.join("\n");
    let each = text
        .split(";")
        .map(str::trim)
        .filter(|statement| !statement.is_empty());
    let named = |statement: &str| {
        let begins = if statement.starts_with(ADDS) { ADDS } else { BEGINS };
        statement.replacen(begins, &format!("{begins}{keyspace}."), 1)
    };
    each.map(named).collect()
}

/// The columns that these migrations make.
pub(super) fn columns(migrations: &[&str]) -> Columns {
    let mut columns = Columns::new();
    for migration in migrations {
        for statement in statements(migration, "k") {
            table(&statement, &mut columns);
            if let Some((place, type_name)) = added(&statement, "k") {
                let column = Column {
                    kind: "regular".to_owned(),
                    position: -1,
                    order: "none".to_owned(),
                    type_name,
                };
                columns.insert(place, column);
            }
        }
    }
    columns
}

/// The column that a statement adds, by table and name, with its type; `None` when it adds none.
pub(super) fn added(statement: &str, keyspace: &str) -> Option<((String, String), String)> {
    let rest = statement.strip_prefix(ADDS)?.strip_prefix(keyspace)?;
    let (table, column) = rest.strip_prefix('.')?.split_once(" ADD ")?;
    let (name, type_name) = column.split_once(' ')?;
    Some(((table.to_owned(), name.to_owned()), type_name.to_owned()))
}

/// One `CREATE TABLE`, written one column a line.
fn table(statement: &str, columns: &mut Columns) {
    let prefix = format!("{BEGINS}k.");
    let Some((name, body)) = statement
        .strip_prefix(&prefix)
        .and_then(|rest| rest.split_once(" ("))
    else {
        return;
    };
    let descending: Vec<_> = body
        .split_once("CLUSTERING ORDER BY (")
        .and_then(|(_, rest)| rest.split_once(')'))
        .map_or(Vec::new(), |(order, _)| order.split(',').collect());
    let mut types = Vec::new();
    let (mut partition, mut clustering) = (Vec::new(), Vec::new());
    for line in body.lines().map(str::trim) {
        if let Some(key) = line.strip_prefix("PRIMARY KEY ((") {
            let (first, rest) = key.split_once(')').unwrap_or((key, ""));
            partition = names(first);
            clustering = names(rest.trim_end_matches(')'));
            break;
        }
        if let Some((column, type_name)) = line.trim_end_matches(',').split_once(' ') {
            types.push((column, type_name));
        }
    }
    for (column, type_name) in types {
        let at = |list: &[&str]| list.iter().position(|name| *name == column);
        let (kind, position) = match (at(&partition), at(&clustering)) {
            (Some(position), _) => ("partition_key", position as i32),
            (_, Some(position)) => ("clustering", position as i32),
            _ => ("regular", -1),
        };
        let order = match kind {
            "clustering" if descending.iter().any(|d| d.trim() == format!("{column} DESC")) => "desc",
            "clustering" => "asc",
            _ => "none",
        };
        let column_of = Column {
            kind: kind.to_owned(),
            position,
            order: order.to_owned(),
            type_name: type_name.to_owned(),
        };
        columns.insert((name.to_owned(), column.to_owned()), column_of);
    }
}

fn names(list: &str) -> Vec<&str> {
    list.split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::schema::MIGRATIONS;
    use super::*;

    #[test]
    fn every_statement_may_be_repeated_and_names_its_keyspace() {
        for migration in MIGRATIONS {
            let statements = statements(migration, "mine");
            assert!(!statements.is_empty());
            for statement in statements {
                assert!(
                    statement.starts_with("CREATE TABLE IF NOT EXISTS mine.")
                        || added(&statement, "mine").is_some(),
                    "{statement}"
                );
            }
        }
    }

    #[test]
    fn every_partition_begins_with_the_tenant_and_every_row_ends_one_day() {
        let columns = columns(&MIGRATIONS);
        let first = |column: &Column| column.kind == "partition_key" && column.position == 0;
        let keys: Vec<_> = columns.iter().filter(|(_, column)| first(column)).collect();
        assert_eq!(keys.len(), 13);
        for ((table, name), _) in keys {
            let schedule = ["scheduled", "scheduled_minutes"].contains(&table.as_str());
            assert_eq!(
                name,
                if schedule { "partition_id" } else { "tenant_id" },
                "{table}"
            );
        }
        let all = MIGRATIONS.iter().flat_map(|m| statements(m, "k"));
        for statement in all.filter(|statement| added(statement, "k").is_none()) {
            assert!(statement.contains("default_time_to_live"), "{statement}");
            assert!(!statement.to_lowercase().contains("counter"));
        }
    }

    #[test]
    fn a_table_is_read_with_its_key_and_its_order() {
        let columns = columns(&MIGRATIONS);
        let of = |table: &str, name: &str| columns[&(table.to_owned(), name.to_owned())].clone();
        let stamp = of("notifications", "stamp");
        assert_eq!(
            (stamp.kind.as_str(), stamp.position, stamp.order.as_str()),
            ("clustering", 0, "desc")
        );
        let node = of("notifications", "node");
        assert_eq!(
            (node.position, node.order.as_str(), node.type_name.as_str()),
            (1, "asc", "text")
        );
        let envelope = of("notifications", "envelope");
        assert_eq!((envelope.kind.as_str(), envelope.position), ("regular", -1));
        assert_eq!(of("idempotency", "key").position, 1);
        assert_eq!(of("notifications", "sessions").type_name, "int");
    }
}
