//! The watch over one client: whether a broker can be reached, and if not, why.
//!
//! In: librdkafka's log, errors and statistics, from any thread. Out: our log, metrics, the reason.
//! Always: an outage is logged once when it begins and once when it ends, not at every attempt.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use carillon_chassis::metrics::Metrics;
use parking_lot::Mutex;
use rdkafka::{
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
};
use tracing::{debug, error, info, warn};

use crate::{
    BusConfig, BusError,
    lag::{Gauges, LagOf, Statistics},
    metrics::BusMetrics,
};

/// Watches one client: its log, errors, statistics, and whether a broker can be reached.
pub(crate) struct Watch {
    pub(crate) metrics: BusMetrics,
    pub(crate) client: String,
    pub(crate) kind: &'static str,
    gauges: Gauges,
    #[cfg(feature = "seeded-bugs")]
    pub(crate) bug: Option<crate::seeded::SeededBug>,
    /// Kafka's name for how this client connects.
    protocol: &'static str,
    connected: AtomicBool,
    /// It was logged that no broker can be reached.
    down_told: AtomicBool,
    /// It was logged that the brokers and this client do not agree on security.
    refusal_told: AtomicBool,
    /// Whether `trouble` holds anything: asked for every acknowledgement.
    troubled: AtomicBool,
    /// Why the last connection failed.
    trouble: Mutex<Option<String>>,
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
            protocol: config.security.protocol.as_kafka_names_it(),
            client: config.client_id.clone(),
            kind,
            #[cfg(feature = "seeded-bugs")]
            bug: config.seeded_bug,
            connected: AtomicBool::new(false),
            down_told: AtomicBool::new(false),
            refusal_told: AtomicBool::new(false),
            troubled: AtomicBool::new(false),
            trouble: Mutex::default(),
        })
    }

    pub(crate) fn connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Why no broker can be reached, in librdkafka's words. None while one can.
    pub(crate) fn trouble(&self) -> Option<String> {
        if self.connected() {
            return None;
        }
        self.trouble.lock().clone()
    }

    /// Adds to an error of the connection why it failed.
    pub(crate) fn explain(&self, error: BusError) -> BusError {
        match (error, &*self.trouble.lock()) {
            (BusError::Unavailable(text), Some(why)) => BusError::Unavailable(format!("{text}: {why}")),
            (BusError::DeadlineExceeded(_), Some(why)) => BusError::Unavailable(why.clone()),
            (error, _) => error,
        }
    }

    /// A broker answered.
    pub(crate) fn up(&self) {
        if self.troubled.load(Ordering::Relaxed) {
            self.troubled.store(false, Ordering::Relaxed);
            *self.trouble.lock() = None;
        }
        if self.connected() || self.connected.swap(true, Ordering::Relaxed) {
            return;
        }
        self.down_told.store(false, Ordering::Relaxed);
        self.refusal_told.store(false, Ordering::Relaxed);
        self.metrics.connected.with_label_values(&self.labels()).set(1);
        info!(client = %self.client, kind = self.kind, "kafka is reachable");
    }

    /// No broker can be reached.
    fn down(&self, reason: &str) {
        if self.connected.swap(false, Ordering::Relaxed) {
            self.metrics.connected.with_label_values(&self.labels()).set(0);
        }
        if !self.down_told.swap(true, Ordering::Relaxed) {
            warn!(client = %self.client, kind = self.kind, reason, "kafka is not reachable, trying again");
        }
    }

    fn note(&self, why: &str) {
        let mut why = why.to_owned();
        // Closed at the first request: librdkafka's own guess at the reason is not always there.
        if why.contains("APIVERSION_QUERY") {
            why += ": does this port speak another security protocol than ";
            why += self.protocol;
        }
        *self.trouble.lock() = Some(why);
        self.troubled.store(true, Ordering::Relaxed);
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
        if facility == "FAIL" && !self.connected() {
            self.note(without_thread(line));
        }
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
                self.down(&self.trouble().unwrap_or_else(|| reason.to_owned()));
                "unreachable"
            }
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL) => {
                self.refused(reason);
                "refused"
            }
            Some(
                RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::OperationTimedOut,
            ) => {
                self.note(reason);
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

    /// A wrong password, a certificate that is not trusted: nothing that trying again repairs, so it is an
    /// error, once.
    fn refused(&self, reason: &str) {
        self.note(reason);
        if !self.refusal_told.swap(true, Ordering::Relaxed) {
            error!(client = %self.client, kind = self.kind, reason, "kafka and this client do not trust each other");
        }
    }
}

/// librdkafka begins its lines with the name of its thread.
fn without_thread(line: &str) -> &str {
    match line
        .strip_prefix("[thrd:")
        .and_then(|rest| rest.split_once("]: "))
    {
        Some((_, rest)) => rest,
        None => line,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn watch() -> Arc<Watch> {
        let config = BusConfig::new("127.0.0.1:1");
        Watch::new(&config, &Metrics::new(), "tail", LagOf::Nothing, Vec::new())
    }

    #[test]
    fn the_reason_of_a_failed_connection_is_kept_until_a_broker_answers() {
        let watch = watch();
        let why = "sasl_ssl://k:1/bootstrap: wrong password";
        let line = format!("[thrd:sasl_ssl://k:1/bootstrap]: {why}");
        watch.log(RDKafkaLogLevel::Info, "FAIL", &line);
        assert_eq!(watch.trouble().as_deref(), Some(why));
        watch.error(&KafkaError::Global(RDKafkaErrorCode::Authentication), why);
        watch.error(
            &KafkaError::Global(RDKafkaErrorCode::AllBrokersDown),
            "1/1 are down",
        );
        assert_eq!(watch.trouble().as_deref(), Some(why));
        let explained = watch.explain(BusError::Unavailable("timed out".to_owned()));
        assert!(explained.to_string().ends_with(why), "{explained}");
        watch.up();
        assert_eq!(watch.trouble(), None);
        let refused = BusError::Refused("no".to_owned());
        assert_eq!(watch.explain(refused.clone()), refused);
    }
}
