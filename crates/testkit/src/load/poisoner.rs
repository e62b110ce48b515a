//! A bad producer: writes records straight to Kafka that no router may believe.
//!
//! In: Kafka, tenants, a pause. Out: entries in the history. Always: a record counts only when Kafka acknowledged it; each
//! carries a mark by which its dead letter is found.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use carillon_bus::{BusConfig, Outgoing, Producer};
use carillon_chassis::{clock::Clock, metrics::Metrics, tasks::Tasks};
use carillon_schemas::{NotificationId, TenantId, headers, headers::Headers};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::chaos::{
    History,
    history::{Poison, print_of},
    kinds::FORGED,
};

/// The header of the mark.
pub(crate) const MARK: &str = "x-poison";
/// How long the tasks of the producer may take to end.
const STOP: Duration = Duration::from_secs(20);

/// Writes poison until it is stopped.
pub struct Poisoner {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

struct Work {
    producer: Producer,
    topic: Arc<str>,
    tenants: Vec<TenantId>,
    history: Arc<Mutex<History>>,
    clock: Clock,
    pause: Duration,
    stop: CancellationToken,
}

impl Poisoner {
    /// Begins.
    ///
    /// # Panics
    /// When there is no producer to be had.
    #[allow(clippy::expect_used, reason = "a test cannot go on without its actors")]
    #[allow(clippy::disallowed_methods, reason = "an actor is outside of the product")]
    pub fn start(
        bus: &BusConfig,
        tenants: Vec<TenantId>,
        history: &Arc<Mutex<History>>,
        pause: Duration,
    ) -> Self {
        let tasks = Tasks::new();
        let stop = CancellationToken::new();
        let work = Work {
            producer: Producer::new(bus, &Metrics::new(), &tasks).expect("a producer"),
            topic: bus.topics.notifications.as_str().into(),
            tenants,
            history: Arc::clone(history),
            clock: Clock::system(),
            pause,
            stop: stop.clone(),
        };
        let task = tokio::spawn(async move {
            poison(work).await;
            tasks.close(STOP).await;
        });
        Self { stop, task }
    }

    /// Stops after the record at hand.
    ///
    /// # Panics
    /// When it panicked.
    #[allow(clippy::expect_used, reason = "its panic is the test's")]
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("no panic");
    }
}

async fn poison(work: Work) {
    for mark in 1.. {
        let (what, record) = record(&work, mark);
        let value = print_of(&record.value);
        let sent = work.producer.send(record);
        if let Ok(delivery) = sent
            && delivery.await.is_ok()
        {
            let at = work.clock.unix_ms();
            let what = what.to_owned();
            let poison = Poison {
                at,
                mark,
                what,
                value,
            };
            work.history.lock().poison.push(poison);
        }
        tokio::select! {
            () = work.stop.cancelled() => return,
            () = tokio::time::sleep(work.pause) => {}
        }
    }
}

/// The next of several sorts, for tenants in turn.
fn record(work: &Work, mark: u64) -> (&'static str, Outgoing) {
    let count = work.tenants.len() as u64;
    let tenant = &work.tenants[(mark % count) as usize];
    let other = &work.tenants[((mark + 1) % count) as usize];
    let envelope = |tenant: &TenantId| {
        let id = NotificationId::at(work.clock.unix_ms(), &[mark as u8; 10]);
        let now = work.clock.unix_ms();
        format!(
            r#"{{"notification_id":"{id}","tenant_id":"{tenant}","channel":"alerts","audience":"channel","correlation_id":"forged","accepted_at":{now},"content":"{FORGED} {mark}"}}"#
        )
    };
    let mut key = tenant.as_str().to_owned();
    let mut headers = Headers::default();
    headers.set(headers::TENANT, key.clone());
    headers.set(MARK, mark.to_string());
    let (what, value) = match mark % 6 {
        0 => ("no JSON", format!("junk {mark}")),
        1 => ("cut off", envelope(tenant)[..90].to_owned()),
        2 => ("an envelope of another tenant", envelope(other)),
        3 => {
            key = other.as_str().to_owned();
            ("a key of another tenant", envelope(tenant))
        }
        4 => {
            headers.push_raw(headers::TENANT, key.clone());
            ("two tenants in its headers", envelope(tenant))
        }
        _ => {
            headers.set(headers::SCHEMA, "envelope/99");
            ("an unknown schema", envelope(tenant))
        }
    };
    let record = Outgoing {
        topic: Arc::clone(&work.topic),
        partition: None,
        key: Bytes::from(key),
        value: Bytes::from(value),
        headers,
    };
    (what, record)
}
