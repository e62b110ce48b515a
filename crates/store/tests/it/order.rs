//! The order of writes does not matter: any facts, in any order, against the model, with shrinking.

use std::sync::atomic::{AtomicU64, Ordering};

use carillon_schemas::TenantId;
use carillon_store::{
    SqliteOptions,
    conformance::{
        facts::{self, Fact},
        model::Model,
    },
};
use proptest::{prelude::*, test_runner::TestRunner};

use crate::support::House;

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
    (0usize..2, 0u64..4, 0u8..3, 1u8..4, 1u32..3, 0u64..20, 0usize..2).prop_map(
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
    let at_ms = facts::EPOCH_MS + 10 + told.at;
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
        _ => Fact::Dead(facts::dead(tenant, told.n, told.attempt, at_ms, node)),
    }
}

#[test]
fn any_facts_in_two_orders_leave_what_the_model_says() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let house = House::new();
    let store = house.open(SqliteOptions::default()).unwrap();
    let case = AtomicU64::new(0);
    let ids: Vec<_> = (0..4).map(facts::id).collect();
    let lists = proptest::collection::vec(told(), 0..24);
    let orders = lists.prop_flat_map(|list| (Just(list.clone()), Just(list).prop_shuffle()));
    let config = ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let outcome = TestRunner::new(config).run(&orders, |(first, second)| {
        for order in [first, second] {
            let case = case.fetch_add(1, Ordering::Relaxed);
            let tenants = ["a", "b"].map(|name| format!("{name}{case}").parse().unwrap());
            let facts: Vec<_> = order.iter().map(|told| fact(&tenants, told)).collect();
            runtime.block_on(async {
                facts::tell(&store, &facts).await.unwrap();
                Model::of(&facts).compare(&store, &tenants, &ids).await;
            });
        }
        Ok(())
    });
    outcome.unwrap();
}
