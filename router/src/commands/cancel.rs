//! Cancelling: a scheduled notification is not to be delivered.
//!
//! In: a command and what the store knows. Out: the fact that it is cancelled, or that it is too late, and an
//! entry in the trail. Always: nothing is cancelled within half a second of its due time, so that who dispatches
//! it and who cancels it agree although their clocks differ.

use carillon_schemas::{
    NotificationId,
    audit::{AuditEntry, AuditKind},
    command::Command,
    status::{Stamp, Status},
};
use carillon_store::{Fact, Head, Known, StoreError};

use super::Commands;
use crate::{
    hold::{Dependency, Site},
    trail::Deed,
};

/// Before its due time by more than this, a notification can be cancelled.
const MARGIN_MS: u64 = 500;

/// What becomes of a cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    /// It is cancelled with this stamp.
    Cancel(Stamp),
    /// It was before.
    Already,
    /// It is due, or was handled.
    TooLate,
    /// There is no such notification.
    Unknown,
    /// It never was to wait.
    NotScheduled,
}

/// The policy. One that is stored and not yet in the schedule is on its way there.
fn decide(head: Option<&Head>, deliver_at: Option<u64>, now_ms: u64) -> Decision {
    let Some(head) = head else {
        return Decision::Unknown;
    };
    let waits = head.stamp.status <= Status::Scheduled;
    match (head.stamp.status, deliver_at) {
        (Status::Cancelled, _) => Decision::Already,
        (_, None) => Decision::NotScheduled,
        (_, Some(due)) if waits && now_ms.saturating_add(MARGIN_MS) < due => Decision::Cancel(Stamp {
            status: Status::Cancelled,
            ..head.stamp
        }),
        _ => Decision::TooLate,
    }
}

impl Decision {
    fn code(self) -> &'static str {
        match self {
            Self::Cancel(_) | Self::Already => "cancelled",
            Self::TooLate => "cancel_too_late",
            Self::Unknown => "cancel_unknown",
            Self::NotScheduled => "cancel_not_scheduled",
        }
    }
}

impl Commands {
    /// Carries out a cancel, for as long as it takes. May be dropped at any time and begun again.
    pub(super) async fn cancel(&self, command: &Command, id: NotificationId) {
        let mut attempts = self.jobs.holds.attempts(Site::Commands);
        loop {
            match self.try_cancel(command, id).await {
                Ok(code) => return self.meters.done("cancel", code),
                Err(StoreError::Refused(reason)) => {
                    tracing::error!(tenant = %command.tenant_id, %id, error = reason, "the store refuses a cancel, left behind");
                    return self.meters.done("cancel", "refused");
                }
                Err(error) => attempts.wait(Dependency::Store, &error.to_string()).await,
            }
        }
    }

    /// Each try looks afresh: by the time the store is back, it may be too late.
    async fn try_cancel(&self, command: &Command, id: NotificationId) -> Result<&'static str, StoreError> {
        let store = &self.jobs.store;
        let tenant = &command.tenant_id;
        let known = store.notification(tenant, id).await?;
        let head = store.heads(tenant, &[id]).await?.into_iter().next().flatten();
        let now_ms = self.jobs.clock.unix_ms();
        let decision = decide(head.as_ref(), known.as_ref().and_then(deliver_at), now_ms);
        if let Decision::Cancel(stamp) = decision {
            let fact = Fact {
                tenant: tenant.clone(),
                id,
                stamp,
                at_ms: now_ms,
                node: self.jobs.trail.node.clone(),
                sessions: None,
            };
            store.note(&[fact]).await?;
        }
        let code = decision.code();
        store.audit(&[self.entry_of(command, id, code)]).await?;
        Ok(code)
    }

    fn entry_of(&self, command: &Command, id: NotificationId, code: &'static str) -> AuditEntry {
        self.jobs.trail.entry(Deed {
            tenant: &command.tenant_id,
            of: command.id,
            at_ms: command.at,
            kind: AuditKind::Administration,
            code,
            actor: command.actor.as_deref(),
            subject: id.to_string(),
            detail: String::new(),
        })
    }
}

fn deliver_at(known: &Known) -> Option<u64> {
    known.envelope.deliver_at
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(status: Status) -> Head {
        let stamp = Stamp {
            redrive: 1,
            attempt: 2,
            status,
        };
        Head {
            stamp,
            settled: Some(stamp),
            first_delivered_at: None,
            acked_at: None,
        }
    }

    #[test]
    fn half_a_second_before_it_is_due_it_can_be_cancelled_no_more() {
        let decide = |now| decide(Some(&head(Status::Scheduled)), Some(10_000), now);
        let cancelled = head(Status::Cancelled).stamp;
        assert_eq!(decide(9_499), Decision::Cancel(cancelled));
        assert_eq!(decide(9_500), Decision::TooLate);
        assert_eq!(decide(u64::MAX), Decision::TooLate);
    }

    #[test]
    fn what_is_unknown_or_never_waited_is_told_apart() {
        assert_eq!(decide(None, Some(10_000), 0), Decision::Unknown);
        assert_eq!(
            decide(Some(&head(Status::Stored)), None, 0),
            Decision::NotScheduled
        );
        assert_eq!(
            decide(Some(&head(Status::Cancelled)), Some(10_000), 20_000),
            Decision::Already
        );
    }

    proptest! {
        #[test]
        fn only_what_still_waits_is_cancelled(at in 0usize..Status::ALL.len(), due in 0u64..2_000, now in 0u64..2_000) {
            let status = Status::ALL[at];
            let decision = decide(Some(&head(status)), Some(due), now);
            if let Decision::Cancel(stamp) = decision {
                prop_assert!(status <= Status::Scheduled && now + MARGIN_MS < due);
                prop_assert!(stamp > head(status).stamp);
            }
        }
    }
}
