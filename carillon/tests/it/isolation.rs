//! Tenants that share everything but their notifications.

use carillon_client::{Api, ListenerOptions, Publisher};
use carillon_fixtures::eventually;
use carillon_schemas::problem::ProblemCode;
use carillon_testkit::stack::{Lane, Stack};

use crate::walk::{channel, listener, next, server, submission};

carillon_testkit::on_both_lanes!(
    two_tenants_on_the_same_channel_name_never_see_each_other,
    another_tenants_id_path_and_body_are_refused,
);

async fn two_tenants_on_the_same_channel_name_never_see_each_other(lane: Lane) {
    let stack = Stack::builder(lane).shards(1).start().await;
    let tokens = [stack.token("tenant-a", "u1"), stack.token("tenant-b", "u1")];
    let options = || ListenerOptions::channels([channel("alerts")]);
    let mut sockets = [
        listener(&stack, &tokens[0], options()).await,
        listener(&stack, &tokens[1], options()).await,
    ];
    for n in 0..20 {
        let publisher = Publisher::new(&server(stack.ingests[0].url(), &tokens[n % 2])).unwrap();
        publisher
            .publish(&submission("alerts", &format!("{}-{n}", n % 2)), None)
            .await
            .unwrap();
    }
    for (tenant, socket) in sockets.iter_mut().enumerate() {
        for n in (tenant..20).step_by(2) {
            assert_eq!(
                next(socket).await.delivery.envelope.content,
                format!("{tenant}-{n}")
            );
        }
    }
    stack.finish().await;
}

async fn another_tenants_id_path_and_body_are_refused(lane: Lane) {
    let stack = Stack::builder(lane).start().await;
    let (a, b) = (stack.token("tenant-a", "u1"), stack.token("tenant-b", "u1"));
    let publisher = Publisher::new(&server(stack.ingests[0].url(), &a)).unwrap();
    let accepted = publisher
        .publish(&submission("alerts", "secret"), None)
        .await
        .unwrap();
    let own = Api::new(&server(stack.ingests[0].url(), &a)).unwrap();
    eventually(
        "stored",
        || async { own.notification(accepted.notification_id).await.is_ok() },
        |ok| *ok,
    )
    .await;

    let foreign = Api::new(&server(stack.ingests[0].url(), &b)).unwrap();
    let not_there = foreign.notification(accepted.notification_id).await.unwrap_err();
    let code = not_there.problem().unwrap().code;
    assert!(
        matches!(code, ProblemCode::NotFound | ProblemCode::NotYetVisible),
        "{code:?}"
    );
    let path = foreign
        .recent(&"tenant-a".parse().unwrap(), &channel("alerts"), 5)
        .await
        .unwrap_err();
    assert_eq!(path.problem().unwrap().code, ProblemCode::NotFound);
    let mut contradicting = submission("alerts", "x");
    contradicting.tenant_id = Some("tenant-a".parse().unwrap());
    let intruder = Publisher::new(&server(stack.ingests[0].url(), &b)).unwrap();
    let refused = intruder.publish(&contradicting, None).await.unwrap_err();
    assert_eq!(refused.problem().unwrap().code, ProblemCode::TenantMismatch);
    stack.finish().await;
}
