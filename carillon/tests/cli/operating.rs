//! Operators' commands against an `up`: what is scheduled is cancelled, dead letters are moved, what is stored is
//! replayed.

use std::path::Path;

use serde_json::Value;

use crate::{
    run::{Ended, command, run, succeed},
    up::{up, with_url},
};

const LIMIT: &str = "[[router.channel_limits]]\ntenant = \"demo\"\nchannel = \"small\"\nmax_bytes = 600\n";

/// An `up` with a channel that takes only small envelopes, and an operator's token.
struct Desk<'a> {
    dir: &'a Path,
    facts: Value,
    token: String,
}

impl Desk<'_> {
    fn run(&self, arguments: &[&str]) -> Ended {
        let mut command = command(self.dir, &with_url(arguments, &self.facts));
        command
            .env("CARILLON_TOKEN", &self.token)
            .output()
            .unwrap()
            .into()
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr);
        ended.stdout.trim().to_owned()
    }

    /// The rows of `dlq list`.
    fn letters(&self, more: &[&str]) -> Vec<Value> {
        let listed = self.succeed(&[&["dlq", "list", "--output", "json"], more].concat());
        listed
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn until_letters(&self, n: usize, more: &[&str]) -> Vec<Value> {
        for _ in 0..400 {
            let letters = self.letters(more);
            if letters.len() == n {
                return letters;
            }
        }
        panic!("{:?} are not {n} dead letters", self.letters(more));
    }

    /// Repeats a command while it is too early for it.
    fn once_visible(&self, arguments: &[&str]) -> Ended {
        for _ in 0..400 {
            let ended = self.run(arguments);
            if !ended.stderr.contains("not_yet_visible") {
                return ended;
            }
        }
        panic!("{arguments:?} stays invisible");
    }
}

#[test]
fn an_operator_cancels_redrives_discards_and_replays_from_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("carillon.toml"), LIMIT).unwrap();
    let (process, facts) = up(dir.path(), &[]);
    let scopes = "publish read:tenant listen operate";
    let mint = [
        "token", "mint", "--tenant", "demo", "--sub", "ops", "--scope", scopes,
    ];
    let token = succeed(dir.path(), &mint).trim().to_owned();
    let desk = Desk {
        dir: dir.path(),
        facts,
        token,
    };

    let id = desk.succeed(&["send", "--deliver-at", "+1h", "--ttl", "60", "later"]);
    let cancelled = desk.once_visible(&["cancel", &id]);
    assert_eq!(
        cancelled.stdout.trim(),
        format!("cancelling {id}"),
        "{}",
        cancelled.stderr
    );
    let at_once = desk.succeed(&["send", "now"]);
    let refused = desk.once_visible(&["cancel", &at_once]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("not_cancellable"), "{}", refused.stderr);

    assert_eq!(desk.succeed(&["dlq", "list"]), "no dead letters");
    for _ in 0..2 {
        desk.succeed(&["send", "--channel", "small", &"x".repeat(600)]);
    }
    let letters = desk.until_letters(2, &[]);
    let name = letters[0]["id"].as_str().unwrap();
    let shown = desk.succeed(&["dlq", "show", name]);
    assert!(
        shown.contains("channel_limit") && shown.contains("carillon-tenant demo"),
        "{shown}"
    );
    let counted = desk.succeed(&["dlq", "redrive", "--dry-run"]);
    assert!(counted.contains("2 matched, 0 put back in"), "{counted}");
    let redriven = desk.succeed(&["dlq", "redrive", "--id", name, "--output", "json"]);
    let job: Value = serde_json::from_str(&redriven).unwrap();
    assert_eq!((&job["state"], &job["moved"]), (&"done".into(), &1.into()));
    desk.until_letters(2, &["--state", "waiting"]);
    let discarded = desk.succeed(&["dlq", "discard", "--class", "channel_limit", "--since", "-1h"]);
    assert!(discarded.contains("2 thrown away"), "{discarded}");

    let replayed = desk.succeed(&["replay", "--since", "-1h", "--channel", "default"]);
    assert!(replayed.contains("1 dispatched again"), "{replayed}");

    // The token that `up` makes may not operate.
    let url = desk.facts["url"].as_str().unwrap();
    let refused = run(dir.path(), &["dlq", "list", "--url", url]);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("carillon token mint --scope"),
        "{}",
        refused.stderr
    );
    assert_eq!(process.terminate(), Some(0));
}
