//! Cancelling what is scheduled, and the fields that schedule it.

use carillon_schemas::{
    NotificationId,
    command::{Command, Order},
    envelope::Envelope,
    headers,
    status::Status,
};

use crate::{
    desk,
    support::{Answer, Stage},
};

/// An envelope of `acme`, due in so many milliseconds.
fn envelope(stage: &Stage, due_in_ms: Option<u64>) -> Envelope {
    let now = stage.clock.unix_ms();
    let due = due_in_ms.map_or(String::new(), |ms| format!(r#","deliver_at":{}"#, now + ms));
    let id = NotificationId::at(now, &rand::random());
    let json = format!(
        r#"{{"notification_id":"{id}","tenant_id":"acme","channel":"alerts","correlation_id":"c","accepted_at":{now},"content":"x"{due}}}"#
    );
    Envelope::from_json(json.as_bytes()).unwrap()
}

fn path(envelope: &Envelope) -> String {
    format!("/v1/notifications/{}", envelope.notification_id)
}

#[tokio::test]
async fn a_scheduled_notification_is_cancelled_by_a_command_that_kafka_has() {
    let stage = Stage::new().await;
    let envelope = envelope(&stage, Some(60_000));
    desk::keep(&stage, &envelope, Status::Scheduled).await;
    let answer = stage
        .delete(&stage.token("acme", "publish"), &path(&envelope))
        .await;
    assert_eq!((answer.status, answer.text("status")), (202, "cancelling"));
    assert_eq!(
        answer.text("notification_id"),
        envelope.notification_id.to_string()
    );
    let record = stage.records_of(&stage.bus.topics.commands, 1).await.remove(0);
    assert_eq!(record.key.as_deref(), Some(&b"acme"[..]));
    assert_eq!(record.headers.text(headers::TENANT), Some("acme"));
    assert_eq!(record.headers.text(headers::SCHEMA), Some("command/1"));
    let command: Command = serde_json::from_slice(&record.value.unwrap()).unwrap();
    assert_eq!(
        (command.tenant_id.as_str(), command.actor.as_deref()),
        ("acme", Some("u1"))
    );
    let expected = Order::Cancel {
        notification_id: envelope.notification_id,
    };
    assert_eq!(command.order, expected);
}

#[tokio::test]
async fn what_is_not_scheduled_or_due_at_once_is_409_and_says_its_state() {
    let stage = Stage::new().await;
    let token = stage.token("acme", "publish");
    for (due, status, detail) in [
        (None, Status::Dispatched, "dispatched"),
        (None, Status::Stored, "stored"),
        (Some(60_000), Status::Cancelled, "cancelled"),
        (Some(60_000), Status::Dead, "dead"),
        (Some(400), Status::Scheduled, "due"),
        (Some(0), Status::Scheduled, "due"),
    ] {
        let envelope = envelope(&stage, due);
        desk::keep(&stage, &envelope, status).await;
        let answer = stage.delete(&token, &path(&envelope)).await;
        assert_eq!(answer.problem(), (409, "not_cancellable"), "{status:?}");
        assert!(answer.text("detail").contains(detail), "{}", answer.json);
    }
    let envelope = envelope(&stage, Some(60_000));
    desk::keep(&stage, &envelope, Status::Stored).await;
    let answer = stage.delete(&token, &path(&envelope)).await;
    assert_eq!(
        answer.problem(),
        (404, "not_yet_visible"),
        "about to be scheduled"
    );
}

#[tokio::test]
async fn another_tenants_notification_is_404_as_one_that_does_not_exist() {
    let stage = Stage::new().await;
    let mut envelope = envelope(&stage, Some(60_000));
    let long_ago = NotificationId::at(1_700_000_000_000, &[3; 10]);
    envelope.notification_id = long_ago;
    desk::keep(&stage, &envelope, Status::Scheduled).await;
    let answer = async |token: String| -> Answer { stage.delete(&token, &path(&envelope)).await };
    assert_eq!(
        answer(stage.token("globex", "publish")).await.problem(),
        (404, "not_found")
    );
    let mut claims = stage.claims("acme", "u1", "publish");
    claims.channels = Some(vec!["orders".to_owned()]);
    let elsewhere = stage.mint(&claims);
    assert_eq!(answer(elsewhere).await.problem(), (404, "not_found"));
    assert_eq!(answer(stage.token("acme", "publish")).await.status, 202);
    let unknown = NotificationId::at(1_700_000_000_000, &[4; 10]);
    let unknown = format!("/v1/notifications/{unknown}");
    assert_eq!(
        stage
            .delete(&stage.token("acme", "publish"), &unknown)
            .await
            .problem(),
        (404, "not_found")
    );
    let bad = stage
        .delete(&stage.token("acme", "publish"), "/v1/notifications/x")
        .await;
    assert_eq!(bad.problem(), (400, "invalid_parameter"));
}

#[tokio::test]
async fn fields_of_time_and_urgency_stand_in_the_envelope() {
    let stage = Stage::new().await;
    let at = stage.clock.unix_ms() + 60_000;
    let body = format!(
        r#"{{"content":"x","priority":"high","ttl_seconds":5,"collapse_key":"k","require_ack":true,"deliver_at":{at}}}"#
    );
    assert_eq!(stage.post(body).await.status, 202);
    let record = stage.records(1).await.remove(0);
    let json: serde_json::Value = serde_json::from_slice(&record.value.unwrap()).unwrap();
    assert_eq!(
        (&json["priority"], &json["collapse_key"]),
        (&"high".into(), &"k".into())
    );
    assert_eq!(
        (&json["require_ack"], &json["deliver_at"]),
        (&true.into(), &at.into())
    );
    assert_eq!(json["expires_at"], at + 5_000);
}
