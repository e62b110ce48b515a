//! The stand: a node with everything around it, and clients that speak only WebSocket.
//!
//! In: a configuration. Out: a running node, a way to produce deliveries, tokens, clients.
//! Always: everything is on 127.0.0.1 with a port of its own and is taken down with the stand.

mod client;
mod kafka;
mod receipts;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use carillon_auth::{Access, AuthConfig, KeySource, Verifier, mint::SigningKey};
use carillon_bus::{Ack, BusConfig, Outgoing, Producer};
use carillon_chassis::{
    clock::Clock,
    http::{ServeOptions, serve},
    metrics::Metrics,
    readiness::Readiness,
    tasks::Tasks,
};
use carillon_fanout::{Fanout, FanoutConfig, FanoutDeps};
use carillon_schemas::{
    NotificationId, Stream, TenantId, claims::Claims, delivery, envelope::Envelope, headers, shard::shard,
};
use carillon_store::{Dispatched, NewNotification, NotificationStore, SqliteOptions, SqliteStore};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub(crate) use self::{
    client::{Client, closed_with},
    kafka::Kafka,
};

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const SHARDS: u16 = 3;

/// A node and its surroundings.
pub(crate) struct Stand {
    pub(crate) addr: SocketAddr,
    pub(crate) metrics: Metrics,
    pub(crate) readiness: Readiness,
    pub(crate) store: Arc<dyn NotificationStore>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) kafka: Kafka,
    pub(crate) tasks: Tasks,
    key: SigningKey,
    bus: BusConfig,
    producer: Producer,
    clock: Clock,
    told: receipts::Told,
    _dir: tempfile::TempDir,
}

/// What a test wants to be different.
pub(crate) struct Wish {
    pub(crate) config: FanoutConfig,
    pub(crate) open: bool,
    pub(crate) kafka_up: bool,
}

impl Default for Wish {
    fn default() -> Self {
        let mut config = FanoutConfig {
            node: "fanout-1".to_owned(),
            retry_cap: Duration::from_millis(200),
            resume_deadline: Duration::from_secs(2),
            ..FanoutConfig::default()
        };
        // A test's clients do not answer the close frame at the end.
        config.session.close_timeout = Duration::from_millis(300);
        Self {
            config,
            open: false,
            kafka_up: true,
        }
    }
}

impl Stand {
    /// A node with the defaults.
    pub(crate) async fn start() -> Self {
        Self::with(Wish::default()).await
    }

    /// A node with a changed configuration.
    pub(crate) async fn configured(change: impl FnOnce(&mut FanoutConfig)) -> Self {
        let mut wish = Wish::default();
        change(&mut wish.config);
        Self::with(wish).await
    }

    /// A node as wished.
    pub(crate) async fn with(wish: Wish) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (metrics, tasks, readiness) = (Metrics::new(), Tasks::new(), Readiness::default());
        let clock = Clock::system();
        let kafka = Kafka::start(wish.kafka_up).await;
        let bus = kafka.config();
        let store = SqliteStore::open(
            dir.path().join("store.db"),
            SqliteOptions::default(),
            clock.clone(),
            &metrics,
        );
        let store: Arc<dyn NotificationStore> = Arc::new(store.unwrap());
        let key = SigningKey::generate_ed25519().unwrap();
        let access = if wish.open {
            Access::Open
        } else {
            tokens(&key, &clock)
        };
        let fanout = Fanout::new(
            wish.config,
            FanoutDeps {
                bus: bus.clone(),
                metrics: metrics.clone(),
                readiness: readiness.clone(),
                clock: clock.clone(),
                store: Arc::clone(&store),
                access,
                tasks: tasks.clone(),
            },
        );
        let fanout = Arc::new(fanout.unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (routes, group) = (fanout.routes(), tasks.clone());
        tasks.spawn("test http", async move {
            serve(listener, routes, &group, ServeOptions::default()).await;
        });
        let shutdown = tasks.shutdown().child_token();
        let stop = shutdown.clone();
        tasks.spawn("test fanout", async move { fanout.run(stop).await.unwrap() });
        let producer = Producer::new(&bus, &metrics, &tasks).unwrap();
        let stand = Self {
            addr,
            metrics,
            readiness,
            store,
            shutdown,
            kafka,
            tasks,
            key,
            bus,
            producer,
            clock,
            told: receipts::Told::default(),
            _dir: dir,
        };
        if wish.kafka_up {
            stand.until("ready", || stand.readiness.unmet().is_empty()).await;
        }
        stand
    }

    /// Waits until it is so.
    pub(crate) async fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !is_so() {
            assert!(
                tokio::time::Instant::now() < deadline,
                "{what}: not in time; {:?}",
                self.readiness.unmet()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until a metric has at least this value.
    pub(crate) async fn until_metric(&self, line: &str, least: f64) {
        self.until(line, || self.metric(line) >= least).await;
    }

    /// The value of a metric, 0 when it is not there.
    pub(crate) fn metric(&self, line: &str) -> f64 {
        let text = self.metrics.render();
        let value = text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(' '));
        value.map_or(0.0, |v| v.parse().unwrap())
    }

    /// A token of a tenant's user, good for an hour.
    pub(crate) fn token(&self, tenant: &str, user: &str) -> String {
        self.token_with(tenant, user, |_| {})
    }

    /// A token that is changed before it is signed.
    pub(crate) fn token_with(&self, tenant: &str, user: &str, change: impl FnOnce(&mut Claims)) -> String {
        let now = self.clock.unix_secs();
        let mut claims = Claims {
            tenant_id: tenant.to_owned(),
            sub: user.to_owned(),
            iat: now,
            nbf: now,
            exp: now + 3600,
            scope: None,
            iss: None,
            aud: None,
            jti: None,
            channels: None,
        };
        change(&mut claims);
        self.key.mint(&claims).unwrap()
    }

    /// A client with a token in its header.
    pub(crate) async fn client(&self, tenant: &str, user: &str) -> Client {
        let mut client = Client::bearer(self.addr, &self.token(tenant, user))
            .await
            .unwrap();
        client.subscribed().await;
        client
    }

    /// A client that has subscribed a channel.
    pub(crate) async fn listener(&self, tenant: &str, user: &str, channel: &str) -> Client {
        let mut client = self.client(tenant, user).await;
        client
            .say(&format!(r#"{{"type":"subscribe","channel":"{channel}"}}"#))
            .await;
        client.subscribed().await;
        client
    }

    /// Puts a notification for a channel on the deliveries topic.
    pub(crate) async fn publish(&self, tenant: &str, channel: &str, content: &str) -> Ack {
        self.send(&envelope(tenant, channel, None, content), tenant).await
    }

    /// Puts a notification for a user on the deliveries topic.
    pub(crate) async fn publish_to(&self, tenant: &str, user: &str, content: &str) -> Ack {
        self.send(&envelope(tenant, "inbox", Some(user), content), tenant)
            .await
    }

    /// Puts a notification on the deliveries topic, with this tenant in its header.
    pub(crate) async fn send(&self, envelope: &Envelope, header: &str) -> Ack {
        self.send_again(envelope, header, delivery::Repeat::FIRST, &[])
            .await
    }

    /// Puts a delivery that is not the first on the deliveries topic, with the router's headers.
    pub(crate) async fn send_again(
        &self,
        envelope: &Envelope,
        header: &str,
        repeat: delivery::Repeat,
        fields: &[(&'static str, &str)],
    ) -> Ack {
        let value = delivery::seal(repeat, &envelope.to_json().unwrap()).unwrap();
        let mut headers = headers::Headers::default();
        headers.set(headers::TENANT, header.to_owned());
        for (name, text) in fields {
            headers.set(*name, (*text).to_owned());
        }
        let stream = envelope.stream().unwrap();
        self.produce(&envelope.tenant_id, &stream, value, headers).await
    }

    /// Puts any value on the shard of a stream.
    pub(crate) async fn send_raw(
        &self,
        tenant: &TenantId,
        stream: &Stream,
        value: impl Into<bytes::Bytes>,
        header: &str,
    ) -> Ack {
        let mut fields = headers::Headers::default();
        fields.set(headers::TENANT, header.to_owned());
        self.produce(tenant, stream, value.into(), fields).await
    }

    async fn produce(
        &self,
        tenant: &TenantId,
        stream: &Stream,
        value: bytes::Bytes,
        headers: headers::Headers,
    ) -> Ack {
        let outgoing = Outgoing {
            topic: self.bus.topics.deliveries.as_str().into(),
            partition: Some(i32::from(shard(tenant, stream, SHARDS, 1))),
            key: tenant.as_str().to_owned().into(),
            value,
            headers,
        };
        self.producer.send(outgoing).unwrap().await.unwrap()
    }

    /// Tells the store what the router would have told it about a notification before its dispatch.
    pub(crate) async fn accept(&self, envelope: &Envelope) {
        let (stream, at_ms) = (envelope.stream().unwrap(), self.clock.unix_ms());
        let stored = NewNotification {
            redrive: 0,
            bytes: envelope.to_json().unwrap().into(),
            envelope: envelope.clone(),
            stream: stream.clone(),
            attempt: 1,
            at_ms,
            node: "test".into(),
        };
        self.store.persist(&[stored]).await.unwrap();
    }

    /// Tells the store what the router would have told it about a delivery.
    pub(crate) async fn remember(&self, envelope: &Envelope, ack: Ack) {
        self.accept(envelope).await;
        let (stream, at_ms) = (envelope.stream().unwrap(), self.clock.unix_ms());
        let dispatched = Dispatched {
            redrive: 0,
            tenant: envelope.tenant_id.clone(),
            id: envelope.notification_id,
            stream,
            cursor: cursor(ack),
            delivery: 1,
            attempt: 1,
            at_ms,
            node: "test".into(),
        };
        self.store.dispatched(&[dispatched]).await.unwrap();
    }

    /// Ends everything; nothing may be left.
    pub(crate) async fn end(self) {
        self.shutdown.cancel();
        let late = self.tasks.close(PATIENCE).await;
        assert!(late.is_empty(), "still running: {late:?}");
        assert_eq!(self.tasks.panics(), 0);
        self.kafka.go().await;
    }
}

/// The cursor of an acknowledged delivery.
pub(crate) fn cursor(ack: Ack) -> carillon_schemas::cursor::Cursor {
    carillon_schemas::cursor::Cursor {
        generation: 1,
        shard: ack.partition.try_into().unwrap(),
        offset: ack.offset,
    }
}

/// A notification for a channel or, with a user, for that user.
pub(crate) fn envelope(tenant: &str, channel: &str, user: Option<&str>, content: &str) -> Envelope {
    let id = NotificationId::at(Clock::system().unix_ms(), &rand::random());
    let mut fields = BTreeMap::from([
        ("notification_id", id.to_string()),
        ("tenant_id", tenant.to_owned()),
        ("channel", channel.to_owned()),
        ("correlation_id", "test".to_owned()),
        ("content", content.to_owned()),
    ]);
    if let Some(user) = user {
        fields.extend([("user_id", user.to_owned()), ("audience", "user".to_owned())]);
    }
    let mut json = serde_json::to_value(fields).unwrap();
    json["accepted_at"] = 0.into();
    Envelope::from_json(json.to_string().as_bytes()).unwrap()
}

fn tokens(key: &SigningKey, clock: &Clock) -> Access {
    let config = AuthConfig {
        keys: vec![KeySource::Pem(key.public_pem().unwrap().to_owned())],
        ..AuthConfig::default()
    };
    Access::Tokens(Arc::new(Verifier::new(config, clock.clone()).unwrap()))
}
