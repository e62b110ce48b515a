//! What of the overflow the simulation reaches seldom: partitions that come back while something is on its way.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use super::*;
use crate::{
    fair::Weights,
    sources::Source,
    work::sample::{item, item_of, record},
};

const NOTIFICATIONS: &str = "carillon.notifications.v1";
const OVERFLOW: &str = "carillon.overflow.v1";

/// Consumers whose follower begins at 0 whenever it is asked, and that remember what they were told.
#[derive(Default)]
struct Told {
    finished: RefCell<Vec<i64>>,
    let_go: RefCell<Vec<i64>>,
    low_water: Cell<Option<i64>>,
}

impl Consumers for Rc<Told> {
    fn follow(&self, _: &[i32]) {}
    fn unfollow(&self, _: &[i32]) {}
    fn begun_at(&self, _: i32) -> Option<i64> {
        Some(0)
    }
    fn low_water(&self, _: &str, _: i32) -> Option<i64> {
        self.low_water.get()
    }
    fn finish(&self, item: &Item) {
        self.finished.borrow_mut().push(item.record.offset);
    }
    fn let_go(&self, item: &Item) {
        self.let_go.borrow_mut().push(item.record.offset);
    }
}

struct Case {
    told: Rc<Told>,
    overflow: Overflow<Rc<Told>>,
    lanes: Lanes,
}

impl Case {
    /// Partition 0 is owned, and a lane takes one record.
    fn new() -> Self {
        let bounds = Bounds {
            records_per_lane: 1,
            ..Bounds::default()
        };
        let told = Rc::new(Told::default());
        let mut overflow = Overflow::new(Rc::clone(&told), NOTIFICATIONS, OVERFLOW, bounds);
        overflow.own(&[0]);
        Self {
            told,
            overflow,
            lanes: Fair::new(bounds, Weights::new()),
        }
    }

    fn begin(&mut self) {
        self.overflow.begun(&[TopicPartition {
            topic: OVERFLOW.into(),
            partition: 0,
        }]);
    }

    /// Asks, and hears that these stand in the overflow.
    fn scan(&mut self, records: &[(&str, i64, Option<i64>)]) {
        let TakeOver {
            partition, number, ..
        } = self.overflow.next_asked().expect("asked");
        self.hear(partition, number, records);
    }

    fn hear(&mut self, partition: i32, number: u64, records: &[(&str, i64, Option<i64>)]) {
        let records = records
            .iter()
            .map(|(tenant, offset, place)| (tenant.parse().unwrap(), *offset, *place));
        let found = Found {
            partition,
            number,
            from: 0,
            end: 100,
            records: records.collect(),
        };
        self.overflow.found(found, &mut self.lanes);
    }

    fn read(&mut self, offset: i64) {
        self.overflow.hear(item("acme", offset), &mut self.lanes);
        self.overflow.heard(0, offset + 1);
        self.overflow.advance(&mut self.lanes);
    }

    /// A record of the overflow that stood at `place`.
    fn follow(&mut self, offset: i64, place: i64) {
        let mut record = record("acme", offset);
        record.topic = OVERFLOW.into();
        record
            .headers
            .set(headers::ORIGIN, format!("{NOTIFICATIONS}/0/{place}"));
        let mut item = item_of(record);
        item.source = Source::Overflow;
        self.overflow.follow(item);
        self.overflow.advance(&mut self.lanes);
    }

    fn taken(&mut self) -> Vec<(bool, i64)> {
        let taken = self.lanes.take(100, usize::MAX, Instant::now());
        self.overflow.advance(&mut self.lanes);
        let places = taken
            .iter()
            .map(|item| (item.source == Source::Main, item.record.offset));
        places.collect()
    }
}

#[test]
fn nothing_goes_on_before_it_is_known_who_is_in_the_overflow() {
    let mut case = Case::new();
    case.read(0);
    case.read(1);
    assert!(case.overflow.next_asked().is_none());
    case.begin();
    assert_eq!(case.taken(), []);
    case.scan(&[("acme", 7, Some(0))]);
    // The first is there already. What stands in the overflow goes before the second.
    assert_eq!(*case.told.finished.borrow(), [0]);
    assert_eq!(case.taken(), []);
    case.follow(7, 0);
    assert_eq!(case.taken(), [(false, 7)]);
    case.told.low_water.set(Some(8));
    case.overflow.advance(&mut case.lanes);
    assert_eq!(case.taken(), [(true, 1)]);
}

#[test]
fn an_answer_about_an_ownership_that_is_over_has_no_effect() {
    let mut case = Case::new();
    case.begin();
    let TakeOver { number, .. } = case.overflow.next_asked().expect("asked");
    case.overflow.disown(&[0]);
    case.overflow.own(&[0]);
    case.read(0);
    case.hear(0, number, &[]);
    assert_eq!(case.taken(), []);
    case.begin();
    case.scan(&[]);
    assert_eq!(case.taken(), [(true, 0)]);
}

#[test]
fn a_partition_that_comes_back_is_not_looked_through_while_what_went_there_before_is_being_written() {
    let mut case = Case::new();
    case.begin();
    case.scan(&[]);
    case.read(0);
    case.read(1);
    let item = case.overflow.next_spilled().expect("the lane takes one");
    assert_eq!(item.record.offset, 1);
    case.overflow.disown(&[0]);
    case.overflow.own(&[0]);
    case.begin();
    assert!(case.overflow.next_asked().is_none());
    case.overflow.placed(&Placed {
        partition: 0,
        tenant: "acme".parse().unwrap(),
        offset: 0,
    });
    assert!(case.overflow.next_asked().is_some());
}

#[test]
fn what_is_not_begun_is_given_up_with_its_partition() {
    let mut case = Case::new();
    case.begin();
    case.scan(&[("acme", 3, None)]);
    // Kept back, or waiting to be written, or followed and not handed on: nothing of it stays.
    case.follow(3, 50);
    case.read(0);
    let (gone, mirrors) = case.overflow.disown(&[0]);
    let gone: Vec<_> = gone.iter().map(|item| item.record.offset).collect();
    assert_eq!(gone, [3, 0]);
    assert_eq!((&*mirrors[0].topic, mirrors[0].partition), (OVERFLOW, 0));
    assert!(case.overflow.next_spilled().is_none() && !case.overflow.keeps_back());
    // Read before the end was known here: another router gets it.
    case.read(1);
    assert_eq!(*case.told.let_go.borrow(), [1]);
}
