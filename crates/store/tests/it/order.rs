//! The order of writes does not matter: any facts, in any order, against the model, with shrinking.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use carillon_chassis::clock::Clock;
use carillon_schemas::{
    TenantId,
    status::{Stamp, Status},
};
use carillon_store::{
    NotificationStore, SqliteOptions,
    conformance::{
        facts::{self, Fact},
        model::Model,
    },
};
use proptest::{prelude::*, test_runner::TestRunner};

use crate::{keyspace::Keyspace, support::House};

#[derive(Debug, Clone, Copy)]
struct Told {
    tenant: usize,
    n: u64,
    kind: u8,
    attempt: u8,
    delivery: u32,
    at: u64,
    node: usize,
}

fn told() -> impl Strategy<Value = Told> {
    (0usize..2, 0u64..4, 0u8..6, 1u8..4, 1u32..3, 0u64..20, 0usize..2).prop_map(
        |(tenant, n, kind, attempt, delivery, at, node)| Told {
            tenant,
            n,
            kind,
            attempt,
            delivery,
            at,
            node,
        },
    )
}

fn fact(tenants: &[TenantId; 2], told: &Told) -> Fact {
    let tenant = &tenants[told.tenant];
    // Two nodes whose clocks are more than a day apart.
    let at_ms = facts::EPOCH_MS + 10 + told.at + told.node as u64 * 30 * 3_600_000;
    let node = ["r0", "r1"][told.node];
    match told.kind {
        0 => Fact::Persist(facts::new(tenant, told.n, told.attempt, at_ms, node)),
        1 => Fact::Dispatched(facts::dispatched(
            tenant,
            told.n,
            told.delivery,
            told.attempt,
            at_ms,
            node,
        )),
        2 => Fact::Dead(facts::dead(tenant, told.n, told.attempt, at_ms, node)),
        kind => {
            let stamp = Stamp {
                redrive: told.delivery as u8 - 1,
                attempt: told.attempt,
                status: [Status::Delivered, Status::Acknowledged, Status::Retrying][usize::from(kind) - 3],
            };
            let mut note = facts::note(tenant, told.n, stamp, at_ms, node);
            note.sessions = (kind == 3 && told.at > 5).then_some(told.at as u32);
            Fact::Note(note)
        }
    }
}

/// Tells any facts in two orders to a store, and compares what it says with the model.
fn check_orders(cases: u32, store: impl AsyncFnOnce() -> Arc<dyn NotificationStore>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let store = runtime.block_on(store());
    let case = AtomicU64::new(0);
    let ids: Vec<_> = (0..4).map(facts::id).collect();
    let lists = proptest::collection::vec(told(), 0..24);
    let orders = lists.prop_flat_map(|list| (Just(list.clone()), Just(list).prop_shuffle()));
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let outcome = TestRunner::new(config).run(&orders, |(first, second)| {
        for order in [first, second] {
            let case = case.fetch_add(1, Ordering::Relaxed);
            let tenants = ["a", "b"].map(|name| format!("order-{name}{case}").parse().unwrap());
            let facts: Vec<_> = order.iter().map(|told| fact(&tenants, told)).collect();
            runtime.block_on(async {
                facts::tell(&*store, &facts).await.unwrap();
                Model::of(&facts).compare(&*store, &tenants, &ids).await;
            });
        }
        Ok(())
    });
    outcome.unwrap();
    runtime.block_on(store.close());
}

#[test]
fn any_facts_in_two_orders_leave_what_the_model_says() {
    let house = House::new();
    check_orders(48, async || {
        Arc::new(house.open(SqliteOptions::default()).unwrap()) as Arc<dyn NotificationStore>
    });
}

#[test]
#[ignore = "needs the cluster: make cluster"]
fn any_facts_in_two_orders_leave_what_the_model_says_on_cassandra() {
    let mut kept = None;
    check_orders(24, async || {
        let keyspace = kept.insert(Keyspace::shared().await);
        keyspace.open(&Clock::manual(facts::EPOCH_MS)).await.unwrap()
    });
}
