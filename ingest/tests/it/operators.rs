//! Dead letters, jobs and audit trails, as operators ask for them.

use std::sync::Arc;

use bytes::Bytes;
use carillon_bus::{Outgoing, Producer, Record};
use carillon_schemas::{
    audit::AuditKind,
    command::{Command, Order},
    dead_letter::{DeadLetterId, DeadLetterState, DeadLetterView, DeadLettersPage, Job, JobKind, JobState},
    headers::{self, Headers},
};
use uuid::Uuid;

use crate::{
    desk::{self, row},
    support::{Answer, Stage},
};

const BASE: &str = "/v1/tenants/acme";

fn operator(stage: &Stage) -> String {
    stage.mint(&stage.claims("acme", "ops", "operate"))
}

async fn ask(stage: &Stage, path: &str, body: &str) -> Answer {
    let token = operator(stage);
    stage.ask(&token, &format!("{BASE}/{path}"), body).await
}

async fn get(stage: &Stage, path: &str) -> Answer {
    let token = operator(stage);
    stage.get(&token, &format!("{BASE}/{path}")).await
}

async fn command(stage: &Stage) -> Command {
    let mut records: Vec<Record> = stage.records_of(&stage.bus.topics.commands, 1).await;
    serde_json::from_slice(&records.remove(0).value.unwrap()).unwrap()
}

#[tokio::test]
async fn dead_letters_are_listed_by_what_is_asked_for() {
    let (stage, desk) = desk::stage().await;
    let id = DeadLetterId {
        partition: 1,
        offset: 5,
    };
    desk.rows.lock().push(row(id));
    let answer = get(&stage, "dead-letters").await;
    assert_eq!(answer.status, 200, "{}", answer.json);
    let page: DeadLettersPage = serde_json::from_value(answer.json).unwrap();
    assert_eq!(page.dead_letters[0].id, id);
    let cursor = page.next_cursor.unwrap();
    let path = format!("dead-letters?limit=7&cursor={cursor}&class=transient&state=parked&since=5&until=9");
    assert_eq!(get(&stage, &path).await.status, 200);
    let asked = desk.asked.lock().clone().unwrap();
    assert_eq!(
        (asked.limit, asked.class.as_deref(), asked.state),
        (7, Some("transient"), Some(DeadLetterState::Parked))
    );
    assert_eq!(
        (asked.since_ms, asked.until_ms, asked.cursor.unwrap().at_ms),
        (Some(5), Some(9), 7)
    );
    let answer = get(&stage, "dead-letters?limit=0&cursor=x&state=gone&since=a&until=b").await;
    assert_eq!(
        (answer.problem(), answer.paths()),
        (
            (400, "invalid_parameter"),
            vec!["limit", "cursor", "state", "since", "until"]
        )
    );
}

#[tokio::test]
async fn a_dead_letter_is_shown_with_its_record_where_the_topic_still_has_it() {
    let (stage, desk) = desk::stage().await;
    let origin = "carillon.notifications.v1/2/7";
    let mut told = Headers::default();
    told.set(headers::ORIGIN, origin);
    told.set(headers::DLT_OFFSET, vec![0, 0, 0, 7]);
    let record = Outgoing {
        topic: Arc::from(stage.bus.topics.dead_letters.as_str()),
        partition: Some(1),
        key: Bytes::from("acme"),
        value: Bytes::from_static(b"{\xff"),
        headers: told,
    };
    let producer = Producer::new(&stage.bus, &stage.metrics, &stage.tasks).unwrap();
    let ack = producer.send(record).unwrap().await.unwrap();
    let id = DeadLetterId {
        partition: ack.partition,
        offset: ack.offset,
    };
    let gone = DeadLetterId {
        offset: id.offset + 1,
        ..id
    };
    desk.rows.lock().extend([row(id), row(gone)]);

    let answer = get(&stage, &format!("dead-letters/{id}")).await;
    let view: DeadLetterView = serde_json::from_value(answer.json).unwrap();
    assert_eq!((view.row, view.value.as_deref()), (row(id), Some("{\u{fffd}")));
    assert_eq!(view.headers[headers::ORIGIN], origin);
    assert_eq!(view.headers[headers::DLT_OFFSET], "0x00000007");

    let answer = get(&stage, &format!("dead-letters/{gone}")).await;
    assert_eq!((answer.status, answer.json.get("value")), (200, None));

    desk.rows.lock()[0].origin = "carillon.notifications.v1/2/8".to_owned();
    let answer = get(&stage, &format!("dead-letters/{id}")).await;
    assert_eq!(answer.json.get("value"), None, "another record at its place");

    assert_eq!(
        get(&stage, "dead-letters/0-99").await.problem(),
        (404, "not_found")
    );
    assert_eq!(
        get(&stage, "dead-letters/x").await.problem(),
        (400, "invalid_parameter")
    );
}

#[tokio::test]
async fn a_redrive_is_a_command_and_202_with_a_job_and_where_it_is() {
    let (stage, _) = desk::stage().await;
    let body = r#"{"filter":{"error_class":"transient","ids":["1-5"]},"max":10,"dry_run":true}"#;
    let answer = ask(&stage, "dead-letters/redrive", body).await;
    assert_eq!(answer.status, 202, "{}", answer.json);
    let job: Job = serde_json::from_value(answer.json.clone()).unwrap();
    assert_eq!(answer.header("location"), format!("{BASE}/redrives/{}", job.id));
    assert_eq!(
        (job.kind, job.state, job.dry_run),
        (JobKind::Redrive, JobState::Running, true)
    );
    assert_eq!(
        (job.tenant_id.as_str(), job.actor.as_deref()),
        ("acme", Some("ops"))
    );
    let command = command(&stage).await;
    assert_eq!(
        (command.id, command.at, command.actor.clone()),
        (job.id, job.created_at, job.actor)
    );
    let Order::Redrive(request) = command.order else {
        panic!("{command:?}");
    };
    assert_eq!((request.redrive_id, request.max), (Some(job.id), Some(10)));
    assert_eq!(request.filter.ids.len(), 1);
}

#[tokio::test]
async fn a_job_keeps_the_id_that_its_request_gives_it() {
    let (stage, _) = desk::stage().await;
    let id = "019a0000-0000-7000-8000-0000000000aa";
    let answer = ask(
        &stage,
        "dead-letters/discard",
        &format!(r#"{{"redrive_id":"{id}"}}"#),
    )
    .await;
    assert_eq!((answer.text("id"), answer.text("kind")), (id, "discard"));
    let body = format!(r#"{{"replay_id":"{id}","since":1,"until":2,"channel":"alerts"}}"#);
    let answer = ask(&stage, "replays", &body).await;
    assert_eq!((answer.text("id"), answer.text("kind")), (id, "replay"));
    assert_eq!(answer.header("location"), format!("{BASE}/replays/{id}"));
}

#[tokio::test]
async fn what_a_job_is_asked_for_is_checked_whole_and_nothing_is_sent_otherwise() {
    let (stage, _) = desk::stage().await;
    for (path, body, code, paths) in [
        ("dead-letters/redrive", "", "invalid_json", vec![]),
        ("dead-letters/redrive", "{", "invalid_json", vec![]),
        ("dead-letters/redrive", "[]", "invalid_field", vec![""]),
        (
            "dead-letters/redrive",
            r#"{"fliter":{}}"#,
            "invalid_field",
            vec!["/fliter"],
        ),
        (
            "dead-letters/discard",
            r#"{"filter":{"error_clas":"x"}}"#,
            "invalid_field",
            vec!["/filter/error_clas"],
        ),
        (
            "dead-letters/redrive",
            r#"{"rate_per_second":10001}"#,
            "invalid_field",
            vec!["/rate_per_second"],
        ),
        ("replays", "{}", "invalid_field", vec!["/since", "/until"]),
        (
            "replays",
            r#"{"since":2,"until":1}"#,
            "invalid_field",
            vec!["/until"],
        ),
    ] {
        let answer = ask(&stage, path, body).await;
        assert_eq!(
            (answer.problem(), answer.paths()),
            ((400, code), paths),
            "{path} {body}"
        );
    }
    let answer = ask(&stage, "replays", r#"{"since":1,"until":2}"#).await;
    let sent = command(&stage).await;
    assert_eq!(sent.id.to_string(), answer.text("id"), "the first that was sent");
}

#[tokio::test]
async fn a_job_is_shown_by_its_own_route_and_may_be_on_its_way() {
    let (stage, desk) = desk::stage().await;
    let answer = ask(&stage, "replays", r#"{"since":1,"until":2}"#).await;
    let mut job: Job = serde_json::from_value(answer.json).unwrap();
    let on_its_way = get(&stage, &format!("replays/{}", job.id)).await;
    assert_eq!(on_its_way.problem(), (404, "not_yet_visible"));
    assert_eq!(on_its_way.header("retry-after"), "1");
    job.moved = 4;
    desk.jobs.lock().push(job.clone());
    let shown = get(&stage, &format!("replays/{}", job.id)).await;
    assert_eq!(serde_json::from_value::<Job>(shown.json).unwrap(), job);
    let elsewhere = get(&stage, &format!("redrives/{}", job.id)).await;
    assert_eq!(elsewhere.problem(), (404, "not_found"));
    let unknown = get(&stage, &format!("redrives/{}", Uuid::nil())).await;
    assert_eq!(unknown.problem(), (404, "not_found"));
    assert_eq!(
        get(&stage, "redrives/x").await.problem(),
        (400, "invalid_parameter")
    );
}

#[tokio::test]
async fn the_audit_trail_is_shown_by_what_is_asked_for() {
    let (stage, desk) = desk::stage().await;
    desk.entries.lock().push(desk::entry("rate_limited"));
    let token = stage.token("acme", "read:tenant");
    let path = format!("{BASE}/audit?limit=9&kind=rejection&since=5&until=9");
    let answer = stage.get(&token, &path).await;
    assert_eq!(answer.json["entries"][0]["code"], "rate_limited");
    assert!(!answer.text("next_cursor").is_empty());
    let asked = desk.asked_audit.lock().clone().unwrap();
    assert_eq!((asked.limit, asked.kind), (9, Some(AuditKind::Rejection)));
    assert_eq!((asked.since_ms, asked.until_ms), (Some(5), Some(9)));
    let answer = stage.get(&token, &format!("{BASE}/audit?kind=murder")).await;
    assert_eq!(
        (answer.problem(), answer.paths()),
        ((400, "invalid_parameter"), vec!["kind"])
    );
}
