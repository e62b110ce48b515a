//! The cluster: three brokers and Cassandra, two processes of each role, a balancer before those that serve.
//!
//! In: settings, faults. Out: addresses. Always: set up by the commands that operators use; a process comes back on its
//! addresses; every process ends with the value.

use std::{path::PathBuf, time::Duration};

use carillon_bus::BusConfig;
use carillon_fixtures::{Cluster, Options, Signal};
use carillon_testkit::{
    chaos::{Action, Fault, Kind, Target, check::LIMITED, kinds::CHANNEL_LIMIT, seeded},
    load::Balancer,
    stack::{Deployment, DeploymentOptions, RoleProcess},
};
use tokio::time::{Instant, sleep};

use crate::{
    ground::{READY, SCOPES},
    load::TENANTS,
    settings::Settings,
};

const BINARY: &str = env!("CARGO_BIN_EXE_carillon");
const PACE: Duration = Duration::from_millis(50);

/// Everything, running.
pub(crate) struct ClusterGround {
    ingests: Vec<RoleProcess>,
    routers: Vec<RoleProcess>,
    fanouts: Vec<RoleProcess>,
    ingest: Balancer,
    fanout: Balancer,
    deployment: Deployment,
    // Last: roles end before it goes.
    cluster: Cluster,
}

impl ClusterGround {
    pub(crate) async fn start(settings: &Settings) -> Self {
        let options = Options {
            survives_a_kill: true,
            ..Options::default()
        };
        let cluster = Cluster::start(options).await.unwrap();
        println!("three brokers and Cassandra in {:.1?}", cluster.started_in());
        let deployment = Deployment::create(BINARY, cluster.description(), &deployment(settings)).await;
        let (ingests, routers, fanouts) = (
            two(&deployment, "ingest").await,
            two(&deployment, "router").await,
            two(&deployment, "fanout").await,
        );
        let mut ground = Self {
            ingest: balanced(&ingests).await,
            fanout: balanced(&fanouts).await,
            ingests,
            routers,
            fanouts,
            deployment,
            cluster,
        };
        ground.ready().await;
        ground
    }

    pub(crate) fn ingest_url(&self) -> String {
        self.ingest.url()
    }

    pub(crate) fn fanout_url(&self) -> String {
        self.fanout.url()
    }

    pub(crate) fn token(&self, tenant: &str) -> String {
        self.deployment
            .token(tenant, carillon_testkit::chaos::kinds::USER, SCOPES)
    }

    pub(crate) fn bus(&self) -> BusConfig {
        self.deployment.bus().clone()
    }

    pub(crate) fn group(&self) -> String {
        self.deployment.group().to_owned()
    }

    fn role(&mut self, target: Target) -> Option<&mut RoleProcess> {
        match target {
            Target::Ingest(n) => self.ingests.get_mut(n),
            Target::Router(n) => self.routers.get_mut(n),
            Target::Fanout(n) => self.fanouts.get_mut(n),
            Target::Broker(_) | Target::Cassandra | Target::Everything => None,
        }
    }

    pub(crate) async fn await_target(&mut self, fault: &Fault) {
        if matches!(fault.target, Target::Broker(_)) {
            self.cluster.brokers_ready().await.unwrap();
        }
    }

    pub(crate) async fn begin(&mut self, fault: &Fault) -> Option<String> {
        if let Some(role) = self.role(fault.target) {
            match fault.action {
                Action::Kill => role.kill(),
                Action::Pause => role.signal(Signal::Stop),
                Action::Restart => return bad_end(role).await,
            }
            return None;
        }
        match (fault.target, fault.action) {
            (Target::Broker(n), Action::Pause) => self.cluster.pause_broker(n).unwrap(),
            (Target::Broker(n), _) => self.cluster.kill_broker(n).await.unwrap(),
            (_, Action::Pause) => self.cluster.pause_cassandra().unwrap(),
            (_, Action::Kill) => self.cluster.kill_cassandra().await.unwrap(),
            (_, Action::Restart) => self.cluster.terminate_cassandra().await.unwrap(),
        }
        None
    }

    pub(crate) async fn undo(&mut self, fault: &Fault) {
        if let Some(role) = self.role(fault.target) {
            match fault.action {
                Action::Pause => role.signal(Signal::Continue),
                Action::Kill | Action::Restart => role.restart().await,
            }
            return;
        }
        match (fault.target, fault.action) {
            (Target::Broker(n), Action::Pause) => self.cluster.resume_broker(n).unwrap(),
            (Target::Broker(n), _) => self.cluster.start_broker(n).await.unwrap(),
            (_, Action::Pause) => self.cluster.resume_cassandra().unwrap(),
            _ => self.cluster.start_cassandra().await.unwrap(),
        }
    }

    pub(crate) async fn ready(&mut self) {
        self.cluster.brokers_ready().await.unwrap();
        let begun = Instant::now();
        for role in self
            .ingests
            .iter_mut()
            .chain(&mut self.routers)
            .chain(&mut self.fanouts)
        {
            loop {
                let unmet = role.unmet().await;
                if unmet.as_ref().is_some_and(Vec::is_empty) {
                    break;
                }
                let ended = role.ended();
                assert!(ended.is_none(), "{} has ended, {ended:?}", role.name);
                let late = begun.elapsed() > READY;
                assert!(!late, "{} is not ready within {READY:?}: {unmet:?}", role.name);
                sleep(PACE).await;
            }
        }
    }

    pub(crate) fn logs(&self) -> Vec<PathBuf> {
        vec![self.deployment.dir().to_owned(), self.cluster.logs()]
    }

    pub(crate) async fn stop(mut self) -> Vec<String> {
        let mut bad = Vec::new();
        for role in self
            .ingests
            .iter_mut()
            .chain(&mut self.routers)
            .chain(&mut self.fanouts)
        {
            bad.extend(bad_end(role).await);
        }
        // The servers go as a whole: nothing is to be taken from them first.
        self.cluster.stop();
        bad
    }
}

/// SIGTERM; what the process said that it should not have.
async fn bad_end(role: &mut RoleProcess) -> Option<String> {
    let code = role.terminate().await;
    (code != Some(0)).then(|| format!("{} ended with {code:?}", role.name))
}

async fn two(deployment: &Deployment, kind: &str) -> Vec<RoleProcess> {
    let mut roles = Vec::new();
    for n in 1..=2 {
        roles.push(deployment.start(kind, &format!("{kind}-{n}")).await);
    }
    roles
}

async fn balanced(roles: &[RoleProcess]) -> Balancer {
    let address = |role: &RoleProcess| role.url().unwrap().replace("http://", "");
    Balancer::start(roles.iter().map(address).collect()).await
}

fn deployment(settings: &Settings) -> DeploymentOptions {
    let mut options = DeploymentOptions {
        notifications: 6,
        shards: 16,
        ladder: Settings::ladder(),
        ..DeploymentOptions::default()
    };
    if settings.has(Kind::TooLarge) {
        options.router = channel_limit();
    }
    let bug = settings
        .bug
        .map(|bug| (seeded::VARIABLE.to_owned(), bug.name.to_owned()));
    options.environment.extend(bug);
    options
}

/// The line of `[router]` that makes one channel narrow.
pub(crate) fn channel_limit() -> String {
    format!(
        "channel_limits = [{{ tenant = \"{}\", channel = \"{LIMITED}\", max_bytes = {CHANNEL_LIMIT} }}]\n",
        TENANTS[0]
    )
}
