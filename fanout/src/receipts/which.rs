//! Which delivery a record is: what its headers say.
//!
//! In: the headers of a delivery record. Out: delivery, attempt and redrive.
//! Always: what is absent, doubled or no number of its range counts as the first.

use carillon_schemas::headers::{self, Headers};

/// Which delivery of a notification, in which attempt and redrive. The later one is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Which {
    /// In which redrive, from 0.
    pub(crate) redrive: u8,
    /// In which attempt, from 1.
    pub(crate) attempt: u8,
    /// Which deliberate repeat, from 1.
    pub(crate) delivery: u32,
}

impl Which {
    /// The first of everything.
    pub(crate) const FIRST: Self = Self {
        redrive: 0,
        attempt: 1,
        delivery: 1,
    };

    /// What the headers of a delivery record say.
    pub(crate) fn of(fields: &Headers) -> Self {
        let text = |name| fields.text(name);
        let number = |name| text(name)?.parse::<u8>().ok();
        let delivery = text(headers::DELIVERY).and_then(|text| text.parse().ok());
        Self {
            redrive: number(headers::REDRIVE_COUNT).unwrap_or(0),
            attempt: number(headers::ATTEMPT).unwrap_or(1).max(1),
            delivery: delivery.unwrap_or(1).max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_header_says_is_the_first() {
        let mut fields = Headers::default();
        assert_eq!(Which::of(&fields), Which::FIRST);
        for bad in ["", "x", "-1", "0", "99999999999"] {
            fields.set(headers::DELIVERY, bad);
            fields.set(headers::ATTEMPT, bad);
            assert_eq!(Which::of(&fields), Which::FIRST, "{bad}");
        }
        fields.set(headers::DELIVERY, "1760000000");
        fields.set(headers::ATTEMPT, "3");
        fields.set(headers::REDRIVE_COUNT, "2");
        let later = Which::of(&fields);
        assert_eq!(
            (later.delivery, later.attempt, later.redrive),
            (1_760_000_000, 3, 2)
        );
        assert!(later > Which::FIRST);
    }
}
