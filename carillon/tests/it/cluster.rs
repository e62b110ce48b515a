//! What only a cluster has: servers that come later than the roles, encryption, users.
//!
//! `up` makes its own topics, store and broker before its roles, over loopback and for nobody else: neither can
//! happen there.

use carillon_client::{ListenerOptions, Publisher};
use carillon_fixtures::eventually;
use carillon_testkit::stack::{Deployment, DeploymentOptions, Lane, RoleProcess, Stack};

use crate::walk::{channel, listener, next, server, submission};

carillon_testkit::on_the_cluster!(
    roles_wait_for_their_topics_and_their_schema_and_say_so,
    everything_walks_encrypted_and_authenticated,
);

async fn misses(role: &RoleProcess, condition: &str, hint: &str) {
    let unmet = || role.unmet();
    eventually(&format!("{} misses {condition}", role.name), unmet, |unmet| {
        let named = |(name, why): &(String, String)| name == condition && why.contains(hint);
        unmet.as_ref().is_some_and(|unmet| unmet.iter().any(named))
    })
    .await;
    assert_eq!(role.get("/health").await.unwrap().0, 200);
}

async fn roles_wait_for_their_topics_and_their_schema_and_say_so(lane: Lane) {
    let Lane::Cluster { binary } = lane else {
        unreachable!("on the cluster only");
    };
    let servers = carillon_fixtures::shared();
    let deployment = Deployment::prepare(binary, &servers, &DeploymentOptions::default());
    let mut roles = Vec::new();
    for role in ["router", "fanout", "ingest"] {
        roles.push(deployment.start(role, role).await);
    }
    for role in &roles {
        misses(role, "topics", "carillon topics apply").await;
        misses(role, "store", "carillon store migrate").await;
    }
    let token = deployment.token("acme", "u1", "publish read listen");
    let url = roles[2].url().unwrap();
    let publisher = Publisher::new(&server(&url, &token)).unwrap();
    let early = publisher.publish(&submission("alerts", "early"), None).await;
    let early = early.unwrap_err();
    assert!(early.is_temporary(), "{early}");

    deployment.run(&["topics", "apply"]).await;
    for role in &roles {
        misses(role, "store", "carillon store migrate").await;
    }
    deployment.run(&["store", "migrate"]).await;
    for role in &roles {
        role.ready().await;
    }
    publisher
        .publish(&submission("alerts", "now"), None)
        .await
        .unwrap();
    for mut role in roles {
        assert_eq!(role.terminate().await, Some(0), "{}", role.log());
    }
    deployment.remove().await;
}

async fn everything_walks_encrypted_and_authenticated(lane: Lane) {
    let stack = Stack::builder(lane).encrypted().start().await;
    let token = stack.token("acme", "u1");
    let mut listener = listener(&stack, &token, ListenerOptions::channels([channel("alerts")])).await;
    let publisher = Publisher::new(&server(stack.ingests[0].url(), &token)).unwrap();
    let key = "order-17".parse().unwrap();
    let sent = submission("alerts", "sealed");
    let accepted = publisher.publish(&sent, Some(&key)).await.unwrap();
    let frame = next(&mut listener).await;
    assert_eq!(frame.delivery.envelope.notification_id, accepted.notification_id);
    let again = publisher.publish(&sent, Some(&key)).await.unwrap();
    assert!(again.deduplicated && again.notification_id == accepted.notification_id);
    stack.finish().await;
}
