//! Thousands of schedules, and the bugs that they must find.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{Bug, schedule, setting};

/// Schedules of a test run: 20 seconds of a free processor in a debug build.
const SCHEDULES: u64 = 2_000;
/// On a busy machine they end here, unless `SIM_SCHEDULES` says how many.
const LONGEST: Duration = Duration::from_secs(30);
/// Schedules in which a bug must be found.
const TO_FIND: u64 = 300;

#[test]
fn no_schedule_breaks_a_rule() {
    let corpus = include_str!("corpus.txt").lines();
    let corpus = corpus.filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    let (first, wanted) = (setting("SIM_SEED").unwrap_or(1), setting("SIM_SCHEDULES"));
    let count = wanted.unwrap_or(SCHEDULES);
    let (began, processor) = (Instant::now(), on_processor());
    let mut broken = BTreeMap::new();
    let mut ran = 0u32;
    for seed in corpus.chain(first..first + count) {
        let violations = schedule(seed, None);
        ran += 1;
        if let Some(first) = violations.into_iter().next() {
            println!("seed {seed}: {} {}", first.rule, first.text);
            broken.insert(seed, first.rule);
        }
        if broken.len() >= 10 || wanted.is_none() && began.elapsed() > LONGEST {
            break;
        }
    }
    let per_minute = |time: Duration| f64::from(ran) * 60.0 / time.as_secs_f64().max(1e-9);
    println!(
        "{ran} schedules in {:.1} s: {:.0} per minute, {:.0} per minute of processor time",
        began.elapsed().as_secs_f64(),
        per_minute(began.elapsed()),
        per_minute(on_processor().saturating_sub(processor)),
    );
    assert!(
        broken.is_empty(),
        "seeds and the rules that they break: {broken:?}"
    );
}

/// For how long this thread had a processor.
fn on_processor() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

fn finds(bug: Bug, rules: &[&str]) {
    let mut by_rule: BTreeMap<&str, usize> = BTreeMap::new();
    let mut first = None;
    for seed in 1..=TO_FIND {
        let violations = schedule(seed, Some(bug));
        let mut broken: Vec<_> = violations.iter().map(|v| v.rule).collect();
        broken.sort_unstable();
        broken.dedup();
        for rule in broken {
            *by_rule.entry(rule).or_default() += 1;
        }
        first = first.or((!violations.is_empty()).then_some(seed));
        if seed >= 40 && rules.iter().all(|rule| by_rule.contains_key(rule)) {
            break;
        }
    }
    println!("{bug:?}: first found by seed {first:?}; schedules by rule {by_rule:?}");
    for rule in rules {
        assert!(by_rule.contains_key(rule), "{bug:?} is not found by {rule}");
    }
}

#[test]
fn acknowledging_before_the_store_has_it_is_found() {
    finds(Bug::AckBeforeStore, &["R4", "R1"]);
}

#[test]
fn committing_the_high_water_mark_is_found() {
    finds(Bug::CommitHighWater, &["R4", "R1"]);
}

#[test]
fn dropping_a_dead_letter_whose_write_failed_is_found() {
    finds(Bug::DropFailedDeadLetter, &["R1", "R4"]);
}

#[test]
fn a_partition_that_stays_paused_after_a_rebalance_is_found() {
    finds(Bug::NoResumeAfterRebalance, &["R9"]);
}

#[test]
fn skipping_the_tenant_check_is_found() {
    finds(Bug::SkipTenantCheck, &["R11"]);
}
