//! The runs themselves, one for each lane.

use carillon_testkit::chaos::Ground;

use crate::{run::Run, settings::Settings};

async fn every_rule_holds(ground: Ground) {
    let settings = Settings::read(ground);
    let plan = settings.plan();
    let mut run = Run::start(settings).await;
    run.strike_all(plan).await;
    let report = run.finish().await;
    assert!(report.passed(), "broken: {:?}", report.broken());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "starts a cluster of its own: make chaos"]
async fn whatever_is_struck_every_rule_holds_on_the_cluster() {
    Box::pin(every_rule_holds(Ground::Cluster)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make chaos LANE=embedded"]
async fn whatever_is_struck_every_rule_holds_on_one_machine() {
    Box::pin(every_rule_holds(Ground::Embedded)).await;
}
