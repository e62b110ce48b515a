//! Tests of the queue: order, bounds, shares, and that nobody's flood is another's wait.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use proptest::prelude::*;

use super::*;

/// Something small that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Thing {
    pub(super) tenant: TenantId,
    class: LaneClass,
    stream: Stream,
    priority: Priority,
    bytes: usize,
    partition: i32,
    pub(super) number: u64,
}

impl Queued for Thing {
    fn tenant(&self) -> &TenantId {
        &self.tenant
    }
    fn class(&self) -> LaneClass {
        self.class
    }
    fn stream(&self) -> &Stream {
        &self.stream
    }
    fn priority(&self) -> Priority {
        self.priority
    }
    fn bytes(&self) -> usize {
        self.bytes
    }
    fn stands_in(&self, partition: &TopicPartition) -> bool {
        self.partition == partition.partition
    }
}

pub(super) fn thing(tenant: &str, channel: u8, number: u64) -> Thing {
    Thing {
        tenant: tenant.parse().unwrap(),
        class: LaneClass::Ordinary,
        stream: Stream::Channel(format!("c{channel}").parse().unwrap()),
        priority: Priority::Normal,
        bytes: 100,
        partition: 0,
        number,
    }
}

fn fair(records_per_lane: usize, bytes_per_lane: usize) -> Fair<Thing> {
    let bounds = Bounds {
        records_per_lane,
        bytes_per_lane,
        quantum: 512,
    };
    Fair::new(bounds, Weights::new())
}

fn partitions(gone: &[i32]) -> Vec<TopicPartition> {
    let topic: std::sync::Arc<str> = "t".into();
    let named = gone.iter().map(|&partition| TopicPartition {
        topic: std::sync::Arc::clone(&topic),
        partition,
    });
    named.collect()
}

#[derive(Debug, Clone)]
enum Step {
    Offer(Thing),
    Take(usize, usize),
    Drop(i32),
}

fn any_thing() -> impl Strategy<Value = Thing> {
    let priority = prop_oneof![Just(Priority::High), Just(Priority::Normal), Just(Priority::Low)];
    let class = prop_oneof![3 => Just(LaneClass::Ordinary), 1 => Just(LaneClass::Redrive)];
    (0..5u8, 0..4u8, priority, class, 0..3_000usize, 0..3i32).prop_map(
        |(tenant, channel, priority, class, bytes, partition)| Thing {
            priority,
            class,
            bytes,
            partition,
            ..thing(&format!("t{tenant}"), channel, 0)
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => any_thing().prop_map(Step::Offer),
        4 => (1..12usize, 1..9_000usize).prop_map(|(records, bytes)| Step::Take(records, bytes)),
        1 => (0..3i32).prop_map(Step::Drop),
    ]
}

/// What waits, by lane and stream; each stream in its order.
#[derive(Default)]
struct Model(BTreeMap<(TenantId, bool, String), VecDeque<Thing>>);

impl Model {
    fn key(thing: &Thing) -> (TenantId, bool, String) {
        let redrive = thing.class == LaneClass::Redrive;
        (thing.tenant.clone(), redrive, thing.stream.to_string())
    }

    fn lane(&self, thing: &Thing) -> (usize, usize) {
        let (tenant, redrive, _) = Self::key(thing);
        let waiting = self
            .0
            .iter()
            .filter(|((t, r, _), _)| *t == tenant && *r == redrive);
        let waiting = waiting.flat_map(|(_, things)| things);
        waiting.fold((0, 0), |(n, bytes), each| (n + 1, bytes + each.bytes.max(1)))
    }

    fn len(&self) -> usize {
        self.0.values().map(VecDeque::len).sum()
    }

    fn take(&mut self, thing: &Thing) -> bool {
        let first = self.0.get_mut(&Self::key(thing)).and_then(VecDeque::pop_front);
        first.as_ref() == Some(thing)
    }
}

proptest! {
    #[test]
    fn whatever_comes_and_goes_streams_keep_their_order_bounds_hold_and_nothing_is_lost(
        steps in prop::collection::vec(step(), 1..200), records in 1usize..8, bytes in 1usize..9_000,
    ) {
        let mut fair = fair(records, bytes);
        let mut model = Model::default();
        let now = Instant::now();
        for (number, step) in steps.into_iter().chain([Step::Take(10_000, usize::MAX)]).enumerate() {
            match step {
                Step::Offer(thing) => {
                    let thing = Thing { number: number as u64, ..thing };
                    let (n, waiting) = model.lane(&thing);
                    let fits = n == 0 || (n < records && waiting + thing.bytes <= bytes);
                    let offered = fair.offer(thing.clone(), now);
                    prop_assert_eq!(&offered, &if fits { Ok(()) } else { Err(thing.clone()) });
                    if fits {
                        model.0.entry(Model::key(&thing)).or_default().push_back(thing);
                    }
                }
                Step::Take(records, bytes) => {
                    let taken = fair.take(records, bytes, now);
                    prop_assert!(taken.len() <= records);
                    prop_assert_eq!(taken.is_empty(), model.len() == 0, "work conserving");
                    let total: usize = taken.iter().map(|t| t.bytes.max(1)).sum();
                    prop_assert!(taken.len() <= 1 || total <= bytes);
                    for thing in taken {
                        prop_assert!(model.take(&thing), "{:?} is not the first of its stream", thing);
                    }
                }
                Step::Drop(partition) => {
                    let dropped = fair.drop_partitions(&partitions(&[partition]));
                    let mut goes = 0;
                    for things in model.0.values_mut() {
                        goes += things.iter().filter(|t| t.partition == partition).count();
                        things.retain(|t| t.partition != partition);
                    }
                    prop_assert!(dropped.iter().all(|t| t.partition == partition));
                    prop_assert_eq!(dropped.len(), goes);
                }
            }
            prop_assert_eq!(fair.len(), model.len());
        }
        prop_assert!(fair.is_empty() && model.len() == 0 && fair.stream_of.is_empty());
    }

    #[test]
    fn backlogged_lanes_get_bytes_in_proportion_to_their_weights_within_a_quantum_and_a_record(
        lanes in prop::collection::vec((1u32..5, any::<bool>(), 1usize..2_000), 2..6), batch in 1usize..40,
    ) {
        let mut weights = Weights::new();
        for (at, (weight, _, _)) in lanes.iter().enumerate() {
            weights.insert(format!("t{at}").parse().unwrap(), *weight);
        }
        let bounds = Bounds { records_per_lane: usize::MAX, bytes_per_lane: usize::MAX, quantum: 512 };
        let mut fair = Fair::new(bounds, weights);
        let now = Instant::now();
        for (at, &(_, redrive, bytes)) in lanes.iter().enumerate() {
            let class = if redrive { LaneClass::Redrive } else { LaneClass::Ordinary };
            for number in 0..500 {
                fair.push(Thing { class, bytes, ..thing(&format!("t{at}"), 0, number) }, now);
            }
        }
        let mut served: BTreeMap<TenantId, f64> = BTreeMap::new();
        for _ in 0..400 / batch + 1 {
            for thing in fair.take(batch, usize::MAX, now) {
                *served.entry(thing.tenant).or_default() += thing.bytes as f64;
            }
        }
        // In units of its weight, each lane is as far as every other, give or take a turn.
        let rounds = lanes.iter().enumerate().map(|(at, &(weight, redrive, bytes))| {
            let quantum = 512.0 * f64::from(weight) / if redrive { 8.0 } else { 1.0 };
            let bytes_served = served.get(&format!("t{at}").parse().unwrap()).copied().unwrap_or(0.0);
            (bytes_served / quantum, bytes as f64 / quantum)
        });
        let rounds: Vec<_> = rounds.collect();
        for (mine, record) in &rounds {
            for (other, others_record) in &rounds {
                let slack = 1.0 + record.max(*others_record) + 1e-9;
                prop_assert!((mine - other).abs() <= slack, "{rounds:?}");
            }
        }
    }
}

#[test]
fn a_flood_lengthens_nobodys_wait_beyond_a_quantum_of_each_other_lane() {
    let mut fair = Fair::new(Bounds::default(), Weights::new());
    let now = Instant::now();
    for flooder in ["a", "b", "c"] {
        for number in 0..250 {
            fair.offer(thing(flooder, number as u8, number), now).unwrap();
        }
        assert!(
            fair.offer(thing(flooder, 0, 250), now).is_err(),
            "its lane is full"
        );
    }
    fair.offer(thing("victim", 0, 0), now).unwrap();
    let before = fair.take(usize::MAX, usize::MAX, now);
    let at = before.iter().position(|t| t.tenant.as_str() == "victim").unwrap();
    let quantum = Bounds::default().quantum as usize;
    assert!(at <= 3 * (quantum / 100 + 1), "served after {at} others");
}

#[test]
fn streams_of_a_tenant_share_by_priority_and_none_starves() {
    let mut fair = Fair::new(Bounds::default(), Weights::new());
    let now = Instant::now();
    let priorities = [Priority::High, Priority::Normal, Priority::Low];
    for number in 0..70 {
        for (channel, priority) in priorities.into_iter().enumerate() {
            let thing = thing("acme", channel as u8, number);
            fair.offer(Thing { priority, ..thing }, now).unwrap();
        }
    }
    for _ in 0..10 {
        let seven = fair.take(7, usize::MAX, now);
        let count = |priority| seven.iter().filter(|t| t.priority == priority).count();
        assert_eq!(priorities.map(count), [4, 2, 1]);
    }
}

#[test]
fn a_low_record_at_the_head_of_a_stream_holds_a_high_one_behind_it() {
    let mut fair = fair(10, 10_000);
    let now = Instant::now();
    let low = Thing {
        priority: Priority::Low,
        ..thing("acme", 0, 0)
    };
    let high = Thing {
        priority: Priority::High,
        ..thing("acme", 0, 1)
    };
    for thing in [&low, &high] {
        fair.offer(thing.clone(), now).unwrap();
    }
    assert_eq!(fair.take(2, usize::MAX, now), [low, high]);
}

#[test]
fn one_record_always_fits_and_a_redrive_has_a_lane_of_its_own() {
    let mut fair = fair(1, 10);
    let now = Instant::now();
    assert!(fair.offer(thing("acme", 0, 0), now).is_ok());
    assert!(fair.offer(thing("acme", 0, 1), now).is_err());
    let redrive = Thing {
        class: LaneClass::Redrive,
        ..thing("acme", 0, 2)
    };
    assert!(fair.offer(redrive, now).is_ok());
    fair.push(thing("acme", 0, 3), now);
    assert_eq!(fair.len(), 3);
}

#[test]
fn ten_thousand_tenants_that_come_and_go_leave_no_lanes_behind() {
    let mut fair = Fair::new(Bounds::default(), Weights::new());
    let now = Instant::now();
    for number in 0..30_000 {
        fair.offer(thing(&format!("t{number}"), 0, number), now).unwrap();
        assert_eq!(fair.take(1, usize::MAX, now).len(), 1);
    }
    assert!(fair.lanes.used() <= IDLE_LANES + 2);
}

#[test]
fn the_report_names_the_busiest_and_sums_the_rest() {
    let mut fair = Fair::new(Bounds::default(), Weights::new());
    let begun = Instant::now();
    for (tenant, records) in [("a", 1), ("b", 8), ("c", 3), ("d", 2)] {
        for number in 0..records {
            fair.offer(thing(tenant, number as u8, number), begun).unwrap();
        }
    }
    let later = begun + Duration::from_millis(40);
    // One of the first, three of the second.
    let taken = fair.take(4, 400, later);
    assert_eq!(taken.len(), 4);
    let report = fair.report(2, begun + Duration::from_millis(90));
    let names: Vec<_> = report.top.iter().map(|lane| lane.tenant.as_str()).collect();
    assert_eq!(names, ["b", "c"]);
    let top: usize = report.top.iter().map(|lane| lane.figures.records).sum();
    assert_eq!((top, report.others.records), (8, 2));
    assert_eq!(report.top[0].figures.longest_wait, Duration::from_millis(90));
    let all = report
        .top
        .iter()
        .map(|lane| lane.figures.taken)
        .chain([report.others.taken]);
    assert_eq!(all.sum::<u64>(), 4);
    let again = fair.report(9, later);
    assert!(again.top.iter().all(|lane| lane.figures.taken == 0));
    assert_eq!(again.others, report::Figures::default());
}
