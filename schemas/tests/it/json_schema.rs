//! The committed JSON Schemas are those that the types give.

use std::{collections::BTreeSet, path::PathBuf};

use carillon_schemas::json_schema;

#[test]
fn the_committed_schemas_are_those_that_the_types_give() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("json");
    let mut expected = BTreeSet::new();
    for (name, text) in json_schema::all() {
        let committed = std::fs::read_to_string(dir.join(name)).unwrap_or_default();
        assert!(
            committed == text,
            "schemas/json/{name} is stale: run `carillon schemas write`"
        );
        expected.insert(name.to_owned());
    }
    let found: BTreeSet<String> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, expected, "schemas/json holds files that nothing generates");
}
