//! Metrics: what the router counts and times.
//!
//! In: events of the rooms. Out: `carillon_router_*`, and the earlier system's names where its dashboards
//! ask for them. Always: labels come from closed sets and are resolved once.

mod queues;

use std::time::Duration;

use carillon_chassis::metrics::{
    Counter, CounterVec, Histogram, HistogramVec, IntGauge, IntGaugeVec, LATENCY_BUCKETS, Metrics,
};
use tokio::time::Instant;

use crate::{
    hold::Dependency,
    ladder::Rung,
    poison::Code,
    sources::Source,
    verdict::Reason,
    work::{End, Work},
};

pub(crate) use queues::Queues;

const BATCH_BUCKETS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];
const MILLISECOND_BUCKETS: [f64; 12] = [
    0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 1_000.0, 5_000.0, 30_000.0,
];

const LATENESS_BUCKETS: [f64; 11] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Handles of everything that is counted on the way of a record.
#[derive(Clone)]
pub(crate) struct Meters {
    records: [Counter; 5],
    retries: CounterVec,
    retries_legacy: Counter,
    lateness: Histogram,
    pub(crate) overflowed: Counter,
    ends: [Counter; 3],
    finished: [Counter; 2],
    pub(crate) republished: Counter,
    pub(crate) batch: Histogram,
    pub(crate) in_flight: IntGauge,
    store: [Histogram; 2],
    pub(crate) dispatch: Histogram,
    dead_letters: CounterVec,
    dead_letters_legacy: Counter,
    pub(crate) dead_letter_failures: Counter,
    pub(crate) unrecorded: Counter,
    processing_ms: Histogram,
}

/// Which of the two writes to the store was timed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Write {
    /// Payload and state.
    Persist,
    /// State and place after the dispatch.
    Dispatched,
}

impl Meters {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let store = metrics.histogram_vec(
            "carillon_router_store_write_seconds",
            "Time from a batch's first write to its commit, waits for the store included",
            &LATENCY_BUCKETS,
            &["write"],
        );
        let dead_letters = metrics.counter_vec(
            "carillon_router_dead_letters_total",
            "Records that became dead letters",
            &["class", "code"],
        );
        for code in Code::ALL {
            let _ = dead_letters.with_label_values(&[code.class().as_str(), code.as_str()]);
        }
        Self {
            records: Self::records(metrics),
            retries: metrics.counter_vec(
                "carillon_router_retries_total",
                "Records that were put on a tier of the ladder for their next attempt",
                &["tier"],
            ),
            retries_legacy: metrics.counter(
                "dispatcher_events_retry_scheduled_total",
                "Records that were put on the ladder for their next attempt",
            ),
            lateness: metrics.histogram(
                "carillon_router_ladder_lateness_seconds",
                "Time from when a record of the ladder was due to its handling",
                &LATENESS_BUCKETS,
            ),
            overflowed: metrics.counter(
                "carillon_router_overflowed_total",
                "Records that did not fit their tenant's lane and were written to the overflow",
            ),
            ends: Self::ends(metrics),
            finished: Self::finished(metrics),
            republished: metrics.counter(
                "carillon_router_republished_dropped_total",
                "Records published again that were dropped because they were dispatched before",
            ),
            batch: metrics.histogram(
                "carillon_router_batch_records",
                "Records handled at once",
                &BATCH_BUCKETS,
            ),
            in_flight: metrics.gauge(
                "carillon_router_in_flight_records",
                "Records taken and not yet finished",
            ),
            store: ["persist", "dispatched"].map(|write| store.with_label_values(&[write])),
            dispatch: metrics.histogram(
                "carillon_router_dispatch_seconds",
                "Time from sending a batch's deliveries to the last acknowledgement",
                &LATENCY_BUCKETS,
            ),
            dead_letters,
            dead_letters_legacy: metrics
                .counter("dispatcher_events_dlq_total", "Records that became dead letters"),
            dead_letter_failures: metrics.counter(
                "carillon_router_dead_letter_write_failures_total",
                "Attempts to write a dead letter that failed; its record is held meanwhile",
            ),
            unrecorded: metrics.counter(
                "carillon_router_unrecorded_dispatches_total",
                "Deliveries made whose state the store refused to keep",
            ),
            processing_ms: metrics.histogram(
                "dispatcher_message_processing_duration_ms",
                "Milliseconds from taking a record to finishing it",
                &MILLISECOND_BUCKETS,
            ),
        }
    }

    fn records(metrics: &Metrics) -> [Counter; 5] {
        let records = metrics.counter_vec(
            "carillon_router_records_total",
            "Records taken from a source",
            &["source"],
        );
        let of = |source| records.with_label_values(&[source]);
        [
            of("main"),
            of("ladder"),
            of("overflow"),
            of("schedule"),
            metrics.counter("dispatcher_events_consumed_total", "Records taken from Kafka"),
        ]
    }

    fn ends(metrics: &Metrics) -> [Counter; 3] {
        [
            metrics.counter(
                "carillon_router_expired_total",
                "Notifications whose time to live ended before their dispatch",
            ),
            metrics.counter(
                "carillon_router_collapsed_total",
                "Notifications whose place a newer one of their key took",
            ),
            metrics.counter(
                "carillon_router_into_schedule_total",
                "Notifications that were put into the schedule",
            ),
        ]
    }

    fn finished(metrics: &Metrics) -> [Counter; 2] {
        [
            metrics.counter(
                "carillon_router_dispatched_total",
                "Deliveries acknowledged and recorded",
            ),
            metrics.counter(
                "carillon_router_finished_total",
                "Records let go, however they ended",
            ),
        ]
    }

    /// A batch was taken.
    pub(crate) fn taken(&self, work: &Work, now_ms: u64) {
        self.batch.observe(work.len() as f64);
        self.in_flight.add(work.len() as i64);
        for way in work.all_ways() {
            let at = match &way.source {
                Source::Main | Source::Redrive => 0,
                Source::Ladder { due_ms } => {
                    self.lateness.observe(now_ms.saturating_sub(*due_ms) as f64 / 1e3);
                    1
                }
                Source::Overflow => 2,
                Source::Schedule(_) => 3,
            };
            self.records[at].inc();
        }
        self.records[4].inc_by(work.len() as u64);
    }

    /// The tiers that are counted.
    pub(crate) fn tiers(&self, rungs: &[Rung]) {
        for rung in rungs {
            let _ = self.retries.with_label_values(&[&rung.name]);
        }
    }

    /// A record is on this tier for its next attempt.
    pub(crate) fn retry(&self, tier: &str) {
        self.retries.with_label_values(&[tier]).inc();
        self.retries_legacy.inc();
    }

    /// A record ended without a dispatch.
    pub(crate) fn ended(&self, end: &End) {
        match end {
            End::Expired => self.ends[0].inc(),
            End::Collapsed => self.ends[1].inc(),
            End::Scheduled { .. } => self.ends[2].inc(),
            End::Done | End::Retry(_) | End::Dead(_) => {}
        }
    }

    /// A batch is finished; so many of its records were dispatched.
    pub(crate) fn finished_batch(&self, records: usize, dispatched: usize, taken: Instant) {
        self.finished[0].inc_by(dispatched as u64);
        self.finished[1].inc_by(records as u64);
        self.in_flight.sub(records as i64);
        let ms = taken.elapsed().as_secs_f64() * 1e3;
        for _ in 0..records {
            self.processing_ms.observe(ms);
        }
    }

    pub(crate) fn wrote(&self, write: Write, began: Instant) {
        self.store[write as usize].observe(began.elapsed().as_secs_f64());
    }

    pub(crate) fn dead_letter(&self, reason: &Reason) {
        let labels = [reason.class.as_str(), reason.code.as_str()];
        self.dead_letters.with_label_values(&labels).inc();
        self.dead_letters_legacy.inc();
    }
}

/// What is counted about holding.
#[derive(Clone)]
pub(crate) struct Held {
    now: IntGaugeVec,
    open: IntGaugeVec,
    waits: HistogramVec,
}

impl Held {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let held = Self {
            now: metrics.gauge_vec(
                "carillon_router_held",
                "1 while the router waits for this dependency",
                &["dependency"],
            ),
            open: metrics.gauge_vec(
                "carillon_router_breaker_open",
                "1 while only a probe asks this dependency",
                &["dependency"],
            ),
            waits: metrics.histogram_vec(
                "carillon_router_held_seconds",
                "Waits between attempts while this dependency was away",
                &LATENCY_BUCKETS,
                &["dependency"],
            ),
        };
        for dependency in Dependency::ALL {
            held.held(dependency, false);
            held.open(dependency, false);
            let _ = held.waits.with_label_values(&[dependency.as_str()]);
        }
        held
    }

    pub(crate) fn held(&self, dependency: Dependency, held: bool) {
        self.now
            .with_label_values(&[dependency.as_str()])
            .set(i64::from(held));
    }

    pub(crate) fn open(&self, dependency: Dependency, open: bool) {
        let gauge = self.open.with_label_values(&[dependency.as_str()]);
        gauge.set(i64::from(open));
    }

    pub(crate) fn waited(&self, dependency: Dependency, wait: Duration) {
        let waits = self.waits.with_label_values(&[dependency.as_str()]);
        waits.observe(wait.as_secs_f64());
    }
}
