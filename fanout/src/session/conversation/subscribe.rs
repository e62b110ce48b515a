//! Subscribe frames.
//!
//! In: a frame. Out: live subscriptions, and one catch-up for those that asked for the past.
//! Always: a frame is taken whole or refused whole, but for channels that the token does not reach; a
//! subscription holds from the moment its frame was read.

use std::sync::Arc;

use carillon_auth::Principal;
use carillon_schemas::{
    ChannelName, Stream, TenantId,
    close::CloseCode,
    frame::{ErrorCode, ServerFrame, Since, Subscribe},
};

use super::{CHANNEL_FORBIDDEN, Conversation, Identity, Subscription};
use crate::{
    hub::{Begin, Of},
    resume::{self, Ask, Request},
};

/// One stream of a frame, with what is asked of it.
struct Wish {
    stream: Stream,
    channel: Option<ChannelName>,
    ask: Option<Ask>,
}

impl Conversation {
    pub(super) fn subscribe(&mut self, frame: &Subscribe) {
        let id = frame.id.as_deref();
        let Some(principal) = self.principal_for(frame) else {
            return;
        };
        let mut channels = frame.all_channels();
        channels.retain(|channel| self.may_reach(&principal, channel, id));
        let wishes = match self.wishes(frame, channels) {
            Ok(wishes) => wishes,
            Err((code, detail)) => return self.refuse(code, detail, id),
        };
        let past = wishes.iter().any(|wish| wish.ask.is_some());
        let waiting = if past { self.queue.waiting() } else { None };
        if past && waiting.is_none() {
            return self.refuse(ErrorCode::Unavailable, "too many catch-ups wait already", id);
        }
        let requests: Vec<Request> = wishes
            .into_iter()
            .filter_map(|wish| self.begin(principal.tenant(), wish, id))
            .collect();
        if let Some(waiting) = waiting {
            let (node, queue) = (Arc::clone(&self.node), Arc::clone(&self.queue));
            let catch_up = resume::catch_up(node, queue, waiting, requests);
            self.node.tasks.spawn("catch-up", catch_up);
        }
    }

    fn may_reach(&self, principal: &Principal, channel: &ChannelName, id: Option<&str>) -> bool {
        let may = principal.may_reach(channel);
        if !may {
            let detail = format!("the token does not reach channel {channel}");
            self.forbid(ErrorCode::ChannelForbidden, CHANNEL_FORBIDDEN, &detail, id);
        }
        may
    }

    /// What the frame asks, stream by stream.
    fn wishes(
        &self,
        frame: &Subscribe,
        channels: Vec<ChannelName>,
    ) -> Result<Vec<Wish>, (ErrorCode, &'static str)> {
        let named = frame.channel.is_some() || !frame.channels.is_empty();
        let mut wishes: Vec<Wish> = channels
            .into_iter()
            .map(|channel| Wish {
                stream: Stream::Channel(channel.clone()),
                channel: Some(channel),
                ask: frame.last.filter(|n| *n > 0).map(Ask::Last),
            })
            .collect();
        match &frame.since {
            None if !named => return Err((ErrorCode::NoChannel, "name a channel")),
            None => {}
            Some(Since::One(_)) if frame.all_channels().len() != 1 => {
                let detail = "one cursor needs one channel; use an object of cursors by stream";
                return Err((ErrorCode::InvalidCursor, detail));
            }
            Some(Since::One(cursor)) => wishes
                .iter_mut()
                .for_each(|wish| wish.ask = Some(Ask::Since(*cursor, frame.last))),
            Some(Since::Many(cursors)) => {
                for (stream, cursor) in cursors {
                    let ask = Some(Ask::Since(*cursor, frame.last));
                    if let Some(wish) = wishes.iter_mut().find(|wish| wish.stream == *stream) {
                        wish.ask = ask;
                    } else if self.is_own(stream) {
                        wishes.push(Wish {
                            stream: stream.clone(),
                            channel: None,
                            ask,
                        });
                    } else if !self.was_named(frame, stream) {
                        let detail = "a cursor is of a stream that the frame does not subscribe";
                        return Err((ErrorCode::InvalidCursor, detail));
                    }
                }
            }
        }
        let new = wishes.iter().filter(|wish| self.slot_of(&wish.stream).is_none());
        // The own stream is beside the bound.
        let held = self.subscriptions.iter().filter(|s| s.channel.is_some());
        if new.count() + held.count() > self.node.limits.subscriptions {
            return Err((ErrorCode::TooManySubscriptions, "a socket has no room for these"));
        }
        Ok(wishes)
    }

    /// Whether the frame names the stream's channel (which the token may not reach).
    fn was_named(&self, frame: &Subscribe, stream: &Stream) -> bool {
        matches!(stream, Stream::Channel(c) if frame.all_channels().contains(c))
    }

    fn is_own(&self, stream: &Stream) -> bool {
        matches!((&self.identity, stream), (Identity::Known(_, Some(own)), Stream::User(user)) if own == user)
    }

    fn slot_of(&self, stream: &Stream) -> Option<u32> {
        let found = self.subscriptions.iter().find(|s| s.stream == *stream);
        found.map(|subscription| subscription.slot)
    }

    /// Begins one subscription, or begins it anew; what it must catch up with comes back.
    fn begin(&mut self, tenant: &TenantId, wish: Wish, id: Option<&str>) -> Option<Request> {
        let hub = self.node.hub()?;
        let slot = self.slot_of(&wish.stream);
        let of = Of {
            tenant,
            stream: &wish.stream,
        };
        let ticket = hub.ticket();
        let answer = |cursor| ServerFrame::Subscribed {
            stream: wish.stream.clone(),
            channel: wish.channel.clone(),
            cursor,
            recovered: false,
            id: id.map(str::to_owned),
        };
        let begin = match wish.ask {
            None => Begin::Live(&answer),
            Some(_) => Begin::CatchingUp(ticket),
        };
        let place = hub.subscribe(of, &self.queue, slot, &begin);
        if slot.is_none() {
            self.subscriptions.push(Subscription {
                stream: wish.stream.clone(),
                channel: wish.channel.clone(),
                slot: place.slot,
            });
        }
        Some(Request {
            tenant: tenant.clone(),
            ask: wish.ask?,
            stream: wish.stream,
            channel: wish.channel,
            place,
            ticket,
            id: id.map(str::to_owned),
        })
    }

    /// Who the frame is for. Another tenant's frame ends the session; without authentication the first frame
    /// that names a tenant, and the first that names a user, decide.
    fn principal_for(&mut self, frame: &Subscribe) -> Option<Principal> {
        match (&self.identity, &frame.tenant_id) {
            (Identity::Known(principal, _), Some(tenant)) if principal.tenant() != tenant => {
                let detail = "the session is of another tenant";
                let id = frame.id.as_deref();
                self.forbid(ErrorCode::TenantForbidden, "tenant_forbidden", detail, id);
                self.queue.close(CloseCode::Forbidden);
                return None;
            }
            (Identity::Known(..), _) => {}
            (Identity::Nobody, Some(tenant)) => {
                if self.seat.name(tenant).is_err() {
                    self.node.refused(tenant, "overloaded");
                    let detail = "the tenant has as many sessions as it may have";
                    self.refuse(ErrorCode::Unavailable, detail, frame.id.as_deref());
                    return None;
                }
                self.identity = Identity::open((Some(tenant.clone()), None));
            }
            (Identity::Nobody, None) => {
                let detail = "tenant_id is required without authentication";
                self.refuse(ErrorCode::Malformed, detail, frame.id.as_deref());
                return None;
            }
        }
        self.name_user(frame)
    }

    fn name_user(&mut self, frame: &Subscribe) -> Option<Principal> {
        let Identity::Known(principal, user) = &mut self.identity else {
            return None;
        };
        let open = matches!(self.node.access, carillon_auth::Access::Open);
        match (&frame.user_id, &*user) {
            (Some(named), None) if open => {
                *principal = Principal::unauthenticated(principal.tenant().clone(), named.clone());
                *user = Some(named.clone());
                let principal = principal.clone();
                self.subscribe_own();
                Some(principal)
            }
            (Some(named), Some(own)) if named != own => {
                let detail = "the session is of another user";
                self.refuse(ErrorCode::Malformed, detail, frame.id.as_deref());
                None
            }
            _ => Some(principal.clone()),
        }
    }
}
