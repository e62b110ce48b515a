//! What was accepted, as far as each principal may see it.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use carillon_schemas::{
    NotificationId, cursor::Cursor, envelope::Envelope, http::DeliveriesPage, notification::Audience,
};
use carillon_store::{Dispatched, NewNotification};

use crate::support::Stage;

fn envelope(stage: &Stage, n: u8, channel: &str) -> Envelope {
    let at = stage.clock.unix_ms() - 1000 + u64::from(n);
    Envelope {
        priority: Default::default(),
        expires_at: None,
        collapse_key: None,
        require_ack: false,
        deliver_at: None,
        notification_id: NotificationId::at(at, &[n; 10]),
        tenant_id: "acme".parse().unwrap(),
        user_id: None,
        channel: channel.parse().unwrap(),
        audience: Audience::Channel,
        correlation_id: "c".parse().unwrap(),
        accepted_at: at,
        kind: None,
        title: None,
        content: format!("number {n}"),
        data: None,
    }
}

/// Does what the router does with an envelope.
async fn route(stage: &Stage, envelope: &Envelope, offset: i64) {
    let (stream, node) = (envelope.stream().unwrap(), Arc::from("router"));
    let (tenant, id) = (envelope.tenant_id.clone(), envelope.notification_id);
    let stored = NewNotification {
        redrive: 0,
        bytes: Bytes::from(envelope.to_json().unwrap()),
        envelope: envelope.clone(),
        stream: stream.clone(),
        attempt: 1,
        at_ms: envelope.accepted_at + 1,
        node: Arc::clone(&node),
    };
    stage.store.persist(&[stored]).await.unwrap();
    let cursor = Cursor {
        generation: 1,
        shard: 3,
        offset,
    };
    let at_ms = envelope.accepted_at + 2;
    let dispatched = Dispatched {
        redrive: 0,
        tenant,
        id,
        stream,
        cursor,
        delivery: 1,
        attempt: 1,
        at_ms,
        node,
    };
    stage.store.dispatched(&[dispatched]).await.unwrap();
}

#[tokio::test]
async fn a_notification_is_shown_with_its_state_and_time_line() {
    let stage = Stage::new().await;
    let envelope = envelope(&stage, 1, "alerts");
    route(&stage, &envelope, 0).await;
    let path = format!("/v1/notifications/{}", envelope.notification_id);
    let answer = stage.get(&stage.token("acme", "read"), &path).await;
    assert_eq!((answer.status, answer.text("status")), (200, "dispatched"));
    assert_eq!(answer.json["notification"]["content"], "number 1");
    assert_eq!(answer.header("cache-control"), "no-store");
    let line = answer.json["timeline"].as_array().unwrap();
    let line: Vec<_> = line.iter().map(|e| e["status"].as_str().unwrap()).collect();
    assert_eq!(line, ["accepted", "stored", "dispatched"]);
}

#[tokio::test]
async fn a_young_id_that_is_not_stored_may_become_visible_and_an_old_one_will_not() {
    let stage = Stage::new().await;
    let token = stage.token("acme", "read");
    let get = |at| {
        let path = format!("/v1/notifications/{}", NotificationId::at(at, &[1; 10]));
        let (stage, token) = (&stage, &token);
        async move { stage.get(token, &path).await }
    };
    let now = stage.clock.unix_ms();
    let young = get(now).await;
    assert_eq!(
        (young.problem(), young.header("retry-after")),
        ((404, "not_yet_visible"), "1")
    );
    let old = get(now - 61_000).await;
    assert_eq!(
        (old.problem(), old.header("retry-after")),
        ((404, "not_found"), "")
    );
}

#[tokio::test]
async fn another_tenants_id_is_as_unknown_as_one_that_is_not_there() {
    let stage = Stage::new().await;
    let mut envelope = envelope(&stage, 1, "alerts");
    let old = stage.clock.unix_ms() - 3_600_000;
    envelope.notification_id = NotificationId::at(old, &[1; 10]);
    envelope.accepted_at = old;
    route(&stage, &envelope, 0).await;
    let path = format!("/v1/notifications/{}", envelope.notification_id);
    assert_eq!(stage.get(&stage.token("acme", "read"), &path).await.status, 200);
    for scope in ["read", "read:tenant operate admin"] {
        let answer = stage.get(&stage.token("globex", scope), &path).await;
        assert_eq!(answer.problem(), (404, "not_found"));
    }
}

#[tokio::test]
async fn with_read_alone_one_sees_ones_own_and_the_channels_that_the_token_reaches() {
    let stage = Stage::new().await;
    let (on_orders, on_alerts) = (envelope(&stage, 1, "orders"), envelope(&stage, 2, "alerts"));
    let (mut mine, mut theirs) = (envelope(&stage, 3, "alerts"), envelope(&stage, 4, "orders"));
    for (envelope, user) in [(&mut mine, "u1"), (&mut theirs, "u2")] {
        envelope.audience = Audience::User;
        envelope.user_id = Some(user.parse().unwrap());
    }
    for (offset, envelope) in [&on_orders, &on_alerts, &mine, &theirs].into_iter().enumerate() {
        route(&stage, envelope, offset as i64).await;
    }
    let mut claims = stage.claims("acme", "u1", "read");
    claims.channels = Some(vec!["orders".to_owned()]);
    let reader = stage.mint(&claims);
    let whole = stage.token("acme", "read:tenant");
    for (envelope, seen) in [
        (&on_orders, true),
        (&on_alerts, false),
        (&mine, true),
        (&theirs, false),
    ] {
        let path = format!("/v1/notifications/{}", envelope.notification_id);
        let status = stage.get(&reader, &path).await.status;
        assert_eq!(status, if seen { 200 } else { 404 }, "{}", envelope.content);
        assert_eq!(stage.get(&whole, &path).await.status, 200);
    }
}

#[tokio::test]
async fn pages_of_deliveries_follow_one_another_newest_first() {
    let stage = Stage::new().await;
    for n in 0..7 {
        route(&stage, &envelope(&stage, n, "alerts"), i64::from(n)).await;
    }
    let token = stage.token("acme", "read:tenant");
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/tenants/acme/deliveries?limit=3&cursor={cursor}");
        let answer = stage.get(&token, &path).await;
        assert_eq!(answer.status, 200, "{}", answer.json);
        let page: DeliveriesPage = serde_json::from_value(answer.json).unwrap();
        assert!(page.deliveries.len() <= 3);
        seen.extend(
            page.deliveries
                .iter()
                .map(|row| (row.accepted_at, row.notification_id)),
        );
        match page.next_cursor {
            Some(next) => cursor = next,
            None => break,
        }
    }
    assert_eq!(seen.len(), 7);
    assert_eq!(seen.iter().collect::<HashSet<_>>().len(), 7);
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "{seen:?}");
}

#[tokio::test]
async fn a_page_cursor_of_another_tenant_is_refused() {
    let stage = Stage::new().await;
    for n in 0..3 {
        route(&stage, &envelope(&stage, n, "alerts"), i64::from(n)).await;
    }
    let page = stage
        .get(
            &stage.token("acme", "read:tenant"),
            "/v1/tenants/acme/deliveries?limit=1",
        )
        .await;
    let path = format!(
        "/v1/tenants/globex/deliveries?cursor={}",
        page.text("next_cursor")
    );
    let answer = stage.get(&stage.token("globex", "read:tenant"), &path).await;
    assert_eq!(
        (answer.problem(), answer.paths()),
        ((400, "invalid_parameter"), vec!["cursor"])
    );
}

#[tokio::test]
async fn deliveries_are_filtered_by_state_channel_and_time() {
    let stage = Stage::new().await;
    let all = [
        envelope(&stage, 1, "alerts"),
        envelope(&stage, 2, "orders"),
        envelope(&stage, 3, "alerts"),
    ];
    for (offset, envelope) in all.iter().enumerate() {
        route(&stage, envelope, offset as i64).await;
    }
    let token = stage.token("acme", "read:tenant");
    let since = format!("since={}", all[2].accepted_at);
    for (query, rows) in [
        ("", 3),
        ("channel=alerts", 2),
        ("status=dispatched", 3),
        ("status=dead", 0),
        (since.as_str(), 1),
    ] {
        let answer = stage
            .get(&token, &format!("/v1/tenants/acme/deliveries?{query}"))
            .await;
        assert_eq!(
            answer.json["deliveries"].as_array().unwrap().len(),
            rows,
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_channels_snapshot_is_its_last_n_oldest_first() {
    let stage = Stage::new().await;
    for n in 0..8 {
        let channel = if n % 4 == 3 { "orders" } else { "alerts" };
        route(&stage, &envelope(&stage, n, channel), i64::from(n)).await;
    }
    let token = stage.token("acme", "read");
    for (query, contents) in [
        (
            "",
            vec!["number 1", "number 2", "number 4", "number 5", "number 6"],
        ),
        ("?n=2", vec!["number 5", "number 6"]),
    ] {
        let answer = stage
            .get(&token, &format!("/v1/tenants/acme/channels/alerts/recent{query}"))
            .await;
        assert_eq!((answer.status, answer.text("stream")), (200, "channel:alerts"));
        let rows = answer.json["notifications"].as_array().unwrap();
        let shown: Vec<_> = rows
            .iter()
            .map(|r| r["notification"]["content"].as_str().unwrap())
            .collect();
        assert_eq!(shown, contents);
        assert!(
            rows.iter()
                .all(|r| r["cursor"].as_str().unwrap().parse::<Cursor>().is_ok())
        );
    }
}
