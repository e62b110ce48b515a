//! What becomes of a row of the schedule.
//!
//! In: what the store knows of a notification, and the time. Out: wait, take out, or hand over. Always: pure;
//! nothing before it is due, and nothing that was cancelled.

use bytes::Bytes;
use carillon_schemas::status::Status;
use carillon_store::Head;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// Its time has not come.
    Wait,
    /// It needs no dispatch, for this reason.
    TakeOut(&'static str),
    /// It is due.
    Hand(Bytes),
}

/// The policy. What sockets took is not what a router has settled: a crash may have come between.
pub(super) fn decide(bytes: Option<Bytes>, head: Option<&Head>, due_at_ms: u64, now_ms: u64) -> Decision {
    if due_at_ms > now_ms {
        return Decision::Wait;
    }
    let settled = head.and_then(|head| head.settled);
    match (settled.map(|stamp| stamp.status), bytes) {
        (Some(Status::Cancelled), _) => Decision::TakeOut("cancelled"),
        // Dispatched, or ended otherwise; a crash left its row.
        (Some(status), _) if status >= Status::Dispatched => Decision::TakeOut("handled"),
        (_, None) => Decision::TakeOut("gone"),
        (_, Some(bytes)) => Decision::Hand(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carillon_schemas::status::Stamp;
    use proptest::prelude::*;

    fn head(status: Status) -> Head {
        let stamp = Stamp {
            redrive: 0,
            attempt: 1,
            status,
        };
        Head {
            stamp,
            settled: Some(stamp),
            first_delivered_at: None,
            acked_at: None,
        }
    }

    proptest! {
        #[test]
        fn only_what_waits_and_is_due_is_handed_over(
            status in prop::option::of(0usize..Status::ALL.len()), there: bool, due in 0u64..100, now in 0u64..100,
        ) {
            let head = status.map(|at| head(Status::ALL[at]));
            let bytes = there.then(|| Bytes::from_static(b"{}"));
            let decision = decide(bytes, head.as_ref(), due, now);
            prop_assert_eq!(decision == Decision::Wait, due > now);
            let waits = head.is_none_or(|head| head.stamp.status <= Status::Scheduled);
            prop_assert_eq!(matches!(decision, Decision::Hand(_)), due <= now && waits && there);
        }
    }

    #[test]
    fn what_is_taken_out_says_why() {
        let decide = |status, bytes| decide(bytes, Some(&head(status)), 1, 1);
        assert_eq!(decide(Status::Cancelled, None), Decision::TakeOut("cancelled"));
        let there = || Some(Bytes::new());
        assert_eq!(decide(Status::Cancelled, there()), Decision::TakeOut("cancelled"));
        assert_eq!(decide(Status::Delivered, there()), Decision::TakeOut("handled"));
        assert_eq!(decide(Status::Scheduled, None), Decision::TakeOut("gone"));
    }
}
