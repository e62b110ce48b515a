//! The client: what every connection to Kafka has in common.
//!
//! In: a configuration. Out: librdkafka's settings, and callbacks that tell a [`Watch`].
//! Always: every client is encrypted and has a user as configured, because all settings begin here.

use std::{sync::Arc, time::Duration};

use rdkafka::{
    ClientConfig, ClientContext,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaError,
};

pub(crate) use watch::Watch;

use crate::{BusConfig, BusError, StartAt};

mod watch;

/// How many partitions' fetches fit into what is fetched ahead.
const FETCHES_AHEAD: u64 = 8;
/// Bytes of one partition in one fetch.
const MIN_FETCH: u64 = 16 * 1024;
/// Kafka's default.
const MAX_FETCH: u64 = 1024 * 1024;

/// Most events that are looked at for the reason of a failure.
const EVENTS: usize = 100;

pub(crate) fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

/// What all clients share.
pub(crate) fn settings(config: &BusConfig) -> Result<ClientConfig, BusError> {
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
        // A reader hears of a partition's new leader with the next refresh: after a broker was lost, frames of
        // its partitions came 3–4 s later than acknowledgements with 30 s here.
        .set("topic.metadata.refresh.interval.ms", "2000")
        .set("topic.metadata.refresh.fast.interval.ms", "50")
        .set("topic.metadata.propagation.max.ms", "5000")
        // Told to the watch alone: a port that speaks another protocol closes the connection.
        .set("log.connection.close", "true")
        .set("statistics.interval.ms", millis(config.statistics_every))
        .set_log_level(RDKafkaLogLevel::Info);
    config.security.apply(&mut settings)?;
    Ok(settings)
}

/// What all readers share. Nobody's offsets are committed or stored behind our back.
pub(crate) fn reader_settings(
    config: &BusConfig,
    group: &str,
    ahead_kib: u32,
    start: StartAt,
) -> Result<ClientConfig, BusError> {
    let mut settings = settings(config)?;
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
        .set("fetch.queue.backoff.ms", "5")
        .set("queued.min.messages", "10000")
        .set("queued.max.messages.kbytes", ahead_kib.to_string())
        // One partition must not fill what is fetched ahead: the others would wait for room. (A larger record
        // comes nevertheless.)
        .set(
            "fetch.message.max.bytes",
            (u64::from(ahead_kib) * 1024 / FETCHES_AHEAD)
                .clamp(MIN_FETCH, MAX_FETCH)
                .to_string(),
        );
    Ok(settings)
}

/// Why a request of a consumer without an assignment failed: the reason waits among its events.
pub(crate) fn explain(consumer: &BaseConsumer<Plain>, error: BusError) -> BusError {
    if matches!(error, BusError::Unavailable(_) | BusError::DeadlineExceeded(_)) {
        // Of a log line and of statistics a poll says nothing, so an empty answer is not the end.
        (0..EVENTS).for_each(|_| drop(consumer.poll(Duration::ZERO)));
    }
    consumer.context().0.explain(error)
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
