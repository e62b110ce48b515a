//! The checker is checked: with each bug switched on in the binary, a short run must break the right rule.
//!
//! In: a binary with the feature `seeded-bugs`. Out: the rule that was broken. Always: the same provocations without a bug
//! break nothing.

use carillon_bus::BusConfig;
use carillon_schemas::topics::DEAD_LETTER_BYTES;
use carillon_testkit::{
    chaos::{
        Ground, Report,
        seeded::{BUGS, Provoked, SeededBug, Step},
    },
    topic_setting,
};

use crate::{run::Run, settings::Settings};

/// A bound in bytes that no dead letter fits.
const NOTHING_FITS: u32 = 16;

async fn run(bug: Option<&'static SeededBug>, steps: &[Step]) -> Report {
    let settings = Settings {
        bug,
        poison: true,
        ..Settings::read(Ground::Cluster)
    };
    let mut run = Run::start(settings).await;
    run.perform(steps).await;
    run.finish().await
}

async fn is_caught(name: &str) {
    let bug = BUGS.iter().find(|bug| bug.name == name).unwrap();
    let report = run(Some(bug), &bug.provoked.steps()).await;
    let broken = report.broken();
    let caught = bug.breaks.iter().any(|rule| broken.contains(rule));
    assert!(
        caught,
        "{name} should break one of {:?}, broken: {broken:?}",
        bug.breaks
    );
    println!("{name} was caught: {broken:?}");
}

/// Sets what the dead-letter topic takes.
pub(crate) async fn refuse_dead_letters(bus: &BusConfig, refuse: bool) {
    let bytes = if refuse { NOTHING_FITS } else { DEAD_LETTER_BYTES }.to_string();
    let topic = &bus.topics.dead_letters;
    let set = topic_setting::set(&bus.bootstrap, topic, "max.message.bytes", &bytes);
    set.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "starts a cluster of its own: make chaos-checked"]
async fn without_a_bug_the_same_provocations_break_nothing() {
    let steps: Vec<Step> = Provoked::ALL.iter().flat_map(|p| p.steps()).collect();
    let report = Box::pin(run(None, &steps)).await;
    assert!(report.passed(), "broken: {:?}", report.broken());
}

macro_rules! caught {
    ($($name:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            #[ignore = "needs a binary with seeded bugs: make chaos-checked"]
            async fn $name() {
                Box::pin(is_caught(stringify!($name))).await;
            }
        )+

        #[test]
        fn every_bug_of_the_list_has_its_run() {
            let names: Vec<_> = BUGS.iter().map(|bug| bug.name).collect();
            assert_eq!(names, [$(stringify!($name)),+]);
        }
    };
}

caught!(
    ack_before_store,
    commit_high_water,
    drop_failed_dead_letter,
    no_resume_after_rebalance,
    skip_tenant_check,
);
