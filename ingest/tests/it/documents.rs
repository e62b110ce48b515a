//! The page of problems names every code of the closed list, and no other.

use std::{collections::BTreeSet, path::Path};

use carillon_schemas::problem::ProblemCode;

#[test]
fn the_page_of_problems_has_each_code_with_its_status_meaning_and_advice() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/problems.md");
    let page = std::fs::read_to_string(path).unwrap();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let named: BTreeSet<_> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    let codes: BTreeSet<_> = ProblemCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!((named, rows.len()), (codes, ProblemCode::ALL.len()));
    for (row, code) in rows.iter().zip(ProblemCode::ALL) {
        let [name, status, meaning, advice] = row[..] else {
            panic!("{row:?} has not four cells");
        };
        assert_eq!(
            (name.trim_matches('`'), status),
            (code.as_str(), &*code.status().to_string())
        );
        assert!(meaning.len() > 20 && advice.len() > 15, "{row:?} says too little");
    }
}
