//! Verdicts: what becomes of a record, given how its handling ended.
//!
//! In: an outcome. Out: done, hold in place, or dead letter. Always: pure and total, the whole policy in one
//! match; trouble of the store or of Kafka never makes a dead letter.

use carillon_bus::SendError;
use carillon_schemas::status::Status;
use carillon_store::StoreError;

use crate::{
    hold::Dependency,
    poison::{Class, Code, Poison},
};

/// How one step of a record's handling ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It was published again, and this is what the store knows of the first time.
    Republished(Option<Status>),
    /// It cannot be read.
    Poison(Poison),
    /// The store did not take it, alone.
    Store(StoreError),
    /// Kafka did not take its delivery.
    Send(SendError),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing is left to do: let its offset go.
    Done,
    /// Not decided by this outcome: its handling begins or goes on.
    Proceed,
    /// Systemic: keep it here and try again.
    Hold(Dependency, String),
    /// It never will work: to the dead letters, then let its offset go.
    DeadLetter(Reason),
}

/// What a dead letter says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) class: Class,
    pub(crate) code: Code,
    pub(crate) text: String,
}

/// The policy.
pub(crate) fn verdict(outcome: Outcome) -> Verdict {
    match outcome {
        Outcome::Republished(Some(status)) if status >= Status::Dispatched => Verdict::Done,
        Outcome::Republished(_) => Verdict::Proceed,
        Outcome::Poison(poison) => dead(poison.code, poison.reason),
        Outcome::Store(StoreError::Refused(text)) => dead(Code::StoreRefused, text),
        Outcome::Store(error) => Verdict::Hold(Dependency::Store, error.to_string()),
        Outcome::Send(error @ SendError::TooLarge) => dead(Code::TooLarge, error.to_string()),
        // Refused is a missing topic or right, which every record meets alike: an operator must act, and
        // the records wait for it.
        Outcome::Send(error) => Verdict::Hold(Dependency::Kafka, error.to_string()),
    }
}

fn dead(code: Code, text: String) -> Verdict {
    Verdict::DeadLetter(Reason {
        class: code.class(),
        code,
        text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn store_error() -> impl Strategy<Value = StoreError> {
        prop_oneof![
            ".{0,20}".prop_map(StoreError::Unavailable),
            ".{0,20}".prop_map(StoreError::Full),
            ".{0,20}".prop_map(StoreError::Corrupt),
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

    proptest! {
        #[test]
        fn trouble_of_a_dependency_is_held_and_names_it(store in store_error(), send in send_error()) {
            prop_assert!(store.is_systemic());
            prop_assert!(matches!(verdict(Outcome::Store(store)), Verdict::Hold(Dependency::Store, _)));
            prop_assert!(matches!(verdict(Outcome::Send(send)), Verdict::Hold(Dependency::Kafka, _)));
        }

        #[test]
        fn poison_is_a_dead_letter_with_its_own_code(at in 0..Code::ALL.len(), text in ".{0,20}") {
            let code = Code::ALL[at];
            let reason = Reason { class: code.class(), code, text: text.clone() };
            prop_assert_eq!(verdict(Outcome::Poison(Poison::new(code, text))), Verdict::DeadLetter(reason));
        }
    }

    #[test]
    fn what_one_record_alone_is_refused_for_is_a_dead_letter() {
        let code = |outcome| match verdict(outcome) {
            Verdict::DeadLetter(reason) => reason.code,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            code(Outcome::Store(StoreError::Refused("no".to_owned()))),
            Code::StoreRefused
        );
        assert_eq!(code(Outcome::Send(SendError::TooLarge)), Code::TooLarge);
    }

    #[test]
    fn a_republished_notification_is_done_from_dispatched_on_and_not_before() {
        assert_eq!(verdict(Outcome::Republished(None)), Verdict::Proceed);
        for status in Status::ALL {
            let done = status.rank() >= Status::Dispatched.rank();
            let expected = if done { Verdict::Done } else { Verdict::Proceed };
            assert_eq!(
                verdict(Outcome::Republished(Some(status))),
                expected,
                "{status:?}"
            );
        }
    }
}
