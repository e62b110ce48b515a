//! A cluster that goes away and comes back: every call has an answer, and what was told is there once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use carillon_chassis::{clock::Clock, metrics::Metrics};
use carillon_fixtures::eventually;
use carillon_schemas::TenantId;
use carillon_store::{
    Claim, ClaimOutcome, NotificationStore, StoreConfig, StoreError,
    conformance::{
        facts::{self, Dice, EPOCH_MS, Fact},
        model::Model,
    },
    open,
};

use crate::{
    keyspace::{Keyspace, run},
    proxy::{Proxy, Way},
};

/// A store behind a proxy.
struct House {
    store: Arc<dyn NotificationStore>,
    metrics: Metrics,
    proxy: Proxy,
    tenant: TenantId,
    keyspace: Arc<Keyspace>,
}

async fn house(set: impl FnOnce(&mut StoreConfig)) -> House {
    let keyspace = Keyspace::shared().await;
    let proxy = Proxy::to(&keyspace.cluster.cassandra.address).await;
    let mut config = keyspace.config();
    config.deadline = Duration::from_secs(2);
    config.cassandra.request_timeout = Duration::from_millis(500);
    set(&mut config);
    let (clock, metrics) = (Clock::manual(EPOCH_MS), Metrics::new());
    let store = open(&keyspace.url_through(&proxy.address), &config, &clock, &metrics).await;
    House {
        store: store.unwrap(),
        metrics,
        proxy,
        tenant: format!("outage-{}", run()).parse().unwrap(),
        keyspace,
    }
}

impl House {
    /// Tells facts until it works.
    async fn told(&self, facts: &[Fact]) {
        let tell = || facts::tell(&*self.store, facts);
        eventually("the store takes it", tell, Result::is_ok)
            .await
            .unwrap();
    }

    fn some_facts(&self, seed: u64) -> Vec<Fact> {
        let mut dice = Dice(seed);
        let tenants = std::slice::from_ref(&self.tenant);
        (0..60).map(|_| facts::any_fact(tenants, &mut dice)).collect()
    }

    async fn compare(&self, facts: &[Fact]) {
        let ids: Vec<_> = (0..8).map(facts::id).collect();
        let tenants = std::slice::from_ref(&self.tenant);
        let model = Model::of(facts);
        model.compare(&*self.store, tenants, &ids).await;
        let beside = self.keyspace.open(&Clock::manual(EPOCH_MS)).await.unwrap();
        model.compare(&*beside, tenants, &ids).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the cluster: make cluster"]
async fn a_call_whose_answer_is_lost_may_be_repeated() {
    let house = house(|_| {}).await;
    let facts = house.some_facts(1);
    house.proxy.set(Way::AnswersHeldUp);
    let began = Instant::now();
    let error = facts::tell(&*house.store, &facts).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    house.proxy.set(Way::Open);
    house.told(&facts).await;
    house.compare(&facts).await;
    let errors = house
        .metrics
        .counter_vec("carillon_store_errors_total", "", &["kind"]);
    assert!(errors.with_label_values(&["unavailable"]).get() > 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the cluster: make cluster"]
async fn a_way_that_is_cut_again_and_again_loses_and_doubles_nothing() {
    let house = house(|_| {}).await;
    let facts = house.some_facts(2);
    let (mut failed, mut dice) = (0, Dice(3));
    for _ in 0..8 {
        let telling = facts::tell(&*house.store, &facts);
        let cutting = async {
            for _ in 0..dice.roll(40) {
                tokio::task::yield_now().await;
            }
            house.proxy.set(Way::Cut);
        };
        let (told, ()) = tokio::join!(telling, cutting);
        failed += u32::from(told.is_err());
        house.proxy.set(Way::Open);
        eventually("the store is back", || house.store.ping(), Result::is_ok)
            .await
            .unwrap();
    }
    assert!(failed > 0, "no call was cut: this test shows nothing");
    house.told(&facts).await;
    house.compare(&facts).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the cluster: make cluster"]
async fn a_claim_whose_answer_is_lost_is_still_the_callers() {
    let house = house(|_| {}).await;
    let key = "key".parse().unwrap();
    let claim = |n: u8| Claim {
        id: facts::id(n.into()),
        body_hash: [n; 32],
        at_ms: EPOCH_MS,
    };
    house.proxy.set(Way::AnswersHeldUp);
    let lost = house.store.claim(&house.tenant, &key, &claim(1)).await;
    assert!(matches!(lost, Err(StoreError::Unavailable(_))), "{lost:?}");
    house.proxy.set(Way::Open);
    let beside = house.keyspace.open(&Clock::manual(EPOCH_MS)).await.unwrap();
    let another = beside.claim(&house.tenant, &key, &claim(2)).await.unwrap();
    assert_eq!(another, ClaimOutcome::Existing(claim(1)), "the lost one holds");
    let own = claim(1);
    let again = || house.store.claim(&house.tenant, &key, &own);
    let again = eventually("a claim has an answer", again, Result::is_ok).await;
    assert_eq!(again, Ok(ClaimOutcome::New));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the cluster: make cluster"]
async fn callers_beyond_what_may_be_on_its_way_wait_and_end_within_their_deadline() {
    let house = house(|config| {
        config.cassandra.in_flight = 2;
        config.cassandra.request_timeout = Duration::from_secs(2);
    })
    .await;
    house.proxy.set(Way::HeldUp);
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..20 {
        let (store, tenant) = (Arc::clone(&house.store), house.tenant.clone());
        let new = facts::new(&tenant, n, 1, EPOCH_MS, "r");
        calls.spawn(async move { (Instant::now(), store.persist(&[new]).await) });
    }
    let gauge = |name| house.metrics.gauge(name, "");
    let on_their_way = gauge("carillon_store_statements_in_flight");
    let waiting = gauge("carillon_store_waiting_statements");
    eventually("all wait", || async { waiting.get() }, |waiting| *waiting >= 18).await;
    assert_eq!(on_their_way.get(), 2, "no more than it may be");
    for (began, answer) in calls.join_all().await {
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
    assert_eq!(
        (on_their_way.get(), waiting.get()),
        (0, 0),
        "nothing is left behind"
    );
    house.proxy.set(Way::Open);
    let new = facts::new(&house.tenant, 1, 1, EPOCH_MS, "r");
    house.told(&[Fact::Persist(new)]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the cluster: make cluster"]
async fn a_store_closes_while_its_server_is_away() {
    let house = house(|_| {}).await;
    house.proxy.set(Way::Cut);
    let began = Instant::now();
    assert!(house.store.ping().await.is_err());
    house.store.close().await;
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert_eq!(house.store.ping().await, Err(StoreError::Closed));
}
