//! The load: tenants with their publishers and listeners, and a bad producer.
//!
//! In: the ground. Out: a history that grows. Always: every listener listens before the first number is published; beside
//! each client stands a witness that keeps repeats.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use carillon_chassis::clock::Clock;
use carillon_schemas::{ChannelName, NotificationId, TenantId};
use carillon_testkit::{
    chaos::{History, Kind, check::LIMITED, history::Sighting},
    load::{Client, Mix, MixedPublisher, Poisoner, Witness},
};
use parking_lot::Mutex;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::{ground::Ground, settings::Settings};

pub(crate) const TENANTS: [&str; 4] = ["amber", "birch", "cedar", "dune"];
const CHANNELS: [&str; 3] = ["alerts", "orders", UNKEYED];
/// The channel that is published to without idempotency keys: accepted while the store is away.
const UNKEYED: &str = "news";
/// Between two numbers of one publisher: twelve of them make at most 200 notifications a second, which leaves some of two
/// cores to eleven processes.
const PAUSE: Duration = Duration::from_millis(60);
/// The same for what is too large, and for poison.
const SELDOM: Duration = Duration::from_millis(500);
/// So many frames of each place at each listener after a fault are a flow again.
const FLOW: usize = 5;
/// How long a flow may take to come back before the run gives up.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long nothing may come of what is on its way: longer than a router's backoff grows.
const QUIET: Duration = Duration::from_secs(40);
const PACE: Duration = Duration::from_millis(50);
/// How often the harness looks whether it gets a processor.
const TICK: Duration = Duration::from_millis(20);

/// Everything that makes load.
pub(crate) struct Load {
    pub(crate) history: Arc<Mutex<History>>,
    pub(crate) tokens: Vec<(TenantId, String)>,
    publishers: Vec<MixedPublisher>,
    poisoner: Option<Poisoner>,
    _clients: Vec<Client>,
    _witnesses: Vec<Witness>,
    meter: JoinHandle<()>,
    /// Microseconds for which something had waited for a processor when the load began.
    waited: Option<u64>,
}

impl Load {
    pub(crate) async fn start(ground: &Ground, settings: &Settings, history: &Arc<Mutex<History>>) -> Self {
        let (ingest, fanout) = (ground.ingest_url(), ground.fanout_url());
        let mut load = Self {
            history: Arc::clone(history),
            tokens: Vec::new(),
            publishers: Vec::new(),
            poisoner: None,
            _clients: Vec::new(),
            _witnesses: Vec::new(),
            meter: meter(history),
            waited: waited(),
        };
        for name in TENANTS {
            let (tenant, token): (TenantId, _) = (name.parse().unwrap(), ground.token(name));
            let limited = settings.has(Kind::TooLarge) && name == TENANTS[0];
            let names = CHANNELS.iter().copied().chain(limited.then_some(LIMITED));
            let channels: Vec<ChannelName> = names.map(|channel| channel.parse().unwrap()).collect();
            let places = channels.iter().map(|channel| (tenant.clone(), channel.clone()));
            history.lock().places.extend(places);
            let client = Client::start(&fanout, &token, &tenant, &channels, history).await;
            let acks = settings.has(Kind::Acked);
            let witness = Witness::start(&fanout, &token, &tenant, &channels, history, acks).await;
            load._clients.push(client);
            load._witnesses.push(witness);
            load.tokens.push((tenant, token));
        }
        history.lock().load.start = Clock::system().unix_ms();
        let places = history.lock().places.clone();
        for (place, (tenant, channel)) in places.iter().enumerate() {
            let token = &load.tokens.iter().find(|(name, _)| name == tenant).unwrap().1;
            let mix = mix(settings, channel.as_str());
            let publisher = MixedPublisher::start(&ingest, token, place, history, mix);
            load.publishers.push(publisher);
        }
        if settings.poison {
            let tenants = load.tokens.iter().map(|(tenant, _)| tenant.clone()).collect();
            load.poisoner = Some(Poisoner::start(&ground.bus(), tenants, history, SELDOM));
        }
        load
    }

    /// Waits until every place has had frames at each of its listeners that came after this moment.
    pub(crate) async fn flows_again(&self, after: u64) {
        let begun = Instant::now();
        loop {
            let silent = silent(&self.history.lock(), after);
            let Some(first) = silent.first() else { return };
            let late = begun.elapsed() > PATIENCE;
            assert!(!late, "{} flows are silent, {first} among them", silent.len());
            sleep(PACE).await;
        }
    }

    /// Ends the publishers, each after its number at hand.
    pub(crate) async fn stop(&mut self) {
        for publisher in self.publishers.drain(..) {
            publisher.stop().await;
        }
        if let Some(poisoner) = self.poisoner.take() {
            poisoner.stop().await;
        }
        let mut history = self.history.lock();
        history.load.end = Clock::system().unix_ms();
        let span = history.load.end - history.load.start;
        let waited = waited()
            .zip(self.waited)
            .map(|(now, then)| now.saturating_sub(then));
        history.pressure = waited.map(|micros| micros / 10 / span.max(1));
    }

    /// Waits until every listener has everything that is for all, or nothing has come for a while; gives how long it
    /// took.
    pub(crate) async fn drained(&self) -> Duration {
        let begun = Instant::now();
        let (mut least, mut since) = (usize::MAX, begun);
        loop {
            let missing = missing(&self.history.lock());
            if missing < least {
                (least, since) = (missing, Instant::now());
            }
            if missing == 0 || since.elapsed() > QUIET {
                return begun.elapsed();
            }
            sleep(PACE * 20).await;
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.meter.abort();
    }
}

fn mix(settings: &Settings, channel: &str) -> Mix {
    let limited = channel == LIMITED;
    let special = settings.special.iter().copied();
    Mix {
        special: special.filter(|kind| *kind != Kind::TooLarge).collect(),
        keyed: channel != UNKEYED,
        only: limited.then_some(Kind::TooLarge),
        pause: if limited { SELDOM } else { PAUSE },
    }
}

/// Who of those that should hear something has not heard enough after a moment.
fn silent(history: &History, after: u64) -> Vec<String> {
    let mut heard: HashMap<(usize, usize), usize> = HashMap::new();
    let recent = history.sightings.iter().rev().take_while(|s| s.at > after);
    for Sighting { listener, place, .. } in recent {
        *heard.entry((*listener, *place)).or_default() += 1;
    }
    let mut silent = Vec::new();
    for (n, listener) in history.listeners.iter().enumerate() {
        for (place, (tenant, channel)) in history.places.iter().enumerate() {
            let own = *tenant == listener.tenant && history.flows(place);
            if own && heard.get(&(n, place)).copied().unwrap_or(0) < FLOW {
                silent.push(format!("{tenant}/{channel} at listener {n}"));
            }
        }
    }
    silent
}

/// How many frames are still on their way.
fn missing(history: &History) -> usize {
    let mut seen: HashSet<(usize, NotificationId)> = HashSet::new();
    seen.extend(history.sightings.iter().map(|s| (s.listener, s.id)));
    let of = |place: usize| {
        let tenant = &history.places[place].0;
        let listeners = history.listeners.iter().enumerate();
        listeners
            .filter(move |(_, l)| l.tenant == *tenant)
            .map(|(n, _)| n)
    };
    let expected = history.accepted.iter().filter(|a| a.kind.is_for_all());
    expected
        .flat_map(|a| of(a.place).map(move |listener| (listener, a.id)))
        .filter(|key| !seen.contains(key))
        .count()
}

/// For how many microseconds something on this machine has waited for a processor, where Linux tells.
fn waited() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/pressure/cpu").ok()?;
    let some = text.lines().find(|line| line.starts_with("some"))?;
    some.split("total=").nth(1)?.trim().parse().ok()
}

/// Notes the longest time for which this process got no processor.
#[allow(clippy::disallowed_methods, reason = "an actor is outside of the product")]
fn meter(history: &Arc<Mutex<History>>) -> JoinHandle<()> {
    let history = Arc::clone(history);
    tokio::spawn(async move {
        loop {
            let begun = Instant::now();
            sleep(TICK).await;
            let late = begun.elapsed().saturating_sub(TICK).as_millis() as u64;
            let mut history = history.lock();
            history.starved = history.starved.max(late);
        }
    })
}
