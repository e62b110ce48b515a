//! The load of these tests, and what it shows.
//!
//! In: an installation. Out: figures per tenant, and how long each stayed without news after a fault.
//! Always: publishers and listeners come through balancers, as clients of a deployment do; beside each
//! listener stands one that keeps repeats.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use carillon_client::{Api, Connection};
use carillon_schemas::{NotificationId, status::Status};
use carillon_testkit::{
    journal::{Figures, Journal, Place, silence},
    load::{Balancer, KeepingListener, NumberedPublisher},
    stack::RoleProcess,
};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::installation::Installation;

const TENANTS: [&str; 4] = ["amber", "birch", "cedar", "dune"];
const CHANNELS: [&str; 3] = ["alerts", "orders", "news"];
/// Between two numbers of one publisher: twelve of them make at most 300 notifications a second, which leaves
/// some of two cores to eleven processes.
const PAUSE: Duration = Duration::from_millis(40);
/// So many frames of each place after a fault are a flow again.
const FLOW: usize = 10;
/// How long a flow may take to come back before the test gives up.
const PATIENCE: Duration = Duration::from_secs(90);
const PACE: Duration = Duration::from_millis(50);
/// Reads under way at once, per tenant.
const READERS: usize = 8;

/// What a tenant has: its token, its listeners.
struct Tenant {
    name: &'static str,
    token: String,
    places: Vec<Place>,
    listener: KeepingListener,
    raw: KeepingListener,
}

/// The load.
pub(crate) struct Load {
    journal: Arc<Mutex<Journal>>,
    publishers: Vec<NumberedPublisher>,
    tenants: Vec<Tenant>,
    ingest: Balancer,
    _fanout: Balancer,
}

/// The longest time without news after a fault, over all places.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Silence {
    pub(crate) accepted: Duration,
    pub(crate) frames: Duration,
}

impl Load {
    /// Every listener listens before the first number is published.
    pub(crate) async fn start(installation: &Installation) -> Self {
        let address = |role: &RoleProcess| role.url().unwrap().replace("http://", "");
        let addresses = |roles: &[RoleProcess]| roles.iter().map(address).collect();
        let ingest = Balancer::start(addresses(&installation.ingests)).await;
        let fanout = Balancer::start(addresses(&installation.fanouts)).await;
        let journal = Arc::new(Mutex::new(Journal::default()));
        let mut tenants = Vec::new();
        for name in TENANTS {
            let token = installation.token(name);
            let place = |channel: &&str| (name.parse().unwrap(), channel.parse().unwrap());
            let places: Vec<Place> = CHANNELS.iter().map(place).collect();
            tenants.push(Tenant {
                name,
                listener: KeepingListener::start(&fanout.url(), &token, &places).await,
                raw: KeepingListener::start_raw(&fanout.url(), &token, &places).await,
                token,
                places,
            });
        }
        let publish = |tenant: &Tenant, place: &Place| {
            let journal = Arc::clone(&journal);
            NumberedPublisher::start(&ingest.url(), &tenant.token, place.clone(), journal, PAUSE)
        };
        let publishers = tenants
            .iter()
            .flat_map(|t| t.places.iter().map(|p| publish(t, p)).collect::<Vec<_>>());
        Self {
            publishers: publishers.collect(),
            journal,
            tenants,
            ingest,
            _fanout: fanout,
        }
    }

    /// Waits until every place has had frames that were sent after this moment.
    pub(crate) async fn flows_again(&self, after: Instant) {
        let begun = Instant::now();
        loop {
            let still: Vec<_> = self.places().filter(|(t, p)| !self.flows(t, p, after)).collect();
            let Some((tenant, place)) = still.first() else {
                return;
            };
            assert!(
                begun.elapsed() < PATIENCE,
                "{} places are silent, {}/{} among them: {:?}",
                still.len(),
                tenant.name,
                place.1,
                tenant.listener.events()
            );
            tokio::time::sleep(PACE).await;
        }
    }

    fn flows(&self, tenant: &Tenant, place: &Place, after: Instant) -> bool {
        let moments = tenant.listener.moments(place);
        moments
            .iter()
            .rev()
            .take_while(|at| **at > after)
            .take(FLOW)
            .count()
            == FLOW
    }

    /// The longest time without a 202, and without a frame, of any place since this moment.
    pub(crate) fn silence_since(&self, from: Instant) -> Silence {
        let now = Instant::now();
        let journal = self.journal.lock();
        let accepted = |place: &Place| silence(journal.of(place).iter().map(|a| a.at), from, now);
        let frames = |tenant: &Tenant, place: &Place| silence(tenant.listener.moments(place), from, now);
        Silence {
            accepted: self.places().map(|(_, p)| accepted(p)).max().unwrap_or_default(),
            frames: self.places().map(|(t, p)| frames(t, p)).max().unwrap_or_default(),
        }
    }

    fn places(&self) -> impl Iterator<Item = (&Tenant, &Place)> {
        self.tenants
            .iter()
            .flat_map(|t| t.places.iter().map(move |p| (t, p)))
    }

    /// Ends the load, waits for what is on its way, prints the figures and holds them against the gates.
    pub(crate) async fn finish(self, repeats_allowed: usize) {
        for publisher in self.publishers {
            publisher.stop().await;
        }
        println!(
            "{:<8}{:>10}{:>10}{:>10}{:>7}{:>8}{:>10}{:>10}{:>10}{:>9}",
            "tenant",
            "attempts",
            "accepted",
            "received",
            "lost",
            "silent",
            "doubled",
            "repeated",
            "inverted",
            "foreign"
        );
        let mut verdicts = Vec::new();
        for tenant in &self.tenants {
            let (figures, raw) = drained(tenant, &self.journal).await;
            println!(
                "{:<8}{:>10}{:>10}{:>10}{:>7}{:>8}{:>10}{:>10}{:>10}{:>9}",
                tenant.name,
                figures.attempts,
                figures.accepted,
                figures.received,
                figures.lost,
                figures.silent,
                figures.doubled,
                raw.doubled,
                figures.inverted,
                figures.foreign + raw.foreign
            );
            verdicts.push((tenant, figures, raw));
        }
        for tenant in &self.tenants {
            let states = states(tenant, &self.journal, &self.ingest.url()).await;
            println!("{:<8}every id is readable: {states:?}", tenant.name);
        }
        for (tenant, figures, raw) in verdicts {
            let events = tenant.listener.events();
            assert!(
                figures.clean() && figures.accepted > 0,
                "{}: {figures:?}\n{events:?}",
                tenant.name
            );
            assert_eq!(
                raw.lost + raw.foreign + raw.inverted,
                0,
                "{}: {raw:?}",
                tenant.name
            );
            assert!(raw.doubled <= repeats_allowed, "{}: {raw:?}", tenant.name);
        }
    }
}

/// Waits until both listeners of a tenant have everything, or patience ends.
async fn drained(tenant: &Tenant, journal: &Mutex<Journal>) -> (Figures, Figures) {
    let begun = Instant::now();
    loop {
        let (figures, raw) = (tenant.listener.figures(journal), tenant.raw.figures(journal));
        if figures.lost + raw.lost == 0 || begun.elapsed() > PATIENCE {
            return (figures, raw);
        }
        tokio::time::sleep(PACE).await;
    }
}

/// The state of every accepted id of a tenant, as GET tells it; waits until none is on its way any more.
async fn states(tenant: &Tenant, journal: &Mutex<Journal>, url: &str) -> BTreeMap<String, usize> {
    let api = Api::new(&Connection::new(url).unwrap().with_token(&tenant.token)).unwrap();
    let ids: Vec<_> = tenant
        .places
        .iter()
        .flat_map(|p| journal.lock().of(p).to_vec())
        .map(|a| a.id)
        .collect();
    let mut readers = JoinSet::new();
    for part in ids.chunks(ids.len().div_ceil(READERS).max(1)) {
        readers.spawn(read(api.clone(), part.to_vec()));
    }
    let mut states = BTreeMap::new();
    for status in readers.join_all().await.into_iter().flatten() {
        *states.entry(format!("{status:?}").to_lowercase()).or_default() += 1;
    }
    states
}

async fn read(api: Api, ids: Vec<NotificationId>) -> Vec<Status> {
    let mut states = Vec::with_capacity(ids.len());
    for id in ids {
        let ask = || async {
            api.notification(id)
                .await
                .map(|state| state.status)
                .map_err(|e| e.to_string())
        };
        let settled = |status: &Result<Status, String>| {
            status
                .as_ref()
                .is_ok_and(|s| !matches!(s, Status::Accepted | Status::Stored))
        };
        states.push(
            carillon_fixtures::eventually(&format!("{id} is readable and dispatched"), ask, settled)
                .await
                .unwrap(),
        );
    }
    states
}
