//! Dead letters, jobs and audit trails, as operators ask for them.

use std::sync::Arc;

use bytes::Bytes;
use carillon_bus::{Outgoing, Producer, Record};
use carillon_schemas::{
    audit::{AuditEntry, AuditKind, AuditPage},
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

fn place(partition: i32, offset: i64) -> DeadLetterId {
    DeadLetterId { partition, offset }
}

#[tokio::test]
async fn dead_letters_are_listed_by_what_is_asked_for() {
    let stage = Stage::new().await;
    let mut rows: Vec<_> = (1..=4)
        .map(|n| row(&stage, place(1, n), n as u64 * 60_000))
        .collect();
    rows[1].error_class = "transient".to_owned();
    rows[2].state = DeadLetterState::Parked;
    desk::bury(&stage, &rows).await;
    let listed = async |query: String| -> (Vec<i64>, Option<String>) {
        let answer = get(&stage, &format!("dead-letters?{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.json);
        let page: DeadLettersPage = serde_json::from_value(answer.json).unwrap();
        let offsets = page.dead_letters.iter().map(|row| row.id.offset).collect();
        (offsets, page.next_cursor)
    };
    assert_eq!(listed(String::new()).await, (vec![1, 2, 3, 4], None));
    let (first, cursor) = listed("limit=3".to_owned()).await;
    let (rest, _) = listed(format!("limit=3&cursor={}", cursor.unwrap())).await;
    assert_eq!((first, rest), (vec![1, 2, 3], vec![4]));
    assert_eq!(listed("class=transient".to_owned()).await.0, [2]);
    assert_eq!(listed("state=parked".to_owned()).await.0, [3]);
    let span = format!("since={}&until={}", rows[2].at, rows[1].at);
    assert_eq!(listed(span).await.0, [3]);

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
    let stage = Stage::new().await;
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
    let ack = producer.send(record.clone()).unwrap().await.unwrap();
    let id = place(ack.partition, ack.offset);
    let (gone, known) = (place(1, ack.offset + 100), row(&stage, id, 1_000));
    desk::bury(&stage, &[known.clone(), row(&stage, gone, 1_000)]).await;

    let answer = get(&stage, &format!("dead-letters/{id}")).await;
    let view: DeadLetterView = serde_json::from_value(answer.json).unwrap();
    assert_eq!((view.row, view.value.as_deref()), (known, Some("{\u{fffd}")));
    assert_eq!(view.headers[headers::ORIGIN], origin);
    assert_eq!(view.headers[headers::DLT_OFFSET], "0x00000007");

    let answer = get(&stage, &format!("dead-letters/{gone}")).await;
    assert_eq!((answer.status, answer.json.get("value")), (200, None));

    let another = producer
        .send(Outgoing {
            partition: Some(1),
            ..record
        })
        .unwrap()
        .await
        .unwrap();
    let mut elsewhere = row(&stage, place(1, another.offset), 1_000);
    elsewhere.origin = "carillon.notifications.v1/2/8".to_owned();
    desk::bury(&stage, &[elsewhere]).await;
    let answer = get(&stage, &format!("dead-letters/1-{}", another.offset)).await;
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
    let stage = Stage::new().await;
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
    let stage = Stage::new().await;
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
    let stage = Stage::new().await;
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
    let stage = Stage::new().await;
    let answer = ask(&stage, "replays", r#"{"since":1,"until":2}"#).await;
    let mut job: Job = serde_json::from_value(answer.json).unwrap();
    let on_its_way = get(&stage, &format!("replays/{}", job.id)).await;
    assert_eq!(on_its_way.problem(), (404, "not_yet_visible"));
    assert_eq!(on_its_way.header("retry-after"), "1");
    job.moved = 4;
    stage.store.begin_job(&job).await.unwrap();
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
    let stage = Stage::new().await;
    let entries: Vec<AuditEntry> = [
        (AuditKind::Rejection, 1),
        (AuditKind::Redrive, 2),
        (AuditKind::Rejection, 3),
    ]
    .into_iter()
    .map(|(kind, minutes)| desk::entry(&stage, kind, minutes * 60_000))
    .collect();
    stage.store.audit(&entries).await.unwrap();
    let token = stage.token("acme", "read:tenant");
    let listed = async |query: String| -> (Vec<u64>, Option<String>) {
        let answer = stage.get(&token, &format!("{BASE}/audit?{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.json);
        let page: AuditPage = serde_json::from_value(answer.json).unwrap();
        (
            page.entries.iter().map(|entry| entry.at).collect(),
            page.next_cursor,
        )
    };
    let at = |n: usize| entries[n].at;
    assert_eq!(listed(String::new()).await, (vec![at(0), at(1), at(2)], None));
    let (first, cursor) = listed("limit=2".to_owned()).await;
    let (rest, _) = listed(format!("cursor={}", cursor.unwrap())).await;
    assert_eq!((first, rest), (vec![at(0), at(1)], vec![at(2)]));
    assert_eq!(listed("kind=redrive".to_owned()).await.0, [at(1)]);
    assert_eq!(
        listed(format!("since={}&until={}", at(1), at(0))).await.0,
        [at(1)]
    );
    let answer = stage.get(&token, &format!("{BASE}/audit?kind=murder")).await;
    assert_eq!(
        (answer.problem(), answer.paths()),
        ((400, "invalid_parameter"), vec!["kind"])
    );
}
