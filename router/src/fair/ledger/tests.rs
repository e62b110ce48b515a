//! Tests of the ledger against a model of owners that die at any step.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

fn ready(from: i64, end: i64) -> Ledger {
    let mut ledger = Ledger::default();
    ledger.assigned(0, from);
    ledger.scanned(0, end);
    ledger
}

#[test]
fn a_tenant_overflows_until_its_last_record_there_is_finished() {
    let (acme, globex) = (tenant("acme"), tenant("globex"));
    let mut ledger = ready(0, 0);
    assert_eq!(ledger.way(0, &acme, 0), Way::Offer);
    ledger.enter(0, &acme);
    ledger.enter(0, &acme);
    assert_eq!(
        (ledger.way(0, &acme, 2), ledger.way(0, &globex, 3)),
        (Way::Overflow, Way::Offer)
    );
    ledger.placed(0, &acme, 10);
    ledger.passed(0, 11);
    assert!(ledger.overflows(0, &acme), "the second is still being written");
    ledger.placed(0, &acme, 12);
    ledger.passed(0, 12);
    assert!(ledger.overflows(0, &acme));
    ledger.passed(0, 13);
    assert!(!ledger.overflows(0, &acme) && ledger.tenants(0) == 0);
}

#[test]
fn what_is_acknowledged_after_it_was_finished_keeps_nobody_there() {
    let acme = tenant("acme");
    let mut ledger = ready(0, 0);
    ledger.enter(0, &acme);
    ledger.passed(0, 6);
    ledger.placed(0, &acme, 5);
    assert!(!ledger.overflows(0, &acme));
}

#[test]
fn nothing_moves_before_the_scan_ended_and_nothing_is_known_after_a_revoke() {
    let acme = tenant("acme");
    let mut ledger = Ledger::default();
    ledger.assigned(3, 0);
    ledger.found(3, &acme, 7, Some(40));
    assert!(!ledger.is_ready(3) && !ledger.may_follow(3, 7, None));
    assert_eq!(ledger.way(3, &acme, 1), Way::Wait);
    ledger.scanned(3, 100);
    assert!(ledger.overflows(3, &acme));
    ledger.revoked(3);
    ledger.placed(3, &acme, 8);
    ledger.passed(3, 9);
    assert!(!ledger.overflows(3, &acme));
    assert_eq!(ledger.way(3, &acme, 1), Way::Wait);
}

#[test]
fn who_takes_over_hands_out_first_what_the_owner_before_had_on_its_way() {
    let acme = tenant("acme");
    let mut ledger = Ledger::default();
    ledger.assigned(0, 20);
    for (offset, place) in [(7, Some(15)), (8, Some(30)), (9, None), (10, Some(32))] {
        ledger.found(0, &acme, offset, place);
    }
    ledger.scanned(0, 50);
    assert!(ledger.may_follow(0, 7, Some(15)) && !ledger.may_follow(0, 8, Some(30)));
    assert_eq!(ledger.way(0, &acme, 20), Way::Push);
    assert_eq!(ledger.way(0, &acme, 30), Way::There);
    assert_eq!(ledger.way(0, &acme, 31), Way::Push);
    ledger.read(0, 31);
    assert!(ledger.may_follow(0, 8, Some(30)) && !ledger.may_follow(0, 10, Some(32)));
    assert_eq!(ledger.way(0, &acme, 33), Way::Overflow);
    assert!(ledger.may_follow(0, 9, None));
    // Written since by an owner that did not know that it was one no more: of the log that is read here.
    assert!(!ledger.may_follow(0, 11, Some(60)));
}

#[test]
fn a_place_in_a_log_that_is_gone_is_not_waited_for() {
    let acme = tenant("acme");
    let mut ledger = Ledger::default();
    ledger.assigned(0, 0);
    ledger.found(0, &acme, 0, Some(9_000));
    ledger.scanned(0, 3);
    assert!(ledger.may_follow(0, 0, Some(9_000)));
    assert_eq!(ledger.way(0, &acme, 0), Way::Overflow);
}

#[test]
fn the_report_names_who_has_most_there() {
    let mut ledger = ready(0, 0);
    for (name, records) in [("acme", 2), ("globex", 5), ("initech", 1)] {
        (0..records).for_each(|_| ledger.enter(0, &tenant(name)));
    }
    let top: Vec<_> = ledger
        .report(2)
        .into_iter()
        .map(|r| (r.tenant, r.records))
        .collect();
    assert_eq!(top, [(tenant("globex"), 5), (tenant("acme"), 2)]);
}

/// One owner after the other over one partition and its overflow. Records are their offsets; `tenant_of` says whose
/// each is.
#[derive(Default)]
struct Model {
    log: Vec<u8>,
    /// Which record of the log each is.
    overflow: Vec<i64>,
    /// Committed: what is finished, as the note says.
    committed: (BTreeSet<i64>, BTreeSet<i64>),
    owner: Owner,
    /// Per tenant, first hand-outs in their order.
    out: BTreeMap<u8, Vec<i64>>,
}

#[derive(Default)]
struct Owner {
    ledger: Ledger,
    read: i64,
    follows: usize,
    finished: (BTreeSet<i64>, BTreeSet<i64>),
    /// On their way, in order: which record, and where in the overflow if it came from there.
    lane: Vec<(i64, Option<i64>)>,
    /// Written and not acknowledged.
    writing: Vec<(i64, i64)>,
}

#[derive(Debug, Clone)]
enum Deed {
    Write(u8),
    Read,
    Follow,
    /// Hands out the first in the lane, and finishes it.
    Serve,
    /// Hands out the first in the lane, and dies.
    ServeAndDie,
    Acknowledge,
    Commit(bool),
    Die,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        6 => (0..3u8).prop_map(Deed::Write),
        8 => Just(Deed::Read),
        6 => Just(Deed::Follow),
        6 => Just(Deed::Serve),
        1 => Just(Deed::ServeAndDie),
        6 => Just(Deed::Acknowledge),
        2 => any::<bool>().prop_map(Deed::Commit),
        1 => Just(Deed::Die),
    ]
}

const LANE: usize = 2;

fn name(of: u8) -> TenantId {
    tenant(&format!("t{of}"))
}

impl Model {
    fn mark(finished: &BTreeSet<i64>, end: usize) -> i64 {
        (0..end as i64)
            .find(|at| !finished.contains(at))
            .unwrap_or(end as i64)
    }

    fn begin(&mut self) {
        let from = Self::mark(&self.committed.0, self.log.len());
        let follows = Self::mark(&self.committed.1, self.overflow.len());
        let mut ledger = Ledger::default();
        ledger.assigned(0, from);
        for (offset, &place) in self.overflow.iter().enumerate().skip(follows as usize) {
            ledger.found(0, &name(self.log[place as usize]), offset as i64, Some(place));
        }
        ledger.scanned(0, self.log.len() as i64);
        self.owner = Owner {
            ledger,
            read: from,
            follows: follows as usize,
            finished: self.committed.clone(),
            ..Owner::default()
        };
    }

    fn read(&mut self) {
        let at = self.owner.read;
        let Some(&of) = self.log.get(at as usize) else {
            return;
        };
        let owner = &mut self.owner;
        owner.read += 1;
        if !owner.finished.0.contains(&at) {
            let full = owner
                .lane
                .iter()
                .filter(|(r, _)| self.log[*r as usize] == of)
                .count()
                >= LANE;
            match owner.ledger.way(0, &name(of), at) {
                Way::Wait => panic!("the scan is over"),
                Way::There => {
                    owner.finished.0.insert(at);
                }
                Way::Push => owner.lane.push((at, None)),
                Way::Offer if !full => owner.lane.push((at, None)),
                Way::Offer | Way::Overflow => {
                    owner.ledger.enter(0, &name(of));
                    owner.writing.push((at, self.overflow.len() as i64));
                    self.overflow.push(at);
                }
            }
        }
        owner.ledger.read(0, at + 1);
    }

    fn follow(&mut self) {
        let owner = &mut self.owner;
        let Some(&place) = self.overflow.get(owner.follows) else {
            return;
        };
        let offset = owner.follows as i64;
        if !owner.finished.1.contains(&offset) {
            let of = self.log[place as usize];
            let waiting = owner.lane.iter().filter(|(r, _)| self.log[*r as usize] == of);
            if waiting.count() >= LANE || !owner.ledger.may_follow(0, offset, Some(place)) {
                return;
            }
            owner.lane.push((place, Some(offset)));
        }
        owner.follows += 1;
        self.pass();
    }

    fn pass(&mut self) {
        let mark = Self::mark(&self.owner.finished.1, self.owner.follows);
        self.owner.ledger.passed(0, mark);
    }

    /// The first of some lane.
    fn serve(&mut self, finishes: bool) {
        if self.owner.lane.is_empty() {
            return;
        }
        let (record, overflow) = self.owner.lane.remove(0);
        let out = self.out.entry(self.log[record as usize]).or_default();
        if !out.contains(&record) {
            out.push(record);
        }
        if finishes {
            match overflow {
                Some(offset) => self.owner.finished.1.insert(offset),
                None => self.owner.finished.0.insert(record),
            };
            self.pass();
        }
    }

    fn acknowledge(&mut self) {
        if self.owner.writing.is_empty() {
            return;
        }
        let (record, offset) = self.owner.writing.remove(0);
        let of = name(self.log[record as usize]);
        self.owner.ledger.placed(0, &of, offset);
        self.owner.finished.0.insert(record);
    }

    fn run(&mut self, deed: Deed) {
        match deed {
            Deed::Write(of) => self.log.push(of),
            Deed::Read => self.read(),
            Deed::Follow => self.follow(),
            Deed::Serve => self.serve(true),
            Deed::ServeAndDie => {
                self.serve(false);
                self.begin();
            }
            Deed::Acknowledge => self.acknowledge(),
            Deed::Commit(true) => self.committed.0 = self.owner.finished.0.clone(),
            Deed::Commit(false) => self.committed.1 = self.owner.finished.1.clone(),
            Deed::Die => self.begin(),
        }
    }

    fn drain(&mut self) {
        for _ in 0..4 * (self.log.len() + self.overflow.len() + 4) {
            self.read();
            self.acknowledge();
            self.follow();
            self.serve(true);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn whoever_dies_at_any_step_every_tenants_records_leave_in_their_order(
        deeds in prop::collection::vec(deed(), 1..120)
    ) {
        let mut model = Model::default();
        model.begin();
        for deed in deeds {
            model.run(deed);
        }
        model.drain();
        let mut expected: BTreeMap<u8, Vec<i64>> = BTreeMap::new();
        for (at, &of) in model.log.iter().enumerate() {
            expected.entry(of).or_default().push(at as i64);
        }
        prop_assert_eq!(&model.out, &expected);
        prop_assert_eq!(model.owner.ledger.tenants(0), 0);
    }
}
