//! Help, version, and what is refused as usage.

use std::path::Path;

use crate::run::{run, succeed};

const COMMANDS: &[&[&str]] = &[
    &["up"],
    &["ingest"],
    &["router"],
    &["fanout"],
    &["broker"],
    &["send"],
    &["cancel"],
    &["listen"],
    &["dlq", "list"],
    &["dlq", "show"],
    &["dlq", "redrive"],
    &["dlq", "discard"],
    &["replay"],
    &["demo"],
    &["token", "mint"],
    &["token", "inspect"],
    &["topics", "plan"],
    &["topics", "apply"],
    &["store", "migrate"],
    &["store", "check"],
    &["schemas", "write"],
    &["schemas", "check"],
    &["config", "show"],
    &["config", "check"],
    &["smoke"],
];

#[test]
fn the_help_of_every_command_has_an_example() {
    for command in COMMANDS {
        let help = succeed(Path::new("."), &[command, &["--help"][..]].concat());
        let example = help
            .split_once("Example:")
            .unwrap_or_else(|| panic!("{command:?} has no example"))
            .1;
        assert!(
            example.contains(&format!("carillon {}", command.join(" "))),
            "{example}"
        );
        assert!(!help.contains('\u{1b}'), "colours without a terminal: {help}");
    }
}

#[test]
fn an_unknown_flag_or_command_is_a_usage_error() {
    for command in COMMANDS {
        let ended = run(Path::new("."), &[command, &["--no-such-flag"][..]].concat());
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{command:?}");
        assert!(ended.stderr.contains("--no-such-flag"), "{}", ended.stderr);
    }
    assert_eq!(run(Path::new("."), &["fly"]).code, Some(2));
    assert_eq!(run(Path::new("."), &[]).code, Some(2));
}

#[test]
fn what_an_operator_writes_wrongly_is_a_usage_error_that_says_how() {
    let dir = tempfile::tempdir().unwrap();
    for (arguments, words) in [
        (&["dlq", "list"][..], "no tenant: give --tenant"),
        (&["dlq", "list", "--tenant", "a", "--since", "yesterday"], "-1h"),
        (
            &["dlq", "list", "--tenant", "a", "--state", "gone"],
            "waiting, redriven, parked, discarded",
        ),
        (&["dlq", "show", "7", "--tenant", "a"], "3-1042"),
        (&["dlq", "discard", "--tenant", "a"], "give --all"),
        (&["dlq", "redrive", "--tenant", "a", "--job", "x"], "--job"),
        (&["replay", "--tenant", "a"], "--since"),
        (
            &["replay", "--tenant", "a", "--since", "5", "--until", "5"],
            "later than --since",
        ),
        (&["cancel", "x"], "UUID"),
        (&["send", "--priority", "urgent", "x"], "low, normal or high"),
        (&["send", "--deliver-at", "30s", "x"], "+30s"),
    ] {
        let ended = run(dir.path(), arguments);
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (Some(2), ""),
            "{arguments:?}"
        );
        assert!(ended.stderr.contains(words), "{arguments:?}: {}", ended.stderr);
    }
}

#[test]
fn the_version_names_the_commit() {
    let version = succeed(Path::new("."), &["--version"]);
    let commit = version.split(['(', ')']).nth(1).unwrap();
    assert!(version.starts_with("carillon 0."), "{version}");
    assert!(
        commit == "unknown" || commit.len() == 12 && commit.chars().all(|c| c.is_ascii_hexdigit()),
        "{version}"
    );
}
