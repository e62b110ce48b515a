//! The client: what every connection to Kafka has in common.
//!
//! In: a configuration. Out: librdkafka's settings, and its log, errors and statistics as ours.
//! Always: an outage is logged once when it begins and once when it ends, not at every attempt.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use carillon_chassis::metrics::Metrics;
use rdkafka::{
    ClientConfig, ClientContext,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
};
use tracing::{debug, error, info, warn};

use crate::{
    BusConfig, StartAt,
    lag::{Gauges, LagOf, Statistics},
    metrics::BusMetrics,
};

pub(crate) fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

/// What all clients share.
pub(crate) fn settings(config: &BusConfig) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings
        .set("bootstrap.servers", &config.bootstrap)
        .set("client.id", &config.client_id)
        .set("socket.timeout.ms", millis(config.request_deadline))
        .set("socket.connection.setup.timeout.ms", "5000")
        .set("socket.nagle.disable", "true")
        .set("socket.keepalive.enable", "true")
        .set("connections.max.idle.ms", "0")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000")
        .set("retry.backoff.ms", "50")
        .set("retry.backoff.max.ms", "1000")
        .set("topic.metadata.refresh.interval.ms", "30000")
        .set("topic.metadata.refresh.fast.interval.ms", "50")
        .set("topic.metadata.propagation.max.ms", "5000")
        .set("log.connection.close", "false")
        .set("statistics.interval.ms", millis(config.statistics_every))
        .set_log_level(RDKafkaLogLevel::Info);
    settings
}

/// What all readers share. Nobody's offsets are committed or stored behind our back.
pub(crate) fn reader_settings(
    config: &BusConfig,
    group: &str,
    ahead_kib: u32,
    start: StartAt,
) -> ClientConfig {
    let mut settings = settings(config);
    settings
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("allow.auto.create.topics", "false")
        .set(
            "auto.offset.reset",
            match start {
                StartAt::Earliest => "earliest",
                StartAt::Latest => "latest",
            },
        )
        .set("fetch.wait.max.ms", millis(config.fetch_wait))
        .set("fetch.min.bytes", "1")
        .set("fetch.error.backoff.ms", "100")
        .set("fetch.queue.backoff.ms", "20")
        .set("queued.min.messages", "10000")
        .set("queued.max.messages.kbytes", ahead_kib.to_string());
    settings
}

/// Watches one client: its log, errors, statistics, and whether a broker can be reached.
pub(crate) struct Watch {
    pub(crate) metrics: BusMetrics,
    pub(crate) client: String,
    pub(crate) kind: &'static str,
    gauges: Gauges,
    connected: AtomicBool,
}

impl Watch {
    pub(crate) fn new(
        config: &BusConfig,
        metrics: &Metrics,
        kind: &'static str,
        lag_of: LagOf,
        topics: Vec<String>,
    ) -> Arc<Self> {
        let metrics = BusMetrics::new(metrics);
        Arc::new(Self {
            gauges: Gauges::new(metrics.clone(), &config.client_id, kind, lag_of, topics),
            metrics,
            client: config.client_id.clone(),
            kind,
            connected: AtomicBool::new(false),
        })
    }

    pub(crate) fn connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// A broker answered.
    pub(crate) fn up(&self) {
        if self.connected() || self.connected.swap(true, Ordering::Relaxed) {
            return;
        }
        self.metrics.connected.with_label_values(&self.labels()).set(1);
        info!(client = %self.client, kind = self.kind, "kafka is reachable");
    }

    /// No broker can be reached.
    fn down(&self, reason: &str) {
        if !self.connected.swap(false, Ordering::Relaxed) {
            return;
        }
        self.metrics.connected.with_label_values(&self.labels()).set(0);
        warn!(client = %self.client, kind = self.kind, reason, "kafka is not reachable, trying again");
    }

    pub(crate) fn labels(&self) -> [&str; 2] {
        [&self.client, self.kind]
    }

    /// The two labels and one of the metric's own.
    pub(crate) fn labels_and<'a>(&'a self, more: &'a str) -> [&'a str; 3] {
        [&self.client, self.kind, more]
    }

    pub(crate) fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        let kind = self.kind;
        // An unreachable broker is told at every attempt; `down` says it once.
        let repeats = matches!(facility, "FAIL" | "ERROR" | "CONNECT" | "REQTMOUT");
        match level {
            _ if repeats => debug!(kind, facility, line, "librdkafka"),
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                error!(kind, facility, line, "librdkafka");
            }
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => warn!(kind, facility, line, "librdkafka"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => info!(kind, facility, line, "librdkafka"),
            RDKafkaLogLevel::Debug => debug!(kind, facility, line, "librdkafka"),
        }
    }

    pub(crate) fn statistics(&self, json: &[u8]) {
        match serde_json::from_slice::<Statistics>(json) {
            Ok(statistics) => {
                if statistics.broker_up() {
                    self.up();
                }
                self.gauges.show(&statistics);
            }
            Err(e) => debug!(error = %e, "statistics of librdkafka are not understood"),
        }
    }

    pub(crate) fn error(&self, error: &KafkaError, reason: &str) {
        let class = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => {
                self.down(reason);
                "unreachable"
            }
            Some(
                RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::OperationTimedOut,
            ) => {
                debug!(kind = self.kind, error = %error, reason, "a kafka broker is not reachable");
                "unreachable"
            }
            _ => {
                warn!(kind = self.kind, error = %error, reason, "kafka client error");
                "other"
            }
        };
        self.metrics
            .errors
            .with_label_values(&self.labels_and(class))
            .inc();
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("client", &self.client)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// The callbacks of a client that needs no others.
pub(crate) struct Plain(pub(crate) Arc<Watch>);

impl ClientContext for Plain {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.0.log(level, facility, line);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.0.statistics(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(&error, reason);
    }
}

impl ConsumerContext for Plain {}
