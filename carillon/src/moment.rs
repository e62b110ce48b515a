//! Moments on the command line: what people write for a time, and how a time is shown to them.
//!
//! In: Unix milliseconds, RFC 3339, or a distance from now. Out: Unix milliseconds, and back to RFC 3339.
//! Always: a distance has a sign and a unit, so that a bare number is never taken for one.

use std::str::FromStr;

use carillon_chassis::clock::Clock;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A moment as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Unix milliseconds.
    At(u64),
    /// So many milliseconds from now.
    Ahead(u64),
    /// So many milliseconds ago.
    Ago(u64),
}

/// The text is no moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is written as Unix milliseconds, as 2026-01-31T12:00:00Z, or as a distance from now such as -1h or +30s"
)]
pub(crate) struct MomentError;

impl Moment {
    /// The moment in Unix milliseconds.
    pub(crate) fn unix_ms(self, clock: &Clock) -> u64 {
        match self {
            Self::At(ms) => ms,
            Self::Ahead(ms) => clock.unix_ms().saturating_add(ms),
            Self::Ago(ms) => clock.unix_ms().saturating_sub(ms),
        }
    }
}

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, MomentError> {
        if let Some(distance) = text.strip_prefix('+') {
            return milliseconds(distance).map(Self::Ahead);
        }
        if let Some(distance) = text.strip_prefix('-') {
            return milliseconds(distance).map(Self::Ago);
        }
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return text.parse().map(Self::At).map_err(|_| MomentError);
        }
        let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| MomentError)?;
        let ms = moment.unix_timestamp_nanos() / 1_000_000;
        u64::try_from(ms).map(Self::At).map_err(|_| MomentError)
    }
}

/// A whole number with its unit.
fn milliseconds(text: &str) -> Result<u64, MomentError> {
    let at = text.find(|c: char| !c.is_ascii_digit()).ok_or(MomentError)?;
    let (number, unit) = text.split_at(at);
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(MomentError),
    };
    let number: u64 = number.parse().map_err(|_| MomentError)?;
    number.checked_mul(seconds * 1000).ok_or(MomentError)
}

/// A Unix time in milliseconds for people, in UTC: `2023-11-14T22:13:20.25Z`.
pub(crate) fn shown(unix_ms: u64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000)
        .ok()
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| unix_ms.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_in_three_ways() {
        let clock = Clock::manual(10_000_000);
        for (text, ms) in [
            ("0", 0),
            ("1700000000250", 1_700_000_000_250),
            ("2023-11-14T22:13:20.25Z", 1_700_000_000_250),
            ("2023-11-14T23:13:20+01:00", 1_700_000_000_000),
            ("+30s", 10_030_000),
            ("-5m", 9_700_000),
            ("-1d", 0),
        ] {
            assert_eq!(text.parse::<Moment>().unwrap().unix_ms(&clock), ms, "{text}");
        }
        for bad in [
            "",
            "now",
            "30s",
            "+30",
            "-h",
            "+1.5h",
            "-1w",
            "2023-11-14",
            "1969-12-31T23:59:59Z",
            "99999999999999999999",
            "+99999999999999999999d",
            "+9999999999999999d",
        ] {
            assert_eq!(bad.parse::<Moment>(), Err(MomentError), "{bad}");
        }
    }

    #[test]
    fn a_moment_is_shown_as_it_may_be_written() {
        assert_eq!(shown(1_700_000_000_250), "2023-11-14T22:13:20.25Z");
        assert_eq!(
            shown(1_700_000_000_250).parse(),
            Ok(Moment::At(1_700_000_000_250))
        );
        assert_eq!(shown(u64::MAX), u64::MAX.to_string());
    }
}
