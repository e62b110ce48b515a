//! What the tests share: a stage with a store and a Kafka, and answers that are checked on arrival.

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body};
use bytes::Bytes;
use carillon_auth::{Access, AuthConfig, KeySource, Verifier, mint::SigningKey};
use carillon_bus::{BusConfig, Producer, RangeReader, Record, StartAt, Tail, TailOptions, mock::MockKafka};
use carillon_chassis::{clock::Clock, metrics::Metrics, readiness::Readiness, tasks::Tasks};
use carillon_fixtures::eventually;
use carillon_ingest::{Ingest, IngestConfig, IngestDeps};
use carillon_schemas::{claims::Claims, problem::ProblemCode};
use carillon_store::{NotificationStore, PageKey, SqliteOptions, SqliteStore};
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt;

/// Longest wait for anything in a test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// One ingest process with what it stands on.
pub(crate) struct Stage {
    pub(crate) routes: Router,
    pub(crate) kafka: MockKafka,
    pub(crate) store: Arc<dyn NotificationStore>,
    pub(crate) bus: BusConfig,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) readiness: Readiness,
    pub(crate) tasks: Tasks,
    key: SigningKey,
    _dir: TempDir,
}

/// How a stage is set up.
pub(crate) struct Setting {
    pub(crate) config: IngestConfig,
    pub(crate) bus: BusConfig,
    pub(crate) open: bool,
    /// In place of a store of its own.
    pub(crate) store: Option<Arc<dyn NotificationStore>>,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// Without tokens.
    pub(crate) async fn open() -> Self {
        Self::with(|setting| setting.open = true).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Setting)) -> Self {
        let kafka = MockKafka::start(1).unwrap();
        let mut setting = Setting {
            config: IngestConfig {
                probe_every: Duration::from_millis(20),
                ..IngestConfig::default()
            },
            bus: BusConfig::new(kafka.bootstrap()),
            open: false,
            store: None,
        };
        setting.bus.fetch_wait = Duration::from_millis(5);
        change(&mut setting);
        let topics = &setting.bus.topics;
        for topic in [
            &topics.notifications,
            &topics.commands,
            &topics.audit,
            &topics.dead_letters,
        ] {
            kafka.create_topic(topic, 3, 1).unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        let (metrics, tasks, clock) = (Metrics::new(), Tasks::new(), Clock::system());
        let readiness = Readiness::default();
        let store = setting.store.unwrap_or_else(|| {
            let path = dir.path().join("store.db");
            Arc::new(SqliteStore::open(&path, SqliteOptions::default(), clock.clone(), &metrics).unwrap())
        });
        let key = SigningKey::generate_ed25519().unwrap();
        let auth = AuthConfig {
            keys: vec![KeySource::Pem(key.public_pem().unwrap().to_owned())],
            ..AuthConfig::default()
        };
        let access = match setting.open {
            true => Access::Open,
            false => Access::Tokens(Arc::new(Verifier::new(auth, clock.clone()).unwrap())),
        };
        let deps = IngestDeps {
            metrics: metrics.clone(),
            readiness: readiness.clone(),
            tasks: tasks.clone(),
            clock: clock.clone(),
            store: Arc::clone(&store),
            producer: Producer::new(&setting.bus, &metrics, &tasks).unwrap(),
            dead_letters: RangeReader::new(&setting.bus, &topics.dead_letters, 1, &metrics, &tasks).unwrap(),
            access,
            topics: topics.clone(),
            page_key: PageKey::new(b"a secret of the replicas"),
        };
        let routes = Ingest::new(setting.config, deps).unwrap().routes();
        Self {
            routes,
            kafka,
            store,
            bus: setting.bus,
            clock,
            metrics,
            readiness,
            tasks,
            key,
            _dir: dir,
        }
    }

    /// The claims of a token that is good for an hour.
    pub(crate) fn claims(&self, tenant: &str, subject: &str, scope: &str) -> Claims {
        let now = self.clock.unix_secs();
        Claims {
            tenant_id: tenant.to_owned(),
            sub: subject.to_owned(),
            iat: now,
            nbf: now,
            exp: now + 3600,
            scope: Some(scope.to_owned()),
            iss: None,
            aud: None,
            jti: None,
            channels: None,
        }
    }

    pub(crate) fn mint(&self, claims: &Claims) -> String {
        self.key.mint(claims).unwrap()
    }

    /// A token of subject `u1`.
    pub(crate) fn token(&self, tenant: &str, scope: &str) -> String {
        self.mint(&self.claims(tenant, "u1", scope))
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let path = format!("{} {}", request.method(), request.uri());
        let answered = self.routes.clone().oneshot(request);
        let response = tokio::time::timeout(PATIENCE, answered)
            .await
            .expect(&path)
            .unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer::checked(&path, parts.status.as_u16(), parts.headers, body)
    }

    /// A submit by a token of `acme` that may publish.
    pub(crate) async fn post(&self, body: impl Into<Body>) -> Answer {
        self.post_with(&[], body).await
    }

    /// The same with more headers.
    pub(crate) async fn post_with(&self, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let request = submit(&self.token("acme", "publish"), headers, body);
        self.send(request).await
    }

    pub(crate) async fn get(&self, token: &str, path: &str) -> Answer {
        self.send(request(Method::GET, path, token, &[], Body::empty()))
            .await
    }

    pub(crate) async fn delete(&self, token: &str, path: &str) -> Answer {
        self.send(request(Method::DELETE, path, token, &[], Body::empty()))
            .await
    }

    pub(crate) async fn ask(&self, token: &str, path: &str, body: &str) -> Answer {
        let body = Body::from(body.to_owned());
        self.send(request(Method::POST, path, token, &[], body)).await
    }

    /// The records on the notifications topic, once there are so many.
    pub(crate) async fn records(&self, n: usize) -> Vec<Record> {
        self.records_of(&self.bus.topics.notifications, n).await
    }

    /// The records on a topic of three partitions or fewer, once there are so many.
    pub(crate) async fn records_of(&self, topic: &str, n: usize) -> Vec<Record> {
        let from = (0..3).map(|partition| (partition, 0)).collect();
        let options = TailOptions {
            start: StartAt::Earliest,
            ..TailOptions::default()
        };
        let (tail, mut batches) =
            Tail::start(&self.bus, topic, from, options, &self.metrics, &self.tasks).unwrap();
        let mut records = Vec::new();
        while records.len() < n {
            let batch = tokio::time::timeout(PATIENCE, batches.recv()).await;
            records.extend(batch.expect("no more records").unwrap());
        }
        drop(tail);
        records
    }

    /// The value of a metric without labels, or with these.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = self.metrics.render();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
    }

    /// Waits until the metric has this value.
    pub(crate) async fn until_metric(&self, name: &str, value: f64) {
        eventually(name, async || self.metric(name), |seen| *seen == value).await;
    }
}

pub(crate) fn request(
    method: Method,
    path: &str,
    token: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).unwrap()
}

pub(crate) fn submit(token: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    request(Method::POST, "/v1/notifications", token, headers, body)
}

/// An answer; what every one must have was checked.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) json: Value,
}

impl Answer {
    fn checked(path: &str, status: u16, headers: HeaderMap, body: Bytes) -> Self {
        let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let answer = Self {
            status,
            headers,
            json,
        };
        let correlation = answer.header("x-correlation-id");
        assert!(!correlation.is_empty(), "{path}: no correlation id");
        if status >= 400 {
            assert_eq!(
                answer.header("content-type"),
                "application/problem+json",
                "{path}"
            );
            let code = ProblemCode::ALL
                .iter()
                .find(|code| code.as_str() == answer.code());
            let code = code.unwrap_or_else(|| panic!("{path}: {}", answer.json));
            assert_eq!(
                (code.status(), answer.json["status"].as_u64()),
                (status, Some(u64::from(status)))
            );
            assert_eq!(
                answer.json["type"],
                format!("urn:carillon:problem:{}", code.as_str())
            );
            assert_eq!(answer.json["title"], code.title());
            assert_eq!(answer.json["correlation_id"], correlation, "{path}");
            assert!(
                !answer.json["detail"].as_str().unwrap().is_empty(),
                "{path}: no detail"
            );
        }
        if status == 503 || status == 429 {
            let wait: u32 = answer.header("retry-after").parse().unwrap();
            assert!((1..=3).contains(&wait), "{path}: {wait}");
        }
        answer
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn code(&self) -> &str {
        self.json["code"].as_str().unwrap_or("")
    }

    /// Status and code, to be compared in one line.
    pub(crate) fn problem(&self) -> (u16, &str) {
        (self.status, self.code())
    }

    /// The paths of the broken rules.
    pub(crate) fn paths(&self) -> Vec<&str> {
        let errors = self.json["errors"].as_array();
        errors
            .into_iter()
            .flatten()
            .map(|e| e["path"].as_str().unwrap())
            .collect()
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.json[name]
            .as_str()
            .unwrap_or_else(|| panic!("no {name} in {}", self.json))
    }
}
