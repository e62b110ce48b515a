//! The gate: whether a stored notification is dispatched now.
//!
//! In: a notification, how far it has come, what the store knows of it, the time. Out: dispatch, or the other
//! thing that becomes of it. Always: pure; exactly one answer, and what is past is judged before what is to come.

use std::{collections::HashMap, sync::Arc};

use carillon_schemas::{ChannelName, NotificationId, TenantId};
use carillon_store::NewNotification;

use crate::{
    ladder::Ladder,
    poison::{Code, Poison},
    travel::Travel,
    verdict::{Outcome, Verdict, too_many_hops, verdict},
    work::{End, Work},
};

/// Most bytes of an envelope, by tenant and channel; no entry is no limit of the channel's own.
pub type ChannelLimits = HashMap<(TenantId, ChannelName), usize>;

/// The room.
pub(crate) struct Gate {
    pub(crate) limits: ChannelLimits,
    pub(crate) ladder: Arc<Ladder>,
}

impl Gate {
    /// Ends those that are not dispatched now; the others are in their dispatch afterwards. `latest[i]` is the newest
    /// of the stream and key of `work.news[i]`.
    pub(crate) fn pass(&self, work: &mut Work, latest: &[Option<NotificationId>], now_ms: u64) {
        let ends = work
            .iter()
            .zip(latest)
            .enumerate()
            .filter_map(|(at, ((way, new), latest))| {
                let candidate = Candidate {
                    new,
                    travel: &way.travel,
                    latest: *latest,
                    last_check: way.travel.check && self.ladder.is_last_check(way.travel.attempt),
                };
                Some((at, gate(&candidate, &self.limits, now_ms)?))
            });
        work.end(ends.collect());
        for way in &mut work.ways {
            way.travel = way.travel.dispatching();
        }
    }
}

/// What is known of a notification when it stands before the gate.
pub(crate) struct Candidate<'a> {
    pub(crate) new: &'a NewNotification,
    pub(crate) travel: &'a Travel,
    /// The newest notification of its stream and collapse key, where it has a key and one is known.
    pub(crate) latest: Option<NotificationId>,
    /// The check that it is has waited on the last tier.
    pub(crate) last_check: bool,
}

/// What becomes of it instead of a dispatch; `None` lets it through.
pub(crate) fn gate(candidate: &Candidate<'_>, limits: &ChannelLimits, now_ms: u64) -> Option<End> {
    let Candidate { new, travel, .. } = candidate;
    let envelope = &new.envelope;
    if envelope.is_expired(now_ms) {
        return Some(End::Expired);
    }
    if candidate
        .latest
        .is_some_and(|latest| latest != envelope.notification_id)
    {
        return Some(End::Collapsed);
    }
    if travel.check {
        let last = candidate.last_check;
        return End::of(verdict(Outcome::Unacknowledged { last }, travel, now_ms));
    }
    if let Some(due_ms) = envelope.deliver_at.filter(|at| *at > now_ms) {
        return Some(End::Scheduled { due_ms });
    }
    let poison = over_limit(new, limits).or_else(|| no_room_for_check(new, travel));
    poison.and_then(|poison| End::of(verdict(Outcome::Poison(poison), travel, now_ms)))
}

fn over_limit(new: &NewNotification, limits: &ChannelLimits) -> Option<Poison> {
    if limits.is_empty() {
        return None;
    }
    let envelope = &new.envelope;
    let channel = (envelope.tenant_id.clone(), envelope.channel.clone());
    let most = *limits.get(&channel)?;
    let bytes = new.bytes.len();
    (bytes > most).then(|| {
        let text = format!("{bytes} bytes, and the channel allows {most}");
        Poison::new(Code::ChannelLimit, text)
    })
}

/// Its check would be one move more.
fn no_room_for_check(new: &NewNotification, travel: &Travel) -> Option<Poison> {
    new.envelope.require_ack.then(|| too_many_hops(travel)).flatten()
}

impl End {
    /// What a verdict ends; `None` when the handling goes on.
    pub(crate) fn of(verdict: Verdict) -> Option<Self> {
        match verdict {
            Verdict::Done => Some(Self::Done),
            Verdict::Retry(reason) => Some(Self::Retry(reason)),
            Verdict::DeadLetter(reason) => Some(Self::Dead(reason)),
            Verdict::Proceed | Verdict::Hold(..) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{open::open, verdict::HOPS_MOST, work::sample};

    const NOW: u64 = 1_760_000_100_000;

    fn new(change: impl Fn(&mut NewNotification)) -> NewNotification {
        let mut new = open(&sample::record("acme", 1), &Arc::from("r1"), NOW).unwrap();
        change(&mut new);
        new
    }

    fn check() -> Travel {
        Travel {
            check: true,
            delivery: 1,
            hops: 1,
            ..Travel::begins(NOW)
        }
    }

    fn pass(new: &NewNotification, travel: &Travel) -> Option<End> {
        with(new, travel, None, false)
    }

    fn with(
        new: &NewNotification,
        travel: &Travel,
        latest: Option<NotificationId>,
        last: bool,
    ) -> Option<End> {
        let candidate = Candidate {
            new,
            travel,
            latest,
            last_check: last,
        };
        gate(&candidate, &ChannelLimits::new(), NOW)
    }

    fn code(end: Option<End>) -> Code {
        match end {
            Some(End::Dead(reason)) => reason.code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_plain_notification_passes() {
        assert_eq!(pass(&new(|_| {}), &Travel::begins(NOW)), None);
    }

    #[test]
    fn what_expired_is_told_and_what_is_to_come_waits() {
        let travel = Travel::begins(NOW);
        assert_eq!(
            pass(&new(|n| n.envelope.expires_at = Some(NOW)), &travel),
            Some(End::Expired)
        );
        assert_eq!(
            pass(&new(|n| n.envelope.expires_at = Some(NOW + 1)), &travel),
            None
        );
        assert_eq!(pass(&new(|n| n.envelope.deliver_at = Some(NOW)), &travel), None);
        let later = new(|n| n.envelope.deliver_at = Some(NOW + 1));
        assert_eq!(pass(&later, &travel), Some(End::Scheduled { due_ms: NOW + 1 }));
    }

    #[test]
    fn an_older_one_of_its_key_collapses_and_the_newest_does_not() {
        let new = new(|n| n.envelope.collapse_key = Some("k".parse().unwrap()));
        let other = "019a0000-0000-7000-8000-ffffffffffff".parse().ok();
        let travel = Travel::begins(NOW);
        assert_eq!(with(&new, &travel, other, false), Some(End::Collapsed));
        let own = Some(new.envelope.notification_id);
        assert_eq!(with(&new, &travel, own, false), None);
    }

    #[test]
    fn one_over_its_channels_limit_is_a_dead_letter_and_no_other_channels() {
        let new = new(|_| {});
        let travel = Travel::begins(NOW);
        let limit = |tenant: &str, bytes| {
            let channel = (tenant.parse().unwrap(), "alerts".parse().unwrap());
            ChannelLimits::from([(channel, bytes)])
        };
        let candidate = Candidate {
            new: &new,
            travel: &travel,
            latest: None,
            last_check: false,
        };
        let bytes = new.bytes.len();
        assert_eq!(
            code(gate(&candidate, &limit("acme", bytes - 1), NOW)),
            Code::ChannelLimit
        );
        assert_eq!(gate(&candidate, &limit("acme", bytes), NOW), None);
        assert_eq!(gate(&candidate, &limit("globex", 1), NOW), None);
    }

    #[test]
    fn a_check_passes_to_be_dispatched_again_until_it_was_the_last() {
        let new = new(|n| n.envelope.require_ack = true);
        assert_eq!(with(&new, &check(), None, false), None);
        assert_eq!(code(with(&new, &check(), None, true)), Code::NotAcknowledged);
        let spent = Travel {
            hops: HOPS_MOST,
            ..Travel::begins(NOW)
        };
        assert_eq!(code(pass(&new, &spent)), Code::TooManyHops);
    }

    proptest! {
        #[test]
        fn what_expired_is_never_scheduled_nor_dispatched(expires in 0u64..=NOW, due: Option<u64>, is_check: bool) {
            let new = new(|n| {
                n.envelope.expires_at = Some(expires);
                n.envelope.deliver_at = due;
            });
            let travel = if is_check { check() } else { Travel::begins(NOW) };
            prop_assert_eq!(pass(&new, &travel), Some(End::Expired));
        }
    }
}
