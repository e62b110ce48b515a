//! The checker is checked: with each bug switched on in the binary, a short run must break the right rule.
//!
//! In: a binary with the feature `seeded-bugs`. Out: the rule that was broken. Always: the same runs without a bug break
//! nothing, which is what [`under_chaos`](crate::under_chaos) shows.

use std::time::Duration;

use carillon_bus::Admin;
use carillon_chassis::metrics::Metrics;
use carillon_schemas::topics::{Layout, TopicSpec};
use carillon_testkit::chaos::{
    Ground,
    seeded::{BUGS, Provoked, SeededBug},
};
use tokio::time::sleep;

use crate::{run::Run, settings::Settings};

/// How long the dead-letter topic takes nothing.
const REFUSED: Duration = Duration::from_secs(20);
/// How long nothing but poison is needed.
const CALM: Duration = Duration::from_secs(10);
/// A bound in bytes that no dead letter fits.
const NOTHING_FITS: u32 = 16;

async fn is_caught(name: &str) {
    let bug = BUGS.iter().find(|bug| bug.name == name).unwrap();
    let settings = Settings {
        bug: Some(bug.name),
        poison: true,
        lasts: Duration::from_secs(180),
        ..Settings::read(Ground::Cluster)
    };
    let mut run = Run::start(settings).await;
    provoke(&mut run, bug).await;
    let report = run.finish().await;
    let broken = report.broken();
    let caught = bug.breaks.iter().any(|rule| broken.contains(rule));
    assert!(
        caught,
        "{name} should break one of {:?}, broken: {broken:?}",
        bug.breaks
    );
}

async fn provoke(run: &mut Run, bug: &SeededBug) {
    match bug.provoked {
        Provoked::Poison => sleep(CALM).await,
        Provoked::DeadLettersRefused => {
            dead_letters(run, NOTHING_FITS).await;
            sleep(REFUSED).await;
            dead_letters(run, carillon_schemas::topics::DEAD_LETTER_BYTES).await;
        }
        provoked => run.strike_all(provoked.rounds().into_iter()).await,
    }
}

/// Sets what the dead-letter topic takes.
async fn dead_letters(run: &Run, bytes: u32) {
    let bus = run.ground.bus();
    let admin = Admin::new(&bus, &Metrics::new()).unwrap();
    let ends = admin.ends(&bus.topics.dead_letters).await.unwrap();
    let layout = Layout {
        dead_letters: ends.len() as u32,
        ..Layout::CLUSTER
    };
    let specs = bus.topics.all(&layout).into_iter();
    let spec = specs.filter(|spec| spec.name == bus.topics.dead_letters);
    let spec: Vec<_> = spec
        .map(|spec| TopicSpec {
            max_message_bytes: bytes,
            ..spec
        })
        .collect();
    admin.apply(&spec).await.unwrap();
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
