//! The conversation: what a client says, and what it is answered.
//!
//! In: messages. Out: answers in the send queue, subscriptions in the hub, catch-ups.
//! Always: a session acts for one tenant, its own; ten malformed messages are answered and no more; what it
//! subscribed is given back when it ends.

mod subscribe;

use std::sync::Arc;

use carillon_auth::{Access, Principal};
use carillon_schemas::{
    ChannelName, Stream, TenantId, UserId,
    claims::Scope,
    close::CloseCode,
    frame::{Acknowledge, ClientFrame, ErrorCode, FrameError, ServerFrame},
};

use super::SendQueue;
use crate::{
    frame,
    hub::{Begin, Of},
    node::Node,
    sessions::Seat,
};

/// The end of time for tokens that never expire: the last second of the year 9999.
const NEVER: u64 = 253_402_300_799;

/// The subject of a session without authentication that names no user.
const ANONYMOUS: &str = "anonymous";

/// The code of the audit trail for a channel that a token does not reach.
const CHANNEL_FORBIDDEN: &str = "channel_forbidden";

/// Longest detail of an error: a parser's message may repeat what it was given.
const DETAIL_CHARS: usize = 256;
/// Longest `id` of a frame in bytes: it comes back in every answer.
const ID_BYTES: usize = 128;

/// Who is on the other side.
pub(crate) enum Identity {
    /// A principal, and whether its subject is a user with a stream of its own.
    Known(Principal, Option<UserId>),
    /// Nobody said: only without authentication.
    Nobody,
}

impl Identity {
    /// Without authentication: whom the query named, if anybody.
    pub(crate) fn open((tenant, user): (Option<TenantId>, Option<UserId>)) -> Self {
        let subject = user.clone().or_else(|| ANONYMOUS.parse().ok());
        match (tenant, subject) {
            (Some(tenant), Some(subject)) => Self::Known(Principal::unauthenticated(tenant, subject), user),
            _ => Self::Nobody,
        }
    }

    /// The tenant, where it is known.
    pub(crate) fn tenant(&self) -> Option<&TenantId> {
        match self {
            Self::Known(principal, _) => Some(principal.tenant()),
            Self::Nobody => None,
        }
    }
}

struct Subscription {
    stream: Stream,
    channel: Option<ChannelName>,
    slot: u32,
}

/// One session's conversation.
pub(crate) struct Conversation {
    node: Arc<Node>,
    queue: Arc<SendQueue>,
    seat: Seat,
    identity: Identity,
    subscriptions: Vec<Subscription>,
    malformed: u32,
}

impl Conversation {
    /// Begins; the own user's stream is subscribed at once.
    pub(crate) fn new(node: Arc<Node>, queue: Arc<SendQueue>, seat: Seat, identity: Identity) -> Self {
        let mut conversation = Self {
            node,
            queue,
            seat,
            identity,
            subscriptions: Vec::new(),
            malformed: 0,
        };
        conversation.subscribe_own();
        conversation
    }

    /// When the session ends, in Unix seconds.
    pub(crate) fn expires(&self) -> Option<u64> {
        match &self.identity {
            Identity::Known(principal, _) if principal.expires() < NEVER => Some(principal.expires()),
            _ => None,
        }
    }

    /// One text message.
    pub(crate) fn hear(&mut self, text: &str) {
        match ClientFrame::parse(text) {
            Ok(frame) if id_of(&frame).is_some_and(|id| id.len() > ID_BYTES) => {
                self.misheard(&FrameError::Malformed(format!(
                    "id must be at most {ID_BYTES} bytes long"
                )));
            }
            Ok(ClientFrame::Subscribe(subscribe)) => self.subscribe(&subscribe),
            Ok(ClientFrame::Unsubscribe {
                channel,
                channels,
                id,
            }) => self.unsubscribe(channel.into_iter().chain(channels), id.as_deref()),
            Ok(ClientFrame::Auth { token }) => self.authenticate(&token),
            Ok(ClientFrame::Ping { id }) => self.say(&ServerFrame::Pong { id }),
            Ok(ClientFrame::Ack(ack)) => self.acknowledge(&ack),
            Ok(ClientFrame::Seen { .. }) => {
                self.refuse(ErrorCode::UnsupportedFrame, "not supported yet", None);
            }
            Err(error) => self.misheard(&error),
        }
    }

    /// A message that is no text.
    pub(crate) fn hear_binary(&mut self) {
        self.misheard(&FrameError::Malformed("messages are JSON text".to_owned()));
    }

    fn misheard(&mut self, error: &FrameError) {
        self.malformed += 1;
        if self.malformed > self.node.limits.malformed {
            return self.queue.close(CloseCode::ProtocolViolation);
        }
        let code = match error {
            FrameError::Malformed(_) => ErrorCode::Malformed,
            FrameError::UnknownType => ErrorCode::UnknownType,
            FrameError::TooManyChannels => ErrorCode::TooManyChannels,
        };
        self.refuse(code, &error.to_string(), None);
    }

    /// What is named is taken for the session's tenant: another tenant's notification cannot be meant by it.
    fn acknowledge(&self, ack: &Acknowledge) {
        let Identity::Known(principal, _) = &self.identity else {
            let detail = "without authentication, name the tenant with a subscribe first";
            return self.refuse(ErrorCode::TenantForbidden, detail, None);
        };
        let receipts = &self.node.receipts;
        let told = ack.all().map(|id| receipts.acknowledge(principal.tenant(), id));
        if told.filter(Result::is_err).count() > 0 {
            let detail = "too many acknowledgements wait: say it again";
            self.refuse(ErrorCode::Unavailable, detail, None);
        }
    }

    fn authenticate(&mut self, token: &str) {
        let verified = match &self.node.access {
            Access::Open => return self.say(&ServerFrame::Authenticated { expires_at: NEVER }),
            Access::Tokens(verifier) => verifier.verify(token),
        };
        let fresh = match verified {
            Ok(fresh) => fresh,
            Err(error) => return self.bad_credential(&error.to_string()),
        };
        let Identity::Known(principal, _) = &mut self.identity else {
            return;
        };
        if fresh.tenant() != principal.tenant() || fresh.subject() != principal.subject() {
            let detail = "the token is of another tenant or subject";
            return self.bad_credential(detail);
        }
        if !fresh.has(Scope::Listen) {
            return self.bad_credential("the token lacks the scope listen");
        }
        *principal = fresh.clone();
        self.say(&ServerFrame::Authenticated {
            expires_at: fresh.expires().min(NEVER),
        });
        self.leave_unreachable(&fresh);
    }

    fn bad_credential(&self, detail: &str) {
        self.forbid(ErrorCode::BadCredential, "bad_credential", detail, None);
    }

    /// Ends the subscriptions that a fresh token does not reach any more.
    fn leave_unreachable(&mut self, principal: &Principal) {
        let channels = self.subscriptions.iter().filter_map(|s| s.channel.clone());
        let lost: Vec<_> = channels.filter(|c| !principal.may_reach(c)).collect();
        for channel in lost {
            let detail = format!("the fresh token does not reach channel {channel}");
            self.forbid(ErrorCode::ChannelForbidden, CHANNEL_FORBIDDEN, &detail, None);
            self.unsubscribe(std::iter::once(channel), None);
        }
    }

    fn unsubscribe(&mut self, channels: impl Iterator<Item = ChannelName>, id: Option<&str>) {
        let mut named = false;
        for channel in channels {
            named = true;
            let found = self
                .subscriptions
                .iter()
                .position(|s| s.channel.as_ref() == Some(&channel));
            let (Some(at), Identity::Known(principal, _)) = (found, &self.identity) else {
                let detail = format!("channel {channel} is not subscribed");
                self.refuse(ErrorCode::NoChannel, &detail, id);
                continue;
            };
            let gone = self.subscriptions.swap_remove(at);
            give_back(&self.node, principal.tenant(), &gone);
            self.say(&ServerFrame::Unsubscribed {
                channel,
                id: id.map(str::to_owned),
            });
        }
        if !named {
            self.refuse(ErrorCode::NoChannel, "name a channel", id);
        }
    }

    /// The stream of the session's own user, which needs no subscribe frame.
    fn subscribe_own(&mut self) {
        let (Identity::Known(principal, Some(user)), Some(hub)) = (&self.identity, self.node.hub()) else {
            return;
        };
        let stream = Stream::User(user.clone());
        let of = Of {
            tenant: principal.tenant(),
            stream: &stream,
        };
        let answer = |cursor| ServerFrame::Subscribed {
            stream: stream.clone(),
            channel: None,
            cursor,
            recovered: false,
            id: None,
        };
        let place = hub.subscribe(of, &self.queue, None, &Begin::Live(&answer));
        self.subscriptions.push(Subscription {
            stream: stream.clone(),
            channel: None,
            slot: place.slot,
        });
    }

    /// Refuses something that the session's tenant is to know of.
    fn forbid(&self, code: ErrorCode, audited: &'static str, detail: &str, id: Option<&str>) {
        if let Some(tenant) = self.identity.tenant() {
            self.node.refused(tenant, audited);
        }
        self.refuse(code, detail, id);
    }

    fn say(&self, frame: &ServerFrame) {
        self.queue.answer(frame::answer(frame));
    }

    fn refuse(&self, code: ErrorCode, detail: &str, id: Option<&str>) {
        self.say(&ServerFrame::Error {
            code,
            detail: detail.chars().take(DETAIL_CHARS).collect(),
            id: id.map(str::to_owned),
        });
    }
}

fn id_of(frame: &ClientFrame) -> Option<&str> {
    match frame {
        ClientFrame::Subscribe(subscribe) => subscribe.id.as_deref(),
        ClientFrame::Unsubscribe { id, .. } | ClientFrame::Ping { id } => id.as_deref(),
        ClientFrame::Auth { .. } | ClientFrame::Ack(_) | ClientFrame::Seen { .. } => None,
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        if let Identity::Known(principal, _) = &self.identity {
            for subscription in &self.subscriptions {
                give_back(&self.node, principal.tenant(), subscription);
            }
        }
    }
}

fn give_back(node: &Node, tenant: &TenantId, subscription: &Subscription) {
    if let Some(hub) = node.hub() {
        let stream = &subscription.stream;
        hub.unsubscribe(Of { tenant, stream }, subscription.slot);
    }
}
