//! Tests of the ledger against a model of owners that die at any step.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

fn ready(from: i64, end: i64) -> Ledger {
    let mut ledger = Ledger::new(BOUNDS);
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
    assert_eq!(ledger.way(0, &acme, 0), Way::KeepBack);
}

/// A ledger of one partition in which a tenant has what is handed on and not finished: `acme`, at 10.
fn nearly_drained() -> (Ledger, TenantId) {
    let acme = tenant("acme");
    let mut ledger = ready(0, 0);
    ledger.enter(0, &acme);
    ledger.placed(0, &acme, 10);
    ledger.handed_on(0, &acme, 10);
    (ledger, acme)
}

#[test]
fn a_nearly_drained_tenant_is_kept_back_until_it_leaves() {
    let (mut ledger, acme) = nearly_drained();
    assert_eq!(ledger.way(0, &acme, 1), Way::KeepBack);
    assert!(ledger.keep(0, &acme, 1));
    ledger.passed(0, 10);
    assert_eq!(ledger.released(0), None, "the last is not finished");
    ledger.passed(0, 11);
    assert_eq!(ledger.way(0, &acme, 2), Way::KeepBack, "others of it are before");
    assert!(ledger.keep(0, &acme, 1));
    assert_eq!(ledger.released(0), Some(acme.clone()));
    assert_eq!((ledger.released(0), ledger.way(0, &acme, 1)), (None, Way::Offer));
}

#[test]
fn who_has_more_than_a_few_that_are_not_handed_on_is_not_kept_back() {
    let (mut ledger, acme) = nearly_drained();
    ledger.enter(0, &acme);
    assert_eq!(ledger.way(0, &acme, 1), Way::KeepBack);
    ledger.enter(0, &acme);
    assert_eq!(ledger.way(0, &acme, 1), Way::Overflow);
    (12..15).for_each(|offset| ledger.placed(0, &acme, offset));
    ledger.handed_on(0, &acme, 12);
    assert_eq!(ledger.way(0, &acme, 1), Way::Overflow);
    ledger.handed_on(0, &acme, 13);
    assert_eq!(ledger.way(0, &acme, 1), Way::KeepBack);
}

#[test]
fn what_is_kept_back_waits_for_what_is_still_being_written() {
    let (mut ledger, acme) = nearly_drained();
    ledger.enter(0, &acme);
    assert!(ledger.keep(0, &acme, 1));
    ledger.passed(0, 13);
    assert_eq!(ledger.released(0), None);
    ledger.placed(0, &acme, 12);
    assert_eq!(ledger.released(0), Some(acme));
}

#[test]
fn what_is_more_than_a_lane_is_not_kept_back_and_neither_is_what_was() {
    for bytes in [1, BOUNDS.bytes_per_lane] {
        let (mut ledger, acme) = nearly_drained();
        let most = if bytes == 1 { BOUNDS.records_per_lane } else { 1 };
        assert!((0..most).all(|_| ledger.keep(0, &acme, bytes)));
        assert!(!ledger.keep(0, &acme, bytes));
        (0..=most).for_each(|_| ledger.enter(0, &acme));
        assert_eq!(ledger.way(0, &acme, 9), Way::Overflow);
        ledger.passed(0, 11);
        assert_eq!(ledger.released(0), None);
        assert!(ledger.overflows(0, &acme));
    }
}

#[test]
fn nothing_is_kept_back_while_the_follower_waits_for_the_partition() {
    let (mut ledger, acme) = nearly_drained();
    assert!(ledger.keep(0, &acme, 1));
    assert!(!ledger.may_follow(0, 9, Some(5)));
    assert_eq!(ledger.released(0), Some(acme.clone()));
    assert_eq!(ledger.way(0, &acme, 1), Way::Overflow);
    ledger.read(0, 6);
    assert!(ledger.may_follow(0, 9, Some(5)));
    assert_eq!(ledger.way(0, &acme, 6), Way::KeepBack);
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
    /// Kept back, in order.
    kept: Vec<i64>,
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
    /// Lets go of what need not be kept back any longer.
    Release,
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
        4 => Just(Deed::Release),
        2 => any::<bool>().prop_map(Deed::Commit),
        1 => Just(Deed::Die),
    ]
}

/// Of a tenant's lane, and of what is kept back of it.
const BOUNDS: Bounds = Bounds {
    records_per_lane: 2,
    bytes_per_lane: 1_000,
    quantum: 1,
};
/// Records of the partition that may be unfinished: fewer than all tenants together may have kept back.
const IN_FLIGHT: i64 = 5;

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
        let mut ledger = Ledger::new(BOUNDS);
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
        let open = (0..at).filter(|at| !self.owner.finished.0.contains(at)).count();
        if at >= self.log.len() as i64 || open >= IN_FLIGHT as usize {
            return;
        }
        self.owner.read += 1;
        if !self.owner.finished.0.contains(&at) {
            self.send(at);
        }
        self.owner.ledger.read(0, at + 1);
    }

    fn send(&mut self, at: i64) {
        let of = name(self.log[at as usize]);
        match self.owner.ledger.way(0, &of, at) {
            Way::Wait => panic!("the scan is over"),
            Way::There => {
                self.owner.finished.0.insert(at);
            }
            Way::Push => self.owner.lane.push((at, None)),
            Way::Offer if !self.is_full(at) => self.owner.lane.push((at, None)),
            Way::Offer | Way::Overflow => self.spill(at),
            Way::KeepBack => {
                let fits = self.owner.ledger.keep(0, &of, 1);
                self.owner.kept.push(at);
                if !fits {
                    self.take_kept(&of).into_iter().for_each(|at| self.spill(at));
                }
            }
        }
    }

    fn is_full(&self, at: i64) -> bool {
        let of = self.log[at as usize];
        let waiting = self
            .owner
            .lane
            .iter()
            .filter(|(r, _)| self.log[*r as usize] == of);
        waiting.count() >= BOUNDS.records_per_lane
    }

    fn spill(&mut self, at: i64) {
        self.owner.ledger.enter(0, &name(self.log[at as usize]));
        self.owner.writing.push((at, self.overflow.len() as i64));
        self.overflow.push(at);
    }

    fn take_kept(&mut self, of: &TenantId) -> Vec<i64> {
        let kept = std::mem::take(&mut self.owner.kept).into_iter();
        let (taken, stays) = kept.partition(|at| name(self.log[*at as usize]) == *of);
        self.owner.kept = stays;
        taken
    }

    /// Whether all that was read is finished, here and in the overflow.
    fn is_idle(&self) -> bool {
        let (main, overflow) = &self.owner.finished;
        Self::mark(main, self.log.len()) >= self.owner.read
            && Self::mark(overflow, self.overflow.len()) >= self.overflow.len() as i64
    }

    fn release(&mut self) {
        while let Some(of) = self.owner.ledger.released(0) {
            self.take_kept(&of).into_iter().for_each(|at| self.send(at));
        }
    }

    fn follow(&mut self) {
        let Some(&place) = self.overflow.get(self.owner.follows) else {
            return;
        };
        let offset = self.owner.follows as i64;
        if !self.owner.finished.1.contains(&offset) {
            let full = self.is_full(place);
            let owner = &mut self.owner;
            if !owner.ledger.may_follow(0, offset, Some(place)) || full {
                return;
            }
            owner.ledger.handed_on(0, &name(self.log[place as usize]), offset);
            owner.lane.push((place, Some(offset)));
        }
        self.owner.follows += 1;
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
            Deed::Release => self.release(),
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
            self.release();
            self.serve(true);
        }
    }
}

#[test]
fn a_tenant_under_steady_traffic_leaves_the_overflow_after_its_flood() {
    let mut model = Model::default();
    model.begin();
    model.log = vec![0; 20];
    // Each round something comes, and is read before what came into the lane in the round before is finished.
    for _ in 0..60 {
        model.log.push(0);
        let due = model.owner.lane.len();
        model.read();
        assert!(!model.is_idle(), "something is always unfinished");
        (0..due).for_each(|_| model.serve(true));
        model.release();
        for _ in 0..2 {
            model.acknowledge();
            model.follow();
            model.read();
        }
    }
    assert!(model.overflow.len() >= 15, "{}", model.overflow.len());
    assert!(!model.owner.ledger.overflows(0, &name(0)));
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
        prop_assert!(model.owner.kept.is_empty());
    }
}
