//! Kinds of notifications that the load is made of, and what may become of each.
//!
//! In: a place, a number, the moment. Out: a submission of a kind. Always: the same place and number give the same
//! kind, so that a repeat under its key is the same request but for its moment of delivery, which is fixed at first.

use std::fmt;

use carillon_schemas::{
    notification::{Audience, Priority, Submission},
    status::Status,
};
use serde::Serialize;

use super::random::Random;
use crate::journal::Place;

/// A kind of notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Kind {
    /// Nothing special.
    Plain,
    /// High or low priority: the order in its channel is as ever.
    Priority,
    /// To a user and not to the channel.
    User,
    /// With a short time to live.
    Ttl,
    /// With a collapse key, of which a place has a few.
    Collapse,
    /// `require_ack`, and the listeners acknowledge.
    Acked,
    /// `require_ack`, and nobody does.
    Unacked,
    /// `deliver_at` a few seconds ahead.
    Scheduled,
    /// Larger than its channel takes.
    TooLarge,
}

/// How long a notification of [`Kind::Ttl`] lives.
pub const TTL_SECONDS: u32 = 5;
/// What a channel takes that is limited, in bytes of the envelope.
pub const CHANNEL_LIMIT: usize = 2_048;
/// One in so many of a place is not plain.
const SPECIAL: usize = 3;

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Plain,
        Self::Priority,
        Self::User,
        Self::Ttl,
        Self::Collapse,
        Self::Acked,
        Self::Unacked,
        Self::Scheduled,
        Self::TooLarge,
    ];

    /// A word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Priority => "priority",
            Self::User => "user",
            Self::Ttl => "ttl",
            Self::Collapse => "collapse",
            Self::Acked => "acked",
            Self::Unacked => "unacked",
            Self::Scheduled => "scheduled",
            Self::TooLarge => "too_large",
        }
    }

    /// The kind of a word.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether it may end in this way without a frame.
    pub fn may_end(self, status: Status) -> bool {
        match status {
            Status::Expired => self == Self::Ttl,
            Status::Collapsed => self == Self::Collapse,
            Status::Dead => matches!(self, Self::TooLarge | Self::Unacked),
            _ => false,
        }
    }

    /// Whether every listener sees it, one that comes back from an absence too.
    pub fn is_for_all(self) -> bool {
        !matches!(self, Self::Ttl | Self::Collapse | Self::TooLarge)
    }

    /// Whether it is repeated deliberately.
    pub fn repeats(self) -> bool {
        matches!(self, Self::Acked | Self::Unacked)
    }

    /// Whether it keeps its place in the order of its channel.
    pub fn keeps_order(self) -> bool {
        self != Self::Scheduled
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a number of a place is, and how it is submitted.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Its kind.
    pub kind: Kind,
    /// The request.
    pub submission: Submission,
}

/// Makes the number of a place; `special` are the kinds beside the plain one, `only` is a place's only kind.
pub fn recipe(place: &Place, number: u64, now_ms: u64, special: &[Kind], only: Option<Kind>) -> Recipe {
    let salt = place.0.as_str().bytes().chain(place.1.as_str().bytes());
    let salt = salt.fold(number, |hash, byte| {
        hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte)
    });
    let mut random = Random::new(salt);
    let drawn = match special {
        [_, ..] if random.once_in(SPECIAL) => special[random.below(special.len())],
        _ => Kind::Plain,
    };
    let kind = only.unwrap_or(drawn);
    let mut submission = Submission::text(format!("n={number}"));
    submission.channel = Some(place.1.clone());
    submission.kind = Some(kind.as_str().to_owned());
    match kind {
        Kind::Plain => {}
        Kind::Priority => {
            let high = random.once_in(2);
            submission.priority = Some(if high { Priority::High } else { Priority::Low });
        }
        Kind::User => {
            submission.audience = Some(Audience::User);
            submission.user_id = USER.parse().ok();
        }
        Kind::Ttl => submission.ttl_seconds = Some(TTL_SECONDS),
        Kind::Collapse => submission.collapse_key = format!("k{}", random.below(2)).parse().ok(),
        Kind::Acked | Kind::Unacked => submission.require_ack = Some(true),
        Kind::Scheduled => submission.deliver_at = Some(now_ms + 2_000 + random.below(6_000) as u64),
        Kind::TooLarge => submission.title = Some("x".repeat(400)),
    }
    if kind == Kind::TooLarge {
        submission.content.push(' ');
        submission.content.push_str(&"x".repeat(CHANNEL_LIMIT));
    }
    Recipe { kind, submission }
}

/// The user that every listener is, and that user notifications are for.
pub const USER: &str = "u1";
/// What begins the content of a notification that nobody submitted.
pub const FORGED: &str = "forged";

/// The number in a content that a recipe made.
pub fn number(content: &str) -> Option<u64> {
    let digits = content.strip_prefix("n=")?;
    digits.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_a_place_is_always_the_same_and_reads_back() {
        let place: Place = ("acme".parse().unwrap(), "alerts".parse().unwrap());
        for n in 1..200 {
            let one = recipe(&place, n, 1_000, &Kind::ALL, None);
            let two = recipe(&place, n, 1_000, &Kind::ALL, None);
            assert_eq!(one.kind, two.kind);
            assert_eq!(
                serde_json::to_string(&one.submission).unwrap(),
                serde_json::to_string(&two.submission).unwrap()
            );
            assert_eq!(number(&one.submission.content), Some(n));
        }
        let kinds: std::collections::BTreeSet<_> = (1..400)
            .map(|n| recipe(&place, n, 0, &Kind::ALL, None).kind)
            .collect();
        assert_eq!(kinds.len(), Kind::ALL.len());
        assert_eq!(recipe(&place, 1, 0, &[], None).kind, Kind::Plain);
    }

    #[test]
    fn names_read_back() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.as_str()), Some(kind));
        }
        assert_eq!(Kind::from_name("nothing"), None);
    }
}
