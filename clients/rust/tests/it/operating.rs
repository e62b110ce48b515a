//! Operators' calls: where they go, and what they carry.

use carillon_client::{Api, AuditTrail, DeadLetters};
use carillon_schemas::{
    TenantId,
    audit::AuditKind,
    dead_letter::{DeadLetterState, Job, JobKind, JobState, RedriveRequest, ReplayRequest},
    problem::{Problem, ProblemCode},
};

use crate::script::Server;

const JOB: &str = include_str!("../../../../schemas/golden/job.json");
const DEAD_LETTER: &str = include_str!("../../../../schemas/golden/dead-letter.json");
const DEAD_LETTERS: &str = include_str!("../../../../schemas/golden/dead-letters-page.json");
const AUDIT: &str = include_str!("../../../../schemas/golden/audit-page.json");
const CANCELLING: &str = include_str!("../../../../schemas/golden/cancelling.json");

fn acme() -> TenantId {
    "acme".parse().unwrap()
}

/// The first line of a request and its body.
fn taken(asked: &str) -> (&str, &str) {
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap(), body)
}

#[tokio::test]
async fn a_cancel_is_a_delete_of_the_notification() {
    let (server, connection) = Server::start().await;
    let api = Api::new(&connection).unwrap();
    let id = "0190163d-8694-739b-aea5-966c26f8ad91".parse().unwrap();
    let (asked, cancelling) = tokio::join!(server.answer("202 Accepted", "", CANCELLING), api.cancel(id));
    assert_eq!(cancelling.unwrap().notification_id, id);
    assert_eq!(taken(&asked).0, format!("DELETE /v1/notifications/{id} HTTP/1.1"));
    let refusal = serde_json::to_string(&Problem::new(ProblemCode::NotCancellable, "it is dispatched"));
    let refusal = refusal.unwrap();
    let (_, refused) = tokio::join!(server.answer("409 Conflict", "", &refusal), api.cancel(id));
    let error = refused.unwrap_err();
    assert!(error.to_string().contains("it is dispatched") && !error.is_temporary());
}

#[tokio::test]
async fn lists_carry_their_filters_and_nothing_that_is_not_given() {
    let (server, connection) = Server::start().await;
    let api = Api::new(&connection).unwrap();
    let which = DeadLetters {
        limit: Some(9),
        cursor: Some("a b".to_owned()),
        class: Some("transient".to_owned()),
        state: Some(DeadLetterState::Parked),
        since_ms: Some(1),
        until_ms: Some(2),
    };
    let tenant = acme();
    let (asked, page) = tokio::join!(
        server.answer("200 OK", "", DEAD_LETTERS),
        api.dead_letters(&tenant, &which)
    );
    assert_eq!(page.unwrap().dead_letters.len(), 1);
    let path =
        "/v1/tenants/acme/dead-letters?limit=9&cursor=a+b&class=transient&state=parked&since=1&until=2";
    assert_eq!(taken(&asked).0, format!("GET {path} HTTP/1.1"));

    let kind = AuditTrail {
        kind: Some(AuditKind::DeadLetter),
        ..AuditTrail::default()
    };
    let (asked, page) = tokio::join!(server.answer("200 OK", "", AUDIT), api.audit(&tenant, &kind));
    assert!(!page.unwrap().entries.is_empty());
    assert_eq!(
        taken(&asked).0,
        "GET /v1/tenants/acme/audit?kind=dead_letter HTTP/1.1"
    );

    let id = "3-1042".parse().unwrap();
    let (asked, view) = tokio::join!(
        server.answer("200 OK", "", DEAD_LETTER),
        api.dead_letter(&tenant, id)
    );
    assert_eq!(view.unwrap().row.id, id);
    assert_eq!(
        taken(&asked).0,
        "GET /v1/tenants/acme/dead-letters/3-1042 HTTP/1.1"
    );
}

#[tokio::test]
async fn jobs_are_asked_for_and_looked_at_where_they_belong() {
    let (server, connection) = Server::start().await;
    let api = Api::new(&connection).unwrap();
    let tenant = acme();
    let redrive = RedriveRequest {
        max: Some(5),
        ..RedriveRequest::default()
    };
    let replay = ReplayRequest {
        replay_id: None,
        since: 1,
        until: 2,
        channel: None,
        rate_per_second: None,
    };
    let (asked, job) = tokio::join!(
        server.answer("202 Accepted", "", JOB),
        api.redrive(&tenant, &redrive)
    );
    let job: Job = job.unwrap();
    assert_eq!(
        taken(&asked).0,
        "POST /v1/tenants/acme/dead-letters/redrive HTTP/1.1"
    );
    assert_eq!(
        RedriveRequest::parse(taken(&asked).1.as_bytes()),
        Ok(redrive.clone())
    );
    let (asked, _) = tokio::join!(
        server.answer("202 Accepted", "", JOB),
        api.discard(&tenant, &redrive)
    );
    assert_eq!(
        taken(&asked).0,
        "POST /v1/tenants/acme/dead-letters/discard HTTP/1.1"
    );
    let (asked, _) = tokio::join!(
        server.answer("202 Accepted", "", JOB),
        api.replay(&tenant, &replay)
    );
    assert_eq!(
        taken(&asked),
        (
            "POST /v1/tenants/acme/replays HTTP/1.1",
            r#"{"since":1,"until":2}"#
        )
    );
    for (kind, route) in [
        (JobKind::Redrive, "redrives"),
        (JobKind::Discard, "redrives"),
        (JobKind::Replay, "replays"),
    ] {
        let (asked, shown) = tokio::join!(server.answer("200 OK", "", JOB), api.job(&tenant, kind, job.id));
        assert!(matches!(
            shown.unwrap().state,
            JobState::Done | JobState::Running | JobState::Refused
        ));
        let expected = format!("GET /v1/tenants/acme/{route}/{} HTTP/1.1", job.id);
        assert_eq!(taken(&asked).0, expected);
    }
}
