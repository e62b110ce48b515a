//! Names of things: tenants, channels, users, notifications, streams.
//!
//! In: text from anywhere. Out: values that have been checked, cheap to clone.
//! Always: a value of one of these types satisfies its rule; there is no way round the parser.

use std::{fmt, str::FromStr, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::limits;

/// Why a text is not a valid id. The message names the rule, never the rejected text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty.
    #[error("must not be empty")]
    Empty,
    /// The text is longer than its bound, in bytes.
    #[error("must be at most {0} bytes long")]
    TooLong(usize),
    /// A character is outside the allowed set.
    #[error("may only contain {0}")]
    Character(&'static str),
    /// Not a UUID.
    #[error("must be a UUID")]
    NotAUuid,
    /// A stream is written `channel:<name>` or `user:<id>`.
    #[error("must be written channel:<name> or user:<id>")]
    NotAStream,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $max:expr, $set:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, JsonSchema)]
        #[schemars(with = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            fn check(text: &str) -> Result<(), IdError> {
                if text.is_empty() {
                    return Err(IdError::Empty);
                }
                if text.len() > $max {
                    return Err(IdError::TooLong($max));
                }
                let allowed: fn(usize, char) -> bool = $allowed;
                if !text.char_indices().all(|(at, c)| allowed(at, c)) {
                    return Err(IdError::Character($set));
                }
                Ok(())
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::check(text)?;
                Ok(Self(Arc::from(text)))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

text_id!(
    /// A tenant: `[a-z0-9][a-z0-9_-]{0,62}`, because it stands in Kafka topic names.
    TenantId, limits::TENANT_ID_BYTES, "lower-case letters, digits, and after the first also _ and -",
    |at, c| c.is_ascii_lowercase() || c.is_ascii_digit() || (at > 0 && matches!(c, '_' | '-'))
);
text_id!(
    /// A channel of a tenant.
    ChannelName, limits::CHANNEL_BYTES, "letters, digits, and after the first also . _ : @ -",
    |at, c| c.is_ascii_alphanumeric() || (at > 0 && matches!(c, '.' | '_' | ':' | '@' | '-'))
);
text_id!(
    /// A user of a tenant: the subject of a token.
    UserId, limits::USER_ID_BYTES, "characters that are neither white space nor control",
    |_, c| !c.is_control() && !c.is_whitespace()
);
text_id!(
    /// One id from the edge to the socket, chosen by the client or by us.
    CorrelationId, limits::CORRELATION_ID_BYTES, "visible ASCII characters",
    |_, c| c.is_ascii_graphic()
);
text_id!(
    /// Of notifications of one stream with the same key, only the newest that is not delivered yet counts.
    CollapseKey, limits::COLLAPSE_KEY_BYTES, "visible ASCII characters",
    |_, c| c.is_ascii_graphic()
);
text_id!(
    /// What a client sends so that a repeated submit gives the same notification.
    IdempotencyKey, limits::IDEMPOTENCY_KEY_BYTES, "visible ASCII characters",
    |_, c| c.is_ascii_graphic()
);

impl ChannelName {
    /// The channel of a notification that names none: `default`.
    pub fn default_channel() -> Self {
        Self(Arc::from("default"))
    }
}

/// A notification's id, the same for ever: a UUID (version 7 when we choose it).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(with = "String")]
pub struct NotificationId(Uuid);

impl NotificationId {
    /// A version 7 UUID (RFC 9562) of a moment in Unix milliseconds and ten random bytes.
    pub fn at(unix_ms: u64, random: &[u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(unix_ms, random).into_uuid())
    }

    /// The moment inside a version 7 id, in Unix milliseconds; `None` for other versions.
    pub fn unix_ms(&self) -> Option<u64> {
        if self.0.get_version_num() != 7 {
            return None;
        }
        let b = self.0.as_bytes();
        Some(u64::from_be_bytes([0, 0, b[0], b[1], b[2], b[3], b[4], b[5]]))
    }

    /// The sixteen bytes, big-endian: for version 7 their order is the order of time.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// From the sixteen bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl FromStr for NotificationId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Uuid::try_parse(text).map(Self).map_err(|_| IdError::NotAUuid)
    }
}

impl fmt::Display for NotificationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for NotificationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What a cursor counts on: a channel's notifications, or those addressed to one user.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, JsonSchema)]
#[schemars(with = "String")]
pub enum Stream {
    /// Notifications with `audience: "channel"` on this channel.
    Channel(ChannelName),
    /// Notifications with `audience: "user"` for this user.
    User(UserId),
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(c) => write!(f, "channel:{c}"),
            Self::User(u) => write!(f, "user:{u}"),
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Stream {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        match text.split_once(':') {
            Some(("channel", name)) => name.parse().map(Self::Channel),
            Some(("user", id)) => id.parse().map(Self::User),
            _ => Err(IdError::NotAStream),
        }
    }
}

impl Serialize for Stream {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Stream {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_id_is_what_a_topic_name_can_hold() {
        for good in ["a", "tenant-a", "0_x", &"a".repeat(63)] {
            assert!(good.parse::<TenantId>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "_a", "A", "a.b", "a/b", "tenant\u{0}", &"a".repeat(64)] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn control_characters_stand_in_no_id() {
        assert!("u\n1".parse::<UserId>().is_err());
        assert!("c\u{7}".parse::<ChannelName>().is_err());
        assert!("k\t".parse::<IdempotencyKey>().is_err());
    }

    #[test]
    fn a_version_7_id_knows_its_moment_and_sorts_by_it() {
        let early = NotificationId::at(1_000, &[0xff; 10]);
        let late = NotificationId::at(1_001, &[0; 10]);
        assert_eq!(early.unix_ms(), Some(1_000));
        assert!(early < late);
    }

    #[test]
    fn a_stream_reads_back_what_it_writes() {
        for text in ["channel:alerts", "user:u:1@example.test"] {
            assert_eq!(text.parse::<Stream>().unwrap().to_string(), text);
        }
        assert_eq!("room:x".parse::<Stream>(), Err(IdError::NotAStream));
    }
}
