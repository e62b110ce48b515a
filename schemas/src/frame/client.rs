//! What a client may say.
//!
//! In: the text of one message. Out: a frame, or why it is none.
//! Always: parsing bounds what it accepts; it never trusts a length or a count.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ChannelName, NotificationId, Stream, TenantId, UserId, cursor::Cursor, limits};

/// Where to resume from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Since {
    /// One cursor: of the frame's only channel.
    One(Cursor),
    /// A cursor per stream; the own user stream too.
    Many(BTreeMap<Stream, Cursor>),
}

/// A subscribe frame.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Subscribe {
    /// Must be the session's tenant; without authentication the first one becomes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<TenantId>,
    /// Without authentication: who this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// One channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<ChannelName>,
    /// Several channels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<ChannelName>,
    /// Everything after this position first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
    /// The last so many notifications of each channel first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<u32>,
    /// Comes back in the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl Subscribe {
    /// The channels that the frame names, each once, in order.
    pub fn all_channels(&self) -> Vec<ChannelName> {
        let mut all: Vec<ChannelName> = Vec::with_capacity(1 + self.channels.len());
        for channel in self.channel.iter().chain(&self.channels) {
            if !all.contains(channel) {
                all.push(channel.clone());
            }
        }
        all
    }
}

/// An ack frame.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Acknowledge {
    /// One notification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notification_id: Option<NotificationId>,
    /// Several notifications.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notification_ids: Vec<NotificationId>,
}

impl Acknowledge {
    /// The notifications that the frame names, in order.
    pub fn all(&self) -> impl Iterator<Item = NotificationId> {
        self.notification_id
            .into_iter()
            .chain(self.notification_ids.iter().copied())
    }

    fn check(&self) -> Result<(), FrameError> {
        match self.all().count() {
            0 => Err(FrameError::Malformed("name a notification".to_owned())),
            1..=limits::ACKS_PER_FRAME => Ok(()),
            _ => {
                let most = limits::ACKS_PER_FRAME;
                let text = format!("a frame may acknowledge at most {most} notifications");
                Err(FrameError::Malformed(text))
            }
        }
    }
}

/// Everything that a client may say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientFrame {
    /// Begin to receive channels.
    Subscribe(Subscribe),
    /// Stop receiving channels.
    Unsubscribe {
        /// One channel.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channel: Option<ChannelName>,
        /// Several channels.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        channels: Vec<ChannelName>,
        /// Comes back in the answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
    /// A fresh token of the same tenant and subject.
    Auth {
        /// The token.
        token: String,
    },
    /// Notifications were handled. Answered by nothing; what it names is acknowledged within a second.
    Ack(Acknowledge),
    /// A notification was seen. Not built yet: answered with `unsupported_frame`.
    Seen {
        /// Which one.
        notification_id: NotificationId,
    },
    /// Answered with `pong`.
    Ping {
        /// Comes back in the answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
}

/// Why a message is no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not JSON, no `type`, or a field that breaks its rule.
    #[error("{0}")]
    Malformed(String),
    /// A `type` that does not exist.
    #[error("unknown frame type")]
    UnknownType,
    /// More channels in one frame than the bound.
    #[error("a frame may name at most {} channels", limits::CHANNELS_PER_FRAME)]
    TooManyChannels,
}

const TYPES: [&str; 6] = ["subscribe", "unsubscribe", "auth", "ack", "seen", "ping"];

impl ClientFrame {
    /// Parses the text of one message.
    ///
    /// # Errors
    /// [`FrameError`]; its text is fit for the client.
    pub fn parse(text: &str) -> Result<Self, FrameError> {
        let frame = serde_json::from_str::<Self>(text).map_err(|error| explain(text, &error))?;
        let named = match &frame {
            Self::Subscribe(s) => s.channels.len(),
            Self::Unsubscribe { channels, .. } => channels.len(),
            Self::Ack(acknowledge) => {
                acknowledge.check()?;
                0
            }
            _ => 0,
        };
        if named > limits::CHANNELS_PER_FRAME {
            Err(FrameError::TooManyChannels)
        } else {
            Ok(frame)
        }
    }
}

fn explain(text: &str, error: &serde_json::Error) -> FrameError {
    #[derive(Deserialize)]
    struct Kind {
        #[serde(rename = "type")]
        kind: String,
    }
    match serde_json::from_str::<Kind>(text) {
        Ok(kind) if !TYPES.contains(&kind.kind.as_str()) => FrameError::UnknownType,
        _ => FrameError::Malformed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_subscribe_may_name_its_channels_either_way_and_each_counts_once() {
        let frame = ClientFrame::parse(r#"{"type":"subscribe","channel":"a","channels":["b","a"],"x":1}"#);
        let Ok(ClientFrame::Subscribe(subscribe)) = frame else {
            panic!("{frame:?}")
        };
        let names: Vec<String> = subscribe.all_channels().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn an_ack_names_at_least_one_notification_and_at_most_a_hundred() {
        let id = "019a0000-0000-7000-8000-000000000001";
        let parse = |n: usize| {
            let ids = vec![id; n];
            ClientFrame::parse(&format!(r#"{{"type":"ack","notification_ids":{ids:?}}}"#))
        };
        let Ok(ClientFrame::Ack(acknowledge)) = parse(100) else {
            panic!("{:?}", parse(100))
        };
        assert_eq!(acknowledge.all().count(), 100);
        assert!(
            [0, 101]
                .iter()
                .all(|n| matches!(parse(*n), Err(FrameError::Malformed(_))))
        );
    }

    #[test]
    fn an_unknown_type_is_told_apart_from_a_malformed_message() {
        assert_eq!(
            ClientFrame::parse(r#"{"type":"fly"}"#),
            Err(FrameError::UnknownType)
        );
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"type":"subscribe","channel":"a b"}"#,
            r#"{"type":7}"#,
        ] {
            assert!(
                matches!(ClientFrame::parse(bad), Err(FrameError::Malformed(_))),
                "{bad}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,200}") {
            let _ = ClientFrame::parse(&text);
        }
    }
}
