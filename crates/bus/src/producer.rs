//! The producer: idempotent, acknowledged by all in-sync replicas, never waiting.
//!
//! In: records. Out: a future per record with its acknowledgement. Always: a full queue is an error at
//! once; every future ends; a producer that hit a fatal error is replaced by a new one.

use std::{fmt, sync::Arc, time::Duration};

use carillon_chassis::{metrics::Metrics, tasks::Tasks};
use parking_lot::RwLock;
use rdkafka::producer::Producer as _;
use tracing::error;

pub use delivery::Delivery;
use native::{InFlight, Native};

use crate::{
    BusConfig, BusError, Outgoing, SendError,
    client::Watch,
    lag::LagOf,
    thread::{PollThread, Stop},
};

mod delivery;
mod native;

/// How long one turn of the poll thread takes at most; also how soon it sees that it should stop. The binding
/// waits in whole milliseconds and spins through the last one of each turn: with turns of 50 ms an idle producer
/// took 1.8 % of a processor, with these 0.2 %.
const TURN: Duration = Duration::from_millis(500);
/// The same while no broker has answered: how often one is asked.
const UNANSWERED: Duration = Duration::from_millis(50);
/// How long the probe of an unreachable cluster may hold up the poll thread.
const PROBE: Duration = Duration::from_millis(100);

/// A producer, cheap to clone. It ends with its last clone; what is unacknowledged then is lost, so
/// [`Producer::flush`] first.
#[derive(Clone)]
pub struct Producer {
    shared: Arc<Shared>,
    _thread: Arc<PollThread>,
}

struct Shared {
    config: BusConfig,
    watch: Arc<Watch>,
    in_flight: Arc<InFlight>,
    /// Written only to replace a producer that cannot go on.
    native: RwLock<Arc<Native>>,
}

impl Producer {
    /// Starts a producer. Kafka need not be there yet.
    pub fn new(config: &BusConfig, metrics: &Metrics, tasks: &Tasks) -> Result<Self, BusError> {
        let watch = Watch::new(config, metrics, "producer", LagOf::Nothing, Vec::new());
        let in_flight = Arc::new(InFlight::default());
        let native = native::make(config, &watch, &in_flight)?;
        let shared = Arc::new(Shared {
            config: config.clone(),
            watch: Arc::clone(&watch),
            in_flight,
            native: RwLock::new(Arc::new(native)),
        });
        let polled = Arc::clone(&shared);
        let thread = PollThread::start("bus-producer", watch, Some(tasks), move |stop| polled.run(stop))?;
        Ok(Self {
            shared,
            _thread: Arc::new(thread),
        })
    }

    /// Queues a record. It ends within the configured `message_timeout`, with an acknowledgement or not.
    pub fn send(&self, record: Outgoing) -> Result<Delivery, SendError> {
        let shared = &self.shared;
        let native = shared.native.read();
        native::send(&native, &shared.watch, &shared.in_flight, &record).map(Delivery)
    }

    /// How many records are not yet acknowledged.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.count()
    }

    /// Waits until nothing is in flight.
    pub async fn flush(&self, deadline: Duration) -> Result<(), BusError> {
        let in_flight = &self.shared.in_flight;
        let idle = async {
            loop {
                let notified = in_flight.idle.notified();
                if in_flight.count() == 0 {
                    return;
                }
                notified.await;
            }
        };
        tokio::time::timeout(deadline, idle)
            .await
            .map_err(|_| BusError::DeadlineExceeded("flushing the producer"))
    }

    /// Whether a broker answered and none was lost since.
    pub fn connected(&self) -> bool {
        self.shared.watch.connected()
    }

    /// Why no broker can be reached, for operators: a wrong password, a certificate that is not trusted, a
    /// refused connection. None while one can be, or before the first attempt has ended.
    pub fn trouble(&self) -> Option<String> {
        self.shared.watch.trouble()
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("client", &self.shared.config.client_id)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn run(&self, stop: &Stop) {
        while !stop.is_set() {
            let native = Arc::clone(&self.native.read());
            if !self.watch.connected() && native.client().fetch_metadata(None, PROBE).is_ok() {
                self.watch.up();
            }
            let connected = self.watch.connected();
            native.poll(if connected { TURN } else { UNANSWERED });
            if let Some((code, reason)) = native.client().fatal_error() {
                error!(error = %code, reason, "the kafka producer cannot go on and is replaced");
                self.replace();
            }
        }
    }

    /// A fatal error (the broker lost what it knew of this producer) ends a librdkafka producer for good.
    fn replace(&self) {
        match native::make(&self.config, &self.watch, &self.in_flight) {
            // The old one goes with its last user; dropping it ends what it held, as not acknowledged.
            Ok(new) => *self.native.write() = Arc::new(new),
            Err(e) => error!(error = %e, "the kafka producer cannot be replaced"),
        }
    }
}
