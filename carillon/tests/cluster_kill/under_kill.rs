//! The faults, each in turn, under load.

use std::time::{Duration, Instant};

use carillon_fixtures::{Cluster, Options};
use carillon_testkit::stack::RoleProcess;

use crate::{installation::Installation, load::Load};

/// How long a killed process of a role stays away.
const ROLE_AWAY: Duration = Duration::from_secs(5);
/// How long a killed broker stays away: longer than its session.
const BROKER_AWAY: Duration = Duration::from_secs(10);
/// How long Cassandra stays away.
const CASSANDRA_AWAY: Duration = Duration::from_secs(30);
/// Notifications that a router may have unfinished in one partition, and so may repeat after a crash.
const IN_FLIGHT: usize = 2_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Ingest,
    Router,
    Fanout,
    Broker,
    Cassandra,
}

impl Fault {
    const ALL: [Self; 5] = [
        Self::Ingest,
        Self::Router,
        Self::Fanout,
        Self::Broker,
        Self::Cassandra,
    ];

    /// How long any channel may stay without a 202 and without a frame, beyond the time for which all of a
    /// kind was away.
    fn bounds(self) -> (Duration, Duration) {
        let seconds = Duration::from_secs;
        match self {
            // The next process takes over at once; a client's connection must be made again.
            Self::Ingest | Self::Fanout => (seconds(5), seconds(5)),
            // The group gives a member up after 10 s.
            Self::Router => (seconds(5), seconds(15)),
            // The controller gives a broker up after 6 s; the target is 10 s, the rest is for a busy machine.
            Self::Broker => (seconds(15), seconds(15)),
            // Clients look for the server once a second; the router's backoff may have grown to 30 s.
            Self::Cassandra => (seconds(10), seconds(40)),
        }
    }
}

fn kills() -> usize {
    #[allow(clippy::disallowed_methods, reason = "a test's own setting")]
    std::env::var("KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "starts a cluster of its own: make cluster-kill"]
async fn whatever_is_killed_nothing_that_was_answered_202_is_lost() {
    let mut cluster = Cluster::start(Options {
        survives_a_kill: true,
        ..Options::default()
    })
    .await
    .unwrap();
    println!("three brokers and Cassandra in {:.1?}", cluster.started_in());
    let mut installation = Installation::start(cluster.description()).await;
    let load = Load::start(&installation).await;
    load.flows_again(Instant::now()).await;
    println!(
        "{:<12}{:>10}{:>22}{:>22}",
        "killed", "all away", "longest without 202", "longest without frame"
    );
    let mut slow = Vec::new();
    for round in 0..kills() {
        for fault in Fault::ALL {
            let begun = Instant::now();
            let away = inflict(fault, round, &mut cluster, &mut installation).await;
            load.flows_again(Instant::now()).await;
            let silence = load.silence_since(begun);
            let name = format!("{fault:?}").to_lowercase();
            println!(
                "{name:<12}{away:>10.1?}{:>22.1?}{:>22.1?}",
                silence.accepted, silence.frames
            );
            let (accepted, frames) = fault.bounds();
            if silence.accepted > away + accepted || silence.frames > away + frames {
                slow.push((fault, silence));
            }
        }
    }
    load.finish(IN_FLIGHT * Fault::ALL.len() * kills()).await;
    assert!(slow.is_empty(), "not back in time: {slow:?}");
    installation.stop().await;
    cluster.stop();
}

/// Kills it, leaves it away for a while, starts it again and waits until it is back. Gives how long there was
/// none of its kind: only Cassandra has no second.
async fn inflict(
    fault: Fault,
    round: usize,
    cluster: &mut Cluster,
    installation: &mut Installation,
) -> Duration {
    let begun = Instant::now();
    match fault {
        Fault::Ingest => restart(&mut installation.ingests[round % 2]).await,
        Fault::Router => restart(&mut installation.routers[round % 2]).await,
        Fault::Fanout => restart(&mut installation.fanouts[round % 2]).await,
        Fault::Broker => {
            let broker = round % 3 + 1;
            cluster.kill_broker(broker).await.unwrap();
            tokio::time::sleep(BROKER_AWAY).await;
            cluster.start_broker(broker).await.unwrap();
        }
        Fault::Cassandra => {
            cluster.kill_cassandra().await.unwrap();
            tokio::time::sleep(CASSANDRA_AWAY).await;
            cluster.start_cassandra().await.unwrap();
            return begun.elapsed();
        }
    }
    Duration::ZERO
}

async fn restart(role: &mut RoleProcess) {
    role.kill();
    tokio::time::sleep(ROLE_AWAY).await;
    role.restart().await;
    role.ready().await;
}
