//! The policy, case by case.

use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_760_000_000_000;

fn fresh() -> Travel {
    Travel::begins(NOW)
}

fn judge(outcome: Outcome) -> Verdict {
    verdict(outcome, &fresh(), NOW)
}

fn code(verdict: Verdict) -> Code {
    match verdict {
        Verdict::DeadLetter(reason) => reason.code,
        other => panic!("{other:?}"),
    }
}

fn alone(travel: &Travel, now_ms: u64) -> Verdict {
    verdict(Outcome::Alone("slow".to_owned()), travel, now_ms)
}

fn head(redrive: u8, attempt: u8, status: Status) -> Head {
    let stamp = Stamp {
        redrive,
        attempt,
        status,
    };
    Head {
        stamp,
        settled: (!status.is_receipt()).then_some(stamp),
        first_delivered_at: None,
        acked_at: None,
    }
}

fn store_error() -> impl Strategy<Value = StoreError> {
    prop_oneof![
        ".{0,20}".prop_map(StoreError::Unavailable),
        ".{0,20}".prop_map(StoreError::Full),
        ".{0,20}".prop_map(StoreError::Corrupt),
        ".{0,20}".prop_map(StoreError::NotMigrated),
        Just(StoreError::Closed),
    ]
}

fn send_error() -> impl Strategy<Value = SendError> {
    prop_oneof![
        Just(SendError::QueueFull),
        ".{0,20}".prop_map(SendError::Unavailable),
        ".{0,20}".prop_map(SendError::OutcomeUnknown),
        ".{0,20}".prop_map(SendError::Refused),
    ]
}

fn travel() -> impl Strategy<Value = Travel> {
    (1u8..=65, 0u8..=64, 0u8..=4, 0u64..200_000_000, any::<bool>()).prop_map(
        |(attempt, hops, redrive, age, check)| Travel {
            attempt,
            hops,
            redrive,
            check,
            delivery: 1,
            first_seen_ms: NOW - age,
            ..fresh()
        },
    )
}

proptest! {
    #[test]
    fn trouble_of_a_dependency_is_held_however_far_a_record_came(
        store in store_error(), send in send_error(), travel in travel(),
    ) {
        prop_assert!(store.is_systemic());
        let store = verdict(Outcome::Store(store), &travel, NOW);
        prop_assert!(matches!(store, Verdict::Hold(Dependency::Store, _)));
        let send = verdict(Outcome::Send(send), &travel, NOW);
        prop_assert!(matches!(send, Verdict::Hold(Dependency::Kafka, _)));
    }

    #[test]
    fn poison_is_a_dead_letter_with_its_own_code(at in 0..Code::ALL.len(), text in ".{0,20}") {
        let code = Code::ALL[at];
        let reason = Reason { class: code.class(), code, text: text.clone() };
        prop_assert_eq!(judge(Outcome::Poison(Poison::new(code, text))), Verdict::DeadLetter(reason));
    }

    #[test]
    fn a_record_goes_to_the_ladder_exactly_while_no_stop_condition_holds(travel in travel()) {
        let stops = travel.attempt >= 6 || travel.hops >= 32 || NOW - travel.first_seen_ms >= 86_400_000;
        match alone(&travel, NOW) {
            Verdict::Retry(reason) => prop_assert!(!stops && reason.class == Class::Transient),
            Verdict::DeadLetter(_) => prop_assert!(stops),
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn a_message_is_cut_at_a_character(text in "\\PC{0,400}") {
        let short = Reason::new(Code::TooOld, text.clone()).message();
        prop_assert!(text.starts_with(&short) && short.len() <= MESSAGE_BYTES);
        prop_assert!(short.len() == text.len() || short.len() > MESSAGE_BYTES - 4);
    }
}

#[test]
fn each_stop_condition_has_its_code() {
    assert!(matches!(alone(&fresh(), NOW), Verdict::Retry(_)));
    let sixth = Travel {
        attempt: 6,
        ..fresh()
    };
    assert_eq!(code(alone(&sixth, NOW)), Code::StoreTimeout);
    assert_eq!(code(alone(&fresh(), NOW + AGE_MOST_MS)), Code::TooOld);
    let moved = Travel { hops: 32, ..fresh() };
    assert_eq!(code(alone(&moved, NOW)), Code::TooManyHops);
}

#[test]
fn what_one_record_alone_is_refused_for_is_a_dead_letter() {
    let refused = Outcome::Store(StoreError::Refused("no".to_owned()));
    assert_eq!(code(judge(refused)), Code::StoreRefused);
    assert_eq!(code(judge(Outcome::Send(SendError::TooLarge))), Code::TooLarge);
}

#[test]
fn a_check_is_dispatched_again_until_the_last_tier() {
    let unacknowledged = |travel: &Travel, last| verdict(Outcome::Unacknowledged { last }, travel, NOW);
    assert_eq!(unacknowledged(&fresh(), false), Verdict::Proceed);
    assert_eq!(code(unacknowledged(&fresh(), true)), Code::NotAcknowledged);
    let sixth = Travel {
        attempt: 6,
        ..fresh()
    };
    assert_eq!(code(unacknowledged(&sixth, false)), Code::NotAcknowledged);
}

fn before(head: Option<Head>, travel: &Travel) -> Verdict {
    verdict(Outcome::Before(head), travel, NOW)
}

#[test]
fn what_was_dispatched_in_this_redrive_is_done_and_what_was_not_is_not() {
    assert_eq!(before(None, &fresh()), Verdict::Proceed);
    let redriven = Travel {
        redrive: 1,
        hops: 1,
        ..fresh()
    };
    for status in Status::ALL {
        let expected = |done: bool| if done { Verdict::Done } else { Verdict::Proceed };
        let done = expected(status >= Status::Dispatched && !status.is_receipt());
        assert_eq!(before(Some(head(0, 1, status)), &fresh()), done, "{status:?}");
        assert_eq!(before(Some(head(1, 1, status)), &redriven), done);
        assert_eq!(before(Some(head(0, 6, status)), &redriven), Verdict::Proceed);
        let later = expected(!status.is_receipt());
        assert_eq!(before(Some(head(2, 1, status)), &redriven), later);
    }
}

#[test]
fn what_a_socket_took_is_dispatched_again_unless_a_router_said_that_all_is_durable() {
    let second = Travel {
        attempt: 2,
        hops: 1,
        ..fresh()
    };
    let check = Travel {
        check: true,
        delivery: 1,
        hops: 1,
        ..fresh()
    };
    for travel in [second, check] {
        let mut known = head(0, 2, Status::Delivered);
        assert_eq!(before(Some(known), &travel), Verdict::Proceed);
        known.settled = head(0, 2, Status::Stored).settled;
        assert_eq!(before(Some(known), &travel), Verdict::Proceed);
        known.settled = head(0, 2, Status::Dispatched).settled;
        assert_eq!(before(Some(known), &travel), Verdict::Done);
    }
}

#[test]
fn a_retry_is_done_when_its_notification_went_on_and_not_because_the_attempt_before_failed() {
    let second = Travel {
        attempt: 2,
        hops: 1,
        ..fresh()
    };
    for (of, status, done) in [
        (1, Status::Stored, false),
        (1, Status::Retrying, false),
        (1, Status::Dispatched, true),
        (1, Status::Dead, true),
        (2, Status::Stored, false),
        (2, Status::Retrying, true),
        (2, Status::Delivered, false),
        (2, Status::Dispatched, true),
        (3, Status::Stored, true),
    ] {
        let expected = if done { Verdict::Done } else { Verdict::Proceed };
        assert_eq!(
            before(Some(head(0, of, status)), &second),
            expected,
            "{of} {status:?}"
        );
    }
}

#[test]
fn a_check_is_done_when_it_was_acknowledged_asked_before_or_ended_otherwise() {
    let check = Travel {
        check: true,
        delivery: 1,
        hops: 1,
        ..fresh()
    };
    let mut acked = head(0, 1, Status::Acknowledged);
    assert_eq!(before(Some(acked), &check), Verdict::Proceed);
    acked.acked_at = Some(NOW);
    for (known, done) in [
        (acked, true),
        (head(0, 1, Status::Dispatched), false),
        (head(0, 1, Status::Delivered), false),
        (head(0, 2, Status::Stored), false),
        (head(0, 2, Status::Dispatched), true),
        (head(0, 1, Status::Dead), true),
        (head(0, 1, Status::Collapsed), true),
        (head(1, 1, Status::Accepted), true),
    ] {
        let expected = if done { Verdict::Done } else { Verdict::Proceed };
        assert_eq!(before(Some(known), &check), expected, "{known:?}");
    }
}
