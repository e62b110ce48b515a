//! Channel patterns: which channels a token reaches.
//!
//! In: the `channels` claim's texts. Out: yes or no for a channel.
//! Always: `orders.*` stands for exactly one further level (`orders.eu`, neither `orders` nor
//! `orders.eu.west`), `*` for every channel of one level, and anything else for itself alone.

use carillon_schemas::ChannelName;

/// Most patterns that a token may carry.
pub(crate) const MAX_PATTERNS: usize = 100;

/// One entry of the `channels` claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChannelPattern {
    /// This channel.
    Exactly(ChannelName),
    /// Any channel that is this prefix (empty, or ending with a dot) and one level without a dot.
    OneLevelBelow(Box<str>),
}

impl ChannelPattern {
    /// Reads a pattern; `None` when it is not one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let Some(prefix) = text.strip_suffix('*') else {
            return text.parse().ok().map(Self::Exactly);
        };
        if !prefix.is_empty() {
            prefix.strip_suffix('.')?.parse::<ChannelName>().ok()?;
        }
        Some(Self::OneLevelBelow(prefix.into()))
    }

    /// Whether the channel is meant.
    pub(crate) fn matches(&self, channel: &ChannelName) -> bool {
        match self {
            Self::Exactly(name) => name == channel,
            Self::OneLevelBelow(prefix) => channel
                .as_str()
                .strip_prefix(&**prefix)
                .is_some_and(|level| !level.is_empty() && !level.contains('.')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, channel: &str) -> bool {
        ChannelPattern::parse(pattern)
            .unwrap()
            .matches(&channel.parse().unwrap())
    }

    #[test]
    fn a_star_stands_for_exactly_one_trailing_level() {
        assert!(matches("orders.*", "orders.eu"));
        assert!(matches("a.b.*", "a.b.c"));
        assert!(matches("*", "orders"));
        for channel in ["orders", "orders.eu.west", "ordersx.eu", "orders.", "x.orders.eu"] {
            assert!(!matches("orders.*", channel), "{channel}");
        }
        assert!(!matches("*", "orders.eu"));
    }

    #[test]
    fn a_pattern_without_a_star_is_the_channel_itself() {
        assert!(matches("orders.eu", "orders.eu"));
        assert!(!matches("orders", "orders.eu"));
        assert!(!matches("orders.eu", "orders"));
    }

    #[test]
    fn a_star_anywhere_else_is_no_pattern() {
        for bad in ["", "a*", "*.a", "a.*.b", "**", "a.**", ".*", "a b", "a..\u{0}.*"] {
            assert_eq!(ChannelPattern::parse(bad), None, "{bad:?}");
        }
    }
}
