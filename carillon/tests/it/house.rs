//! The house rules that a compiler does not check: every file says which room it is and fits its bound.

use std::path::{Path, PathBuf};

/// Longest file in lines.
const FILE_LINES: usize = 500;
/// Greatest median over all files in lines.
const MEDIAN_LINES: usize = 150;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

/// Whether a source file below a folder holds a text. A folder that is not there holds nothing.
pub(crate) fn contains(dir: &Path, text: &str) -> bool {
    let mut files = Vec::new();
    if dir.is_dir() {
        sources(dir, &mut files);
    }
    files
        .iter()
        .any(|file| std::fs::read_to_string(file).unwrap().contains(text))
}

#[test]
fn every_file_says_which_room_it_is_and_fits_its_bound() {
    let mut files = Vec::new();
    sources(&root(), &mut files);
    let mut lengths = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        assert!(
            text.starts_with("//! "),
            "{} does not say which room it is",
            file.display()
        );
        let lines = text.lines().count();
        assert!(lines <= FILE_LINES, "{} has {lines} lines", file.display());
        lengths.push(lines);
    }
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    assert!(median <= MEDIAN_LINES, "the median file has {median} lines");
}

#[test]
fn the_top_level_holds_what_the_map_names() {
    let map = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for entry in std::fs::read_dir(root()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir()
            && !name.starts_with('.')
            && !["target", "carillon-data"].contains(&name.as_str())
        {
            assert!(
                map.contains(&format!("`{name}/`")),
                "ARCHITECTURE.md does not name {name}/"
            );
        }
    }
}
