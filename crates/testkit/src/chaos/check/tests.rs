//! The checker on made-up histories: a good one passes, and each kind of harm is called by its name.

use std::time::Duration;

use carillon_schemas::status::Status;

use super::*;
use crate::chaos::{
    Fault, Kind, Target,
    history::{Listener, Moved, Note, On, Poison, Sighting, Strike},
    seeded::BUGS,
};

const DUE: u64 = 30_000;

fn id(n: u64) -> NotificationId {
    NotificationId::at(n, &[0; 10])
}

fn accepted(number: u64, kind: Kind) -> Accepted {
    Accepted {
        begun: number * 1_000 - 5,
        at: number * 1_000,
        attempts: 1,
        place: 0,
        number,
        id: id(number),
        kind,
        due: (kind == Kind::Scheduled).then_some(DUE),
        key: (kind == Kind::Collapse).then(|| "k".to_owned()),
    }
}

fn sighting(listener: usize, number: u64, at: u64) -> Sighting {
    Sighting {
        at,
        listener,
        place: 0,
        user: false,
        id: id(number),
        number,
        kind: if number == 20 {
            Kind::Scheduled
        } else {
            Kind::Plain
        },
        delivery: 1,
        attempt: 1,
    }
}

fn moved(on: On, number: u64, at: u64) -> Moved {
    Moved {
        on,
        at,
        id: Some(id(number)),
        tenant: "amber".parse().ok(),
        written_for: "amber".parse().ok(),
        delivery: 1,
        attempt: 1,
        redrive: 0,
        hops: 0,
        check: false,
        code: (on == On::DeadLetters).then(|| "channel_limit".to_owned()),
        poison: None,
        value: 0,
    }
}

/// Forty plain notifications a second apart, each seen by both listeners, and one that is scheduled.
fn good() -> History {
    let mut history = History {
        places: vec![("amber".parse().unwrap(), "alerts".parse().unwrap())],
        load: 1_000..41_000,
        lag: Some(0),
        ..History::default()
    };
    for removes_repeats in [true, false] {
        history.listeners.push(Listener {
            tenant: "amber".parse().unwrap(),
            removes_repeats,
        });
    }
    for n in 1..=40 {
        let kind = if n == 20 { Kind::Scheduled } else { Kind::Plain };
        history.accepted.push(accepted(n, kind));
        history.states.insert(id(n), Status::Dispatched);
        let at = if n == 20 { DUE + 200 } else { n * 1_000 + 10 };
        history.moved.push(moved(On::Deliveries, n, at - 5));
        history.sightings.extend([sighting(0, n, at), sighting(1, n, at)]);
    }
    history.sightings.sort_by_key(|s| s.at);
    history
}

fn strike(target: Target, action: Action, at: u64, undone: u64, until: u64) -> Strike {
    Strike {
        fault: Fault {
            target,
            action,
            lasts: Duration::from_millis(undone - at),
        },
        alone: true,
        at,
        undone,
        flowed: undone,
        until,
    }
}

fn broken(history: &History) -> Vec<&'static str> {
    check(history, &Limits::default()).broken()
}

/// What a history says after it was harmed.
fn after(harm: impl Fn(&mut History)) -> Vec<&'static str> {
    let mut history = good();
    harm(&mut history);
    broken(&history)
}

fn forget(history: &mut History, number: u64) {
    history.sightings.retain(|s| s.number != number);
    history.moved.retain(|m| m.id != Some(id(number)));
    history.states.insert(id(number), Status::Stored);
}

#[test]
fn a_good_history_breaks_nothing_and_prints_every_rule() {
    let report = check(&good(), &Limits::default());
    assert!(report.passed(), "{report}");
    let text = report.to_string();
    for rule in ["R1 ", "R2", "R3", "R14", "order", "gaps", "poison"] {
        assert!(text.contains(rule), "{text}");
    }
}

#[test]
fn what_was_accepted_and_is_nowhere_is_lost() {
    assert_eq!(after(|h| forget(h, 7)), ["R1"]);
}

#[test]
fn a_dead_letter_accounts_for_a_notification_but_one_that_nobody_asked_for_is_told() {
    let harm = |kind: Kind| {
        move |h: &mut History| {
            forget(h, 7);
            h.accepted[6].kind = kind;
            h.moved.push(moved(On::DeadLetters, 7, 7_500));
            h.states.insert(id(7), Status::Dead);
        }
    };
    assert_eq!(after(harm(Kind::TooLarge)), [""; 0]);
    assert_eq!(after(harm(Kind::Plain)), ["R8"]);
    assert_eq!(after(|h| h.moved.push(moved(On::Retry(5_000), 7, 7_500))), ["R8"]);
}

#[test]
fn what_is_told_must_be_true() {
    let told = |kind: Kind, status: Status, number: u64| {
        move |h: &mut History| {
            forget(h, number);
            h.accepted[number as usize - 1] = accepted(number, kind);
            h.states.insert(id(number), status);
        }
    };
    assert_eq!(after(told(Kind::Ttl, Status::Expired, 7)), [""; 0]);
    assert_eq!(after(told(Kind::Plain, Status::Expired, 7)), ["R1"]);
    // The newest of its key may not be collapsed; an older one may.
    assert_eq!(after(told(Kind::Collapse, Status::Collapsed, 7)), ["R1"]);
    let with_newer = |h: &mut History| {
        h.accepted[7] = accepted(8, Kind::Collapse);
        told(Kind::Collapse, Status::Collapsed, 7)(h);
    };
    assert_eq!(after(with_newer), [""; 0]);
    // It waits only for a moment that has not come, and only where something waits.
    let waits = |due: u64| {
        move |h: &mut History| {
            told(Kind::Scheduled, Status::Scheduled, 7)(h);
            h.accepted[6].due = Some(due);
        }
    };
    assert_eq!(after(waits(90_000)), [""; 0]);
    assert_eq!(after(waits(20_000)), ["R1"]);
    assert_eq!(after(told(Kind::Unacked, Status::Retrying, 7)), ["R1", "acks"]);
}

#[test]
fn early_is_never_forgiven_and_late_only_where_a_fault_lies_between() {
    let scheduled = |at: u64| {
        move |h: &mut History| {
            for s in h.sightings.iter_mut().filter(|s| s.number == 20) {
                s.at = at;
            }
        }
    };
    assert_eq!(after(scheduled(DUE - 1)), ["R2"]);
    assert_eq!(after(scheduled(DUE + 1_500)), ["R3"]);
    let struck = |h: &mut History| {
        scheduled(DUE + 1_500)(h);
        let router = strike(Target::Router(0), Action::Kill, DUE - 500, DUE + 500, DUE + 900);
        h.strikes.push(router);
    };
    assert_eq!(after(struck), [""; 0]);
}

#[test]
fn what_is_late_when_plain_ones_are_is_not_held_against_the_ladder_and_no_other_moment_excuses_it() {
    let slow = |number: u64| {
        move |h: &mut History| {
            let late = [(number, number * 1_000 + 900), (20, DUE + 1_500)];
            for s in &mut h.sightings {
                let at = late.iter().find(|(n, _)| *n == s.number);
                s.at = at.map_or(s.at, |(_, at)| *at);
            }
        }
    };
    assert_eq!(after(slow(DUE / 1_000)), [""; 0]);
    assert_eq!(after(slow(DUE / 1_000 + 1)), ["R3"]);
    // The plain one of that moment was still on its way when a fault came, after the late one was there.
    let kept_back = |number: u64| {
        move |h: &mut History| {
            slow(0)(h);
            let plain = h.sightings.iter_mut().filter(|s| s.number == number);
            plain.for_each(|s| s.at = DUE + 4_000);
            let router = strike(
                Target::Router(0),
                Action::Kill,
                DUE + 3_000,
                DUE + 3_500,
                DUE + 3_900,
            );
            h.strikes.push(router);
        }
    };
    assert_eq!(after(kept_back(DUE / 1_000)), [""; 0]);
    assert_eq!(after(kept_back(DUE / 1_000 + 2)), ["R3"]);
}

#[test]
fn a_record_of_the_ladder_comes_back_neither_early_nor_late() {
    let ladder = |back: u64| {
        move |h: &mut History| {
            h.accepted[6].kind = Kind::Acked;
            h.states.insert(id(7), Status::Acknowledged);
            let mut check = moved(On::Retry(5_000), 7, 7_100);
            (check.check, check.hops) = (true, 1);
            let mut again = moved(On::Deliveries, 7, back);
            again.delivery = 2;
            h.moved.extend([check, again]);
        }
    };
    assert_eq!(after(ladder(12_100)), [""; 0]);
    assert_eq!(after(ladder(12_099)), ["R2"]);
    assert_eq!(after(ladder(13_111)), ["R3"]);
}

#[test]
fn a_record_of_the_ladder_that_a_crash_wrote_twice_is_due_by_the_first() {
    let twice = |h: &mut History| {
        h.accepted[6].kind = Kind::Acked;
        h.states.insert(id(7), Status::Acknowledged);
        let check = |at: u64| {
            let mut check = moved(On::Retry(5_000), 7, at);
            (check.check, check.hops) = (true, 1);
            check
        };
        let mut again = moved(On::Deliveries, 7, 12_100);
        again.delivery = 2;
        h.moved.extend([check(7_100), check(7_900), again]);
    };
    assert_eq!(after(twice), [""; 0]);
}

#[test]
fn what_nobody_acknowledged_is_a_dead_letter_and_what_was_acknowledged_says_so() {
    let asks = |kind: Kind, status: Status, dead: bool| {
        move |h: &mut History| {
            h.accepted[6].kind = kind;
            h.states.insert(id(7), status);
            if dead {
                let mut letter = moved(On::DeadLetters, 7, 20_000);
                letter.code = Some("not_acknowledged".to_owned());
                h.moved.push(letter);
            }
        }
    };
    assert_eq!(after(asks(Kind::Acked, Status::Acknowledged, false)), [""; 0]);
    assert_eq!(after(asks(Kind::Unacked, Status::Dead, true)), [""; 0]);
    assert_eq!(after(asks(Kind::Unacked, Status::Dispatched, true)), ["states"]);
    assert_eq!(after(asks(Kind::Unacked, Status::Dispatched, false)), ["acks"]);
    assert_eq!(after(asks(Kind::Acked, Status::Delivered, false)), ["acks"]);
    // Given up although nothing was in the way of its acknowledgement; and although something was.
    assert_eq!(after(asks(Kind::Acked, Status::Dead, true)), ["R8"]);
    let struck = |h: &mut History| {
        asks(Kind::Acked, Status::Dead, true)(h);
        let fanout = strike(Target::Fanout(0), Action::Pause, 7_500, 19_000, 19_500);
        h.strikes.push(Strike {
            alone: false,
            ..fanout
        });
    };
    assert_eq!(after(struck), [""; 0]);
}

#[test]
fn hops_over_the_cap_and_two_outcomes_of_one_attempt_are_caught() {
    let hops = |h: &mut History| {
        let mut record = moved(On::Overflow, 7, 7_005);
        record.hops = 33;
        h.moved.push(record);
    };
    assert_eq!(after(hops), ["R5"]);
    let both = |h: &mut History| {
        h.accepted[6].kind = Kind::TooLarge;
        h.states.insert(id(7), Status::Dead);
        h.moved.push(moved(On::DeadLetters, 7, 7_500));
    };
    assert_eq!(after(both), ["R6"]);
}

#[test]
fn records_that_stay_unhandled_are_a_partition_that_stays_paused() {
    assert_eq!(after(|h| h.lag = Some(3)), ["R9"]);
    assert_eq!(after(|h| h.lag = None), ["R9"]);
}

#[test]
fn a_redrive_that_is_dispatched_twice_is_caught() {
    let redriven = |deliveries: &'static [u32]| {
        move |h: &mut History| {
            let mut back = moved(On::Redrive, 7, 20_000);
            back.redrive = 1;
            h.moved.push(back);
            for delivery in deliveries {
                let mut again = moved(On::Deliveries, 7, 21_000);
                (again.redrive, again.delivery) = (1, *delivery);
                h.moved.push(again);
            }
        }
    };
    assert_eq!(after(redriven(&[2])), [""; 0]);
    assert_eq!(after(redriven(&[2, 3])), ["R10"]);
}

#[test]
fn a_foreign_frame_and_a_record_of_another_tenant_are_caught() {
    let note = Note::Foreign("birch/alerts".to_owned());
    assert_eq!(after(|h| h.notes.push((7_000, 0, note.clone()))), ["R11"]);
    let moved_over = |h: &mut History| {
        let mut record = moved(On::Overflow, 7, 7_005);
        record.tenant = "birch".parse().ok();
        h.moved.push(record);
    };
    assert_eq!(after(moved_over), ["R11"]);
}

#[test]
fn a_listener_that_missed_something_was_told_or_the_rule_is_broken() {
    let miss = |h: &mut History| h.sightings.retain(|s| !(s.listener == 1 && s.number == 7));
    assert_eq!(after(miss), ["R14"]);
    let told = |place: usize, listener: usize| {
        move |h: &mut History| {
            miss(h);
            h.notes.push((7_000, listener, Note::Unrecovered(Some(place))));
        }
    };
    assert_eq!(after(told(0, 1)), [""; 0]);
    assert_eq!(after(told(0, 0)), ["R14"]);
}

#[test]
fn repeats_reach_only_those_who_keep_them_and_only_after_crashes() {
    let again = |listener: usize| move |h: &mut History| h.sightings.push(sighting(listener, 7, 40_500));
    assert_eq!(after(again(0)), ["R14"]);
    assert_eq!(after(again(1)), ["repeats"]);
    let crashed = |h: &mut History| {
        again(1)(h);
        h.strikes
            .push(strike(Target::Router(0), Action::Kill, 39_000, 39_100, 41_000));
    };
    assert_eq!(after(crashed), [""; 0]);
}

#[test]
fn order_holds_among_first_attempts_only() {
    let swapped = |attempt: u8| {
        move |h: &mut History| {
            for s in h.sightings.iter_mut().filter(|s| s.number == 7) {
                (s.at, s.attempt) = (9_500, attempt);
            }
            h.sightings.sort_by_key(|s| s.at);
        }
    };
    assert_eq!(after(swapped(1)), ["order"]);
    assert_eq!(after(swapped(2)), [""; 0]);
    // The scheduled one is out of its place by right, although its 202 was lost.
    assert_eq!(after(|h| drop(h.accepted.remove(19))), [""; 0]);
}

#[test]
fn gaps_poison_states_and_ends_have_their_rules() {
    let gap = Note::Break("channel:alerts: 3 behind 1".to_owned());
    assert_eq!(after(|h| h.notes.push((1, 1, gap.clone()))), ["gaps"]);
    let poison = |letter: Option<u64>| {
        move |h: &mut History| {
            h.poison.push(Poison {
                at: 1,
                mark: 1,
                what: "junk".to_owned(),
                value: 5,
            });
            if let Some(value) = letter {
                let mut record = moved(On::DeadLetters, 1, 1);
                (record.id, record.poison, record.value) = (None, Some(1), value);
                h.moved.push(record);
            }
        }
    };
    assert_eq!(after(poison(None)), ["poison"]);
    assert_eq!(after(poison(Some(6))), ["poison"]);
    assert_eq!(after(poison(Some(5))), [""; 0]);
    let behind = |h: &mut History| {
        h.states.insert(id(7), Status::Stored);
    };
    assert_eq!(after(behind), ["states"]);
    let unreadable = |h: &mut History| {
        h.states.remove(&id(7));
    };
    assert_eq!(after(unreadable), ["states"]);
    assert_eq!(after(|h| h.bad_ends.push("router-1: 1".to_owned())), ["ends"]);
}

#[test]
fn a_recovery_is_the_silence_beyond_what_was_to_be_expected() {
    // Frames every second; from 10 s to 17 s none.
    let silent = |target: Target, action: Action, undone: u64| {
        move |h: &mut History| {
            h.sightings.retain(|s| !(10_000..17_000).contains(&s.at));
            for n in 10..=16 {
                for listener in [0, 1] {
                    h.sightings.push(sighting(listener, n, 16_990 + n));
                }
            }
            h.sightings.sort_by_key(|s| (s.at, s.number));
            h.strikes.push(strike(target, action, 10_000, undone, 30_000));
        }
    };
    let fanout = silent(Target::Fanout(0), Action::Kill, 12_000);
    assert_eq!(after(|h| fanout(h)), ["recovery"]);
    assert_eq!(after(silent(Target::Router(0), Action::Kill, 12_000)), [""; 0]);
    assert_eq!(after(silent(Target::Fanout(0), Action::Pause, 13_000)), [""; 0]);
    let mut history = good();
    fanout(&mut history);
    let report = check(&history, &Limits::default());
    assert_eq!(
        (report.recovered[0].alone, report.recovered[0].frames),
        (1, 7_000)
    );
}

#[test]
fn every_seeded_bug_names_rules_that_exist() {
    let report = check(&good(), &Limits::default());
    for bug in BUGS {
        assert!(
            bug.breaks
                .iter()
                .all(|name| *name == "recovery" || report.rule(name).is_some()),
            "{bug:?}"
        );
    }
}
