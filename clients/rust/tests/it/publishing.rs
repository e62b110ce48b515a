//! Publishing: what is tried again, and how.

use carillon_client::{Api, ClientError, Publisher, Retry};
use carillon_schemas::{
    notification::Submission,
    problem::{Problem, ProblemCode},
};

use crate::script::Server;

const ACCEPTED: &str = r#"{"status":"accepted","notification_id":"0190a5c8-0000-7000-8000-000000000000","tenant_id":"t","channel":"a","correlation_id":"c"}"#;

fn problem(code: ProblemCode) -> String {
    serde_json::to_string(&Problem::new(code, "later")).unwrap()
}

#[tokio::test]
async fn a_refusal_for_now_is_tried_again_after_the_asked_time_under_the_same_key() {
    let (server, connection) = Server::start().await;
    let publisher = Publisher::new(&connection).unwrap().with_retry(Retry::PATIENT);
    let key = "order-17".parse().unwrap();
    let submission = Submission::text("x");
    let begun = std::time::Instant::now();
    let script = async {
        let unknown = problem(ProblemCode::OutcomeUnknown);
        let first = server
            .answer("503 Service Unavailable", "Retry-After: 1\r\n", &unknown)
            .await;
        let second = server.answer("202 Accepted", "", ACCEPTED).await;
        (first, second)
    };
    let ((first, second), accepted) = tokio::join!(script, publisher.publish(&submission, Some(&key)));
    assert_eq!(accepted.unwrap().channel.as_str(), "a");
    assert!(begun.elapsed().as_secs_f64() >= 1.0);
    for asked in [first, second] {
        let asked = asked.to_lowercase();
        assert!(asked.starts_with("post /v1/notifications http/1.1"), "{asked}");
        assert!(
            asked.contains("idempotency-key: order-17") && asked.contains("bearer canary"),
            "{asked}"
        );
        assert!(asked.contains("content-type: application/json"), "{asked}");
    }
}

#[tokio::test]
async fn without_a_key_an_unknown_outcome_is_not_repeated() {
    let (server, connection) = Server::start().await;
    let publisher = Publisher::new(&connection).unwrap().with_retry(Retry::PATIENT);
    let submission = Submission::text("x");
    let unknown = problem(ProblemCode::OutcomeUnknown);
    let script = server.answer("503 Service Unavailable", "Retry-After: 1\r\n", &unknown);
    let (_, refused) = tokio::join!(script, publisher.publish(&submission, None));
    let error = refused.unwrap_err();
    assert_eq!(error.problem().unwrap().code, ProblemCode::OutcomeUnknown);
    assert!(error.is_temporary());
}

#[tokio::test]
async fn an_answer_that_is_none_of_ours_is_told_with_its_beginning() {
    let (server, connection) = Server::start().await;
    let api = Api::new(&connection).unwrap();
    let (_, answer) = tokio::join!(
        server.answer("502 Bad Gateway", "", "<html>proxy</html>"),
        api.health()
    );
    match answer {
        Err(ClientError::Unexpected { status: 502, excerpt }) => assert_eq!(excerpt, "<html>proxy</html>"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_unready_server_says_what_is_unmet() {
    let (server, connection) = Server::start().await;
    let api = Api::new(&connection).unwrap();
    let body = r#"{"status":"unready","unmet":[{"condition":"kafka","reason":"no broker answers"}]}"#;
    let (_, answer) = tokio::join!(server.answer("503 Service Unavailable", "", body), api.ready());
    let readiness = answer.unwrap();
    assert!(!readiness.is_ready());
    assert_eq!(readiness.unmet[0].condition, "kafka");
}

#[tokio::test]
async fn nobody_there_is_told_with_the_address() {
    let (server, connection) = Server::start().await;
    drop(server);
    let refused = Publisher::new(&connection)
        .unwrap()
        .publish(&Submission::text("x"), None)
        .await;
    let error = refused.unwrap_err();
    assert!(
        matches!(error, ClientError::Unreachable { .. }) && error.to_string().contains(connection.url()),
        "{error}"
    );
}
