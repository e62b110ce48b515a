//! What callers hear when Kafka or the store fails, and that all recovers by itself.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use carillon_bus::mock::{Fault, Request};
use carillon_fixtures::eventually;
use carillon_schemas::{
    CollapseKey, IdempotencyKey, NotificationId, Stream, TenantId,
    audit::AuditEntry,
    cursor::Cursor,
    dead_letter::{DeadLetterId, DeadLetterRow, Job},
};
use carillon_store::{
    AuditQuery, AuditResult, Claim, ClaimOutcome, DeadLetter, DeadLetterMark, DeadLettersQuery,
    DeadLettersResult, DeliveriesQuery, DeliveriesResult, Dispatched, Due, Fact, Head, Known,
    NewNotification, NotificationStore, RecentRow, Scheduled, StoreError, StoredQuery, StoredResult,
};
use uuid::Uuid;

use crate::support::{PATIENCE, Stage, submit};

const BODY: &str = r#"{"content":"x"}"#;
const KEYED: &[(&str, &str)] = &[("idempotency-key", "k")];
const LATER: Duration = Duration::from_millis(400);

async fn until_ready(stage: &Stage) {
    eventually("ready", async || stage.readiness.unmet(), Vec::is_empty).await;
}

/// Waits until a condition is unmet for a reason that has these words.
async fn until_unmet(stage: &Stage, name: &str, words: &str) {
    let unmet = async || stage.readiness.unmet();
    let told = |unmet: &Vec<(&str, String)>| unmet.iter().any(|(n, why)| *n == name && why.contains(words));
    eventually(name, unmet, told).await;
}

/// Submits until one is accepted.
async fn until_accepted(stage: &Stage) {
    let submits = async || while stage.post(BODY).await.status != 202 {};
    tokio::time::timeout(PATIENCE, submits()).await.unwrap();
}

#[tokio::test]
async fn kafka_away_is_503_at_once_and_unready_and_both_end_by_themselves() {
    let stage = Stage::with(|s| s.bus.message_timeout = Duration::from_secs(3)).await;
    until_ready(&stage).await;
    assert_eq!(stage.post(BODY).await.status, 202);
    stage.kafka.down(1).unwrap();
    until_unmet(&stage, "kafka", "no broker can be reached").await;
    // For a moment records wait for the broker; then nothing is sent any more.
    let look = async || while stage.post(BODY).await.problem() != (503, "unavailable") {};
    tokio::time::timeout(PATIENCE, look()).await.unwrap();
    let begun = std::time::Instant::now();
    assert_eq!(stage.post(BODY).await.problem(), (503, "unavailable"));
    assert!(begun.elapsed() < Duration::from_secs(1));
    stage.kafka.up(1).unwrap();
    until_ready(&stage).await;
    assert_eq!(stage.post(BODY).await.status, 202);
}

#[tokio::test]
async fn an_acknowledgement_that_does_not_come_in_time_is_an_unknown_outcome() {
    let stage = Stage::with(|s| s.config.request_deadline = Duration::from_millis(100)).await;
    until_ready(&stage).await;
    stage.kafka.round_trip(1, LATER).unwrap();
    let answer = stage.post(BODY).await;
    assert_eq!(answer.problem(), (503, "outcome_unknown"));
    stage.kafka.round_trip(1, Duration::ZERO).unwrap();
    assert_eq!(stage.metric("carillon_ingest_left_over_total"), 1.0);
    stage.until_metric("carillon_ingest_in_flight", 0.0).await;
    assert_eq!(stage.records(1).await.len(), 1, "Kafka has it after all");
}

#[tokio::test]
async fn a_disk_that_fails_is_503_and_goes_on_when_it_works_again() {
    let stage = Stage::with(|s| s.bus.message_timeout = Duration::from_millis(500)).await;
    until_ready(&stage).await;
    stage.kafka.fail_next(Request::Produce, &[Fault::Storage; 12]);
    let answer = stage.post(BODY).await;
    assert_eq!(answer.status, 503, "{}", answer.json);
    until_unmet(&stage, "kafka", "").await;
    let look = async || while stage.post(BODY).await.status != 202 {};
    tokio::time::timeout(PATIENCE, look()).await.unwrap();
    until_ready(&stage).await;
}

#[tokio::test]
async fn a_topic_that_may_not_be_written_is_503_and_stands_in_readiness() {
    let stage = Stage::new().await;
    until_ready(&stage).await;
    stage.kafka.fail_next(Request::Produce, &[Fault::Unauthorized]);
    assert_eq!(stage.post(BODY).await.problem(), (503, "unavailable"));
    until_unmet(&stage, "kafka", "refuses").await;
    until_accepted(&stage).await;
    until_ready(&stage).await;
}

#[tokio::test]
async fn a_full_producer_is_503_overloaded() {
    let stage = Stage::with(|s| s.bus.producer_records = 1).await;
    until_ready(&stage).await;
    stage.kafka.round_trip(1, LATER).unwrap();
    let (one, two) = tokio::join!(stage.post(BODY), stage.post(BODY));
    assert_eq!((one.status, two.problem()), (202, (503, "overloaded")));
    assert_eq!(stage.metric("notifications_backpressure_rejected_total"), 1.0);
}

#[tokio::test]
async fn one_tenant_at_its_share_is_503_and_the_others_are_not() {
    let stage = Stage::with(|s| s.config.in_flight = 4).await;
    until_ready(&stage).await;
    stage.kafka.round_trip(1, LATER).unwrap();
    let globex = submit(&stage.token("globex", "publish"), &[], BODY);
    let (one, two, other) = tokio::join!(stage.post(BODY), stage.post(BODY), stage.send(globex));
    assert_eq!(
        (one.status, two.problem(), other.status),
        (202, (503, "overloaded"), 202)
    );
    assert_eq!(stage.post(BODY).await.status, 202, "the permit came back");
}

#[tokio::test]
async fn a_process_with_all_the_work_it_takes_is_503_to_everybody() {
    let stage = Stage::with(|s| (s.config.in_flight, s.config.tenant_percent) = (1, 100)).await;
    until_ready(&stage).await;
    stage.kafka.round_trip(1, LATER).unwrap();
    let globex = submit(&stage.token("globex", "publish"), &[], BODY);
    let (one, other) = tokio::join!(stage.post(BODY), stage.send(globex));
    assert_eq!((one.status, other.problem()), (202, (503, "overloaded")));
}

#[tokio::test]
async fn a_record_keeps_its_permit_when_its_caller_goes_away() {
    let stage = Stage::with(|s| (s.config.in_flight, s.config.tenant_percent) = (1, 100)).await;
    until_ready(&stage).await;
    stage.kafka.round_trip(1, LATER).unwrap();
    let gone = tokio::time::timeout(Duration::from_millis(50), stage.post(BODY)).await;
    assert!(gone.is_err());
    assert_eq!(stage.post(BODY).await.problem(), (503, "overloaded"));
    stage.until_metric("carillon_ingest_in_flight", 0.0).await;
    assert_eq!(stage.post(BODY).await.status, 202);
}

#[tokio::test]
async fn a_store_that_is_closed_is_503_to_reads_and_stands_in_readiness() {
    let stage = Stage::new().await;
    until_ready(&stage).await;
    stage.store.close().await;
    until_unmet(&stage, "store", "closed").await;
    let token = stage.token("acme", "read:tenant");
    for path in ["deliveries", "channels/alerts/recent"] {
        let answer = stage.get(&token, &format!("/v1/tenants/acme/{path}")).await;
        assert_eq!(answer.problem(), (503, "unavailable"), "{path}");
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_503_in_time() {
    let stage = Stage::with(|s| {
        s.store = Some(Arc::new(Faulty));
        s.config.store_deadline = Duration::from_millis(50);
    })
    .await;
    assert_eq!(stage.post_with(KEYED, BODY).await.problem(), (503, "unavailable"));
    let path = "/v1/tenants/acme/channels/alerts/recent";
    assert_eq!(
        stage.get(&stage.token("acme", "read"), path).await.problem(),
        (503, "unavailable")
    );
    assert_eq!(stage.metric("carillon_ingest_in_flight"), 0.0);
}

#[tokio::test]
async fn a_panic_in_one_request_is_500_and_the_next_is_served() {
    let stage = Stage::with(|s| s.store = Some(Arc::new(Faulty))).await;
    let token = stage.token("acme", "read:tenant");
    let answer = stage.get(&token, "/v1/tenants/acme/deliveries").await;
    assert_eq!(answer.problem(), (500, "internal"));
    assert!(!answer.json.to_string().contains("on purpose"));
    assert_eq!(stage.post(BODY).await.status, 202);
}

/// A store that never answers, and panics when it is asked for deliveries.
struct Faulty;

#[async_trait]
impl NotificationStore for Faulty {
    async fn persist(&self, _: &[NewNotification]) -> Result<(), StoreError> {
        std::future::pending().await
    }
    async fn dispatched(&self, _: &[Dispatched]) -> Result<(), StoreError> {
        std::future::pending().await
    }
    async fn dead(&self, _: &[DeadLetter]) -> Result<(), StoreError> {
        std::future::pending().await
    }
    async fn notification(&self, _: &TenantId, _: NotificationId) -> Result<Option<Known>, StoreError> {
        std::future::pending().await
    }
    async fn note(&self, _: &[Fact]) -> Result<(), StoreError> {
        std::future::pending().await
    }
    async fn heads(&self, _: &TenantId, _: &[NotificationId]) -> Result<Vec<Option<Head>>, StoreError> {
        std::future::pending().await
    }
    async fn latest(
        &self,
        _: &TenantId,
        _: &[(Stream, CollapseKey)],
    ) -> Result<Vec<Option<NotificationId>>, StoreError> {
        std::future::pending().await
    }
    async fn schedule(&self, _: &[Scheduled]) -> Result<(), StoreError> {
        std::future::pending().await
    }
    async fn unschedule(&self, _: &[Scheduled]) -> Result<(), StoreError> {
        std::future::pending().await
    }
    async fn due(&self, _: i32, _: u64, _: u32) -> Result<Vec<Due>, StoreError> {
        std::future::pending().await
    }
    async fn dead_letters(
        &self,
        _: &TenantId,
        _: &DeadLettersQuery,
    ) -> Result<DeadLettersResult, StoreError> {
        std::future::pending().await
    }
    async fn dead_letter(&self, _: &TenantId, _: DeadLetterId) -> Result<Option<DeadLetterRow>, StoreError> {
        std::future::pending().await
    }
    async fn mark_dead_letters(&self, _: &TenantId, _: &[DeadLetterMark]) -> Result<(), StoreError> {
        std::future::pending().await
    }
    async fn begin_job(&self, _: &Job) -> Result<Job, StoreError> {
        std::future::pending().await
    }
    async fn save_job(&self, _: &Job) -> Result<(), StoreError> {
        std::future::pending().await
    }
    async fn job(&self, _: &TenantId, _: Uuid) -> Result<Option<Job>, StoreError> {
        std::future::pending().await
    }
    async fn audit(&self, _: &[AuditEntry]) -> Result<(), StoreError> {
        std::future::pending().await
    }
    async fn audit_trail(&self, _: &TenantId, _: &AuditQuery) -> Result<AuditResult, StoreError> {
        std::future::pending().await
    }
    async fn stored(&self, _: &TenantId, _: &StoredQuery) -> Result<StoredResult, StoreError> {
        std::future::pending().await
    }
    async fn deliveries(&self, _: &TenantId, _: &DeliveriesQuery) -> Result<DeliveriesResult, StoreError> {
        panic!("on purpose")
    }
    async fn recent(
        &self,
        _: &TenantId,
        _: &Stream,
        _: u32,
        _: Option<Cursor>,
    ) -> Result<Vec<RecentRow>, StoreError> {
        std::future::pending().await
    }
    async fn claim(&self, _: &TenantId, _: &IdempotencyKey, _: &Claim) -> Result<ClaimOutcome, StoreError> {
        std::future::pending().await
    }
    async fn ping(&self) -> Result<(), StoreError> {
        std::future::pending().await
    }
    async fn close(&self) {}
}
