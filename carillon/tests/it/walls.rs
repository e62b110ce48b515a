//! The walls: who may depend on whom, and who owns each heavy package.
//!
//! Reads `cargo metadata`; the tables here are those of ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// What each package may depend on inside the workspace, in its normal and build dependencies.
const WALLS: &[(&str, &[&[&str]])] = &[
    ("carillon-schemas", &[]),
    ("carillon-chassis", &[&["carillon-schemas"]]),
    ("carillon-auth", &[&["carillon-schemas", "carillon-chassis"]]),
    ("carillon-bus", &[&["carillon-schemas", "carillon-chassis"]]),
    ("carillon-store", &[&["carillon-schemas", "carillon-chassis"]]),
    ("carillon-broker", &[&["carillon-schemas", "carillon-chassis"]]),
    ("carillon-ingest", &[ROLE]),
    ("carillon-router", &[ROLE]),
    ("carillon-fanout", &[ROLE]),
    ("carillon-client", &[&["carillon-schemas"]]),
    ("carillon-loadtest", &[&["carillon-schemas", "carillon-client"]]),
    ("carillon-fixtures", &[]),
    (
        "carillon-testkit",
        &[EVERYTHING_BUT_THE_BINARY, &["carillon-fixtures"]],
    ),
    ("carillon", &[EVERYTHING_BUT_THE_BINARY]),
];

const ROLE: &[&str] = &[
    "carillon-schemas",
    "carillon-chassis",
    "carillon-auth",
    "carillon-bus",
    "carillon-store",
];

const EVERYTHING_BUT_THE_BINARY: &[&str] = &[
    "carillon-schemas",
    "carillon-chassis",
    "carillon-auth",
    "carillon-bus",
    "carillon-store",
    "carillon-broker",
    "carillon-ingest",
    "carillon-router",
    "carillon-fanout",
    "carillon-client",
];

/// Who may name a heavy package, in dependencies of any kind.
const OWNERS: &[(&str, &[&str])] = &[
    ("rdkafka", &["carillon-bus"]),
    ("rdkafka-sys", &["carillon-bus"]),
    ("kafka-protocol", &["carillon-broker"]),
    ("rusqlite", &["carillon-store"]),
    ("scylla", &["carillon-store"]),
    ("jsonwebtoken", &["carillon-auth"]),
    ("governor", &["carillon-chassis"]),
    ("prometheus", &["carillon-chassis"]),
    ("tracing-subscriber", &["carillon-chassis"]),
    ("figment", &["carillon-chassis"]),
    // Fanout takes the upgraded connection out of hyper; serving is the chassis' alone.
    ("hyper", &["carillon-chassis", "carillon-fanout"]),
    ("hyper-util", &["carillon-chassis", "carillon-fanout"]),
    (
        "axum",
        &["carillon-chassis", "carillon-ingest", "carillon-fanout"],
    ),
    ("tokio-tungstenite", &["carillon-fanout", "carillon-client"]),
    ("chitchat", &["carillon-fanout"]),
    ("reqwest", &["carillon-client", "carillon-auth"]),
    ("clap", &["carillon", "carillon-loadtest"]),
    ("anyhow", &["carillon", "carillon-loadtest"]),
];

fn workspace() -> Metadata {
    MetadataCommand::new()
        .no_deps()
        .other_options(["--locked".to_owned()])
        .exec()
        .unwrap()
}

fn dependencies(package: &Package, with_tests: bool) -> BTreeSet<&str> {
    let counted = |kind| with_tests || kind != DependencyKind::Development;
    package
        .dependencies
        .iter()
        .filter(|d| counted(d.kind))
        .map(|d| d.name.as_str())
        .collect()
}

#[test]
fn every_package_depends_only_on_what_its_wall_lets_through() {
    let metadata = workspace();
    let walls: BTreeMap<&str, &[&[&str]]> = WALLS.iter().copied().collect();
    let members: BTreeSet<&str> = metadata.packages.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(
        members,
        walls.keys().copied().collect(),
        "a package without a wall, or a wall without one"
    );
    for package in &metadata.packages {
        let allowed = walls[package.name.as_str()];
        for dependency in dependencies(package, false).intersection(&members) {
            assert!(
                allowed.iter().any(|some| some.contains(dependency)),
                "{} must not depend on {dependency}",
                package.name
            );
        }
    }
}

#[test]
fn every_heavy_package_has_its_owner() {
    let metadata = workspace();
    for (heavy, owners) in OWNERS {
        for package in &metadata.packages {
            let named = dependencies(package, true).contains(heavy);
            assert!(
                !named || owners.contains(&package.name.as_str()),
                "{} names {heavy}, which belongs to {owners:?}",
                package.name
            );
        }
    }
}

#[test]
fn the_roles_never_depend_on_one_another_not_even_in_tests() {
    let roles = ["carillon-ingest", "carillon-router", "carillon-fanout"];
    for package in workspace()
        .packages
        .iter()
        .filter(|p| roles.contains(&p.name.as_str()))
    {
        let named = dependencies(package, true);
        let others: Vec<_> = roles
            .iter()
            .filter(|r| **r != package.name.as_str() && named.contains(**r))
            .collect();
        assert!(others.is_empty(), "{} depends on {others:?}", package.name);
    }
}

#[test]
fn the_testkit_is_for_tests_and_its_stacks_are_for_the_whole_product() {
    let metadata = workspace();
    for package in &metadata.packages {
        assert!(
            !dependencies(package, false).contains("carillon-testkit"),
            "{} ships the testkit",
            package.name
        );
        if package.name.as_str() == "carillon" || package.name.as_str() == "carillon-testkit" {
            continue;
        }
        let dir = package.manifest_path.parent().unwrap();
        let uses =
            |kind: &str| crate::house::contains(dir.join(kind).as_std_path(), "carillon_testkit::stack");
        assert!(
            !uses("src") && !uses("tests") && !uses("benches"),
            "{} starts whole stacks",
            package.name
        );
    }
}
