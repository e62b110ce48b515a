//! Policy: the one door that every submit and command goes through, with its checks in order.
//!
//! In: a principal and what it wants to submit. Out: an admission with a permit, or what is known of an earlier
//! submit with the same key.
//! Always: cheap checks come first, and what writes comes last; nothing is published past this door.

use std::sync::Arc;

use carillon_auth::Principal;
use carillon_chassis::{clock::Clock, metrics::Counter};
use carillon_schemas::{
    ChannelName, CorrelationId, IdempotencyKey, NotificationId, TenantId, limits::SCHEDULE_AHEAD_MS,
    notification::Submission, problem::FieldError,
};
use carillon_store::Claim;
use tokio::time::Instant;

pub(crate) use self::{
    idempotency::{Keyed, Keys},
    limits::{Limits, Load, Permit},
};
use crate::{meters::Meters, refusal::Refusal};

mod idempotency;
mod limits;

/// The door.
pub(crate) struct Policy {
    limits: Arc<Limits>,
    keys: Keys,
    clock: Clock,
    deduplicated: Counter,
    republished: Counter,
}

/// A submit that asks to be let in.
pub(crate) struct Asked<'a> {
    /// Who submits; its tenant is the notification's.
    pub(crate) principal: &'a Principal,
    /// What.
    pub(crate) submission: Submission,
    /// Size of the body in bytes.
    pub(crate) bytes: usize,
    /// The idempotency key, and the hash of the body that came with it.
    pub(crate) key: Option<(IdempotencyKey, [u8; 32])>,
    /// When the request ends.
    pub(crate) until: Instant,
}

/// What was submitted and may be published.
#[derive(Debug)]
pub(crate) struct Admission {
    /// What.
    pub(crate) submission: Submission,
    /// For which tenant.
    pub(crate) tenant: TenantId,
    /// On which channel.
    pub(crate) channel: ChannelName,
    /// Its id, for ever.
    pub(crate) id: NotificationId,
    /// When it was accepted, or its key was claimed, Unix milliseconds.
    pub(crate) accepted_at: u64,
    /// Whether it may have been published before.
    pub(crate) republished: bool,
}

/// What the door says.
#[allow(
    clippy::large_enum_variant,
    reason = "lives for one call, and the large variant is the usual one"
)]
pub(crate) enum Decision {
    /// Publish it, holding the permit meanwhile.
    Publish(Admission, Permit),
    /// It is published already.
    Published {
        /// For which tenant.
        tenant: TenantId,
        /// On which channel.
        channel: ChannelName,
        /// Its id.
        id: NotificationId,
        /// The correlation id that it was published with.
        correlation: CorrelationId,
    },
}

impl Policy {
    pub(crate) fn new(limits: Arc<Limits>, keys: Keys, clock: Clock, meters: &Meters) -> Self {
        Self {
            limits,
            keys,
            clock,
            deduplicated: meters.deduplicated.clone(),
            republished: meters.republished.clone(),
        }
    }

    /// Decides. Scope and tenant were checked when the principal was made.
    ///
    /// # Errors
    /// The first check that says no.
    pub(crate) async fn admit(&self, asked: Asked<'_>) -> Result<Decision, Refusal> {
        let Asked {
            principal,
            mut submission,
            bytes,
            key,
            until,
        } = asked;
        let tenant = principal.tenant();
        // 1. May this principal speak on this channel?
        let channel = submission
            .channel
            .take()
            .unwrap_or_else(ChannelName::default_channel);
        if !principal.may_reach(&channel) {
            return Err(Refusal::Channel);
        }
        // 2. Is it for a moment that we wait for?
        let now = self.clock.unix_ms();
        must_be_near(submission.deliver_at, now)?;
        // 3. The tenant's rate and quota will be asked here.
        // 4. Is there room, in this process and in the tenant's share of it?
        let permit = self.limits.take(tenant, bytes).map_err(Refusal::Overloaded)?;
        // 5. Whose is the key? This is the only check that waits, and the only one that writes.
        let mut admission = Admission {
            submission,
            tenant: tenant.clone(),
            channel,
            id: NotificationId::at(now, &rand::random()),
            accepted_at: now,
            republished: false,
        };
        let Some((key, body_hash)) = key else {
            return Ok(Decision::Publish(admission, permit));
        };
        let claim = Claim {
            id: admission.id,
            body_hash,
            at_ms: now,
        };
        match self.keys.claim(tenant, &key, &claim, until).await? {
            Keyed::First => {}
            Keyed::Again { id, at_ms } => {
                self.deduplicated.inc();
                self.republished.inc();
                admission.id = id;
                admission.accepted_at = at_ms;
                admission.republished = true;
            }
            Keyed::Published { id, correlation } => {
                self.deduplicated.inc();
                return Ok(Decision::Published {
                    tenant: admission.tenant,
                    channel: admission.channel,
                    id,
                    correlation,
                });
            }
        }
        Ok(Decision::Publish(admission, permit))
    }

    /// Lets in a command of so many bytes for a tenant: commands take room beside its submits.
    ///
    /// # Errors
    /// [`Refusal::Overloaded`] when there is none.
    pub(crate) fn admit_command(&self, tenant: &TenantId, bytes: usize) -> Result<Permit, Refusal> {
        self.limits.take(tenant, bytes).map_err(Refusal::Overloaded)
    }

    /// A notification with a key was published: a repeat need not be published again.
    pub(crate) fn published(&self, id: NotificationId, correlation: CorrelationId) {
        self.keys.remember(id, correlation);
    }
}

/// A moment in the past means at once.
fn must_be_near(deliver_at: Option<u64>, now_ms: u64) -> Result<(), Refusal> {
    if deliver_at.is_none_or(|at| at <= now_ms.saturating_add(SCHEDULE_AHEAD_MS)) {
        return Ok(());
    }
    let days = SCHEDULE_AHEAD_MS / 86_400_000;
    let rule = format!("must be at most {days} days ahead, in Unix milliseconds");
    Err(Refusal::Fields(vec![FieldError::new("/deliver_at", rule)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_may_lie_thirty_days_ahead_and_not_a_millisecond_more() {
        let now = 1_700_000_000_000;
        for good in [None, Some(0), Some(now), Some(now + SCHEDULE_AHEAD_MS)] {
            assert_eq!(must_be_near(good, now), Ok(()), "{good:?}");
        }
        for bad in [now + SCHEDULE_AHEAD_MS + 1, u64::MAX] {
            assert!(
                matches!(must_be_near(Some(bad), now), Err(Refusal::Fields(_))),
                "{bad}"
            );
        }
    }
}
