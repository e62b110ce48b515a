//! Streams: where the client stands in each, and what a frame means there.
//!
//! In: the server's frames. Out: events for the caller and frames to send.
//! Always: a notification is handed out only when its `prev` is the place reached before, and once; a gap is
//! answered by subscribing anew from that place. Pure: no clock, no socket.

use std::collections::BTreeMap;

use carillon_schemas::{
    ChannelName, Stream, TenantId, UserId,
    cursor::Cursor,
    frame::{ClientFrame, ErrorCode, NotificationFrame, ServerFrame, Since, Subscribe},
};

use super::{Event, seen::Seen};

/// Subscribing anew this often without one notification between means that the connection is of no use.
const FUTILE: u32 = 5;

/// What is subscribed and what has been reached.
#[derive(Debug)]
pub(super) struct Streams {
    tenant: Option<TenantId>,
    user: Option<UserId>,
    last: Option<u32>,
    places: BTreeMap<Stream, Place>,
    seen: Seen,
    asked: u64,
}

#[derive(Debug, Default)]
struct Place {
    /// The cursor of the last frame.
    reached: Option<Cursor>,
    /// The id of the subscribe frame whose answer is awaited.
    awaiting: Option<String>,
    /// Subscribed anew since the last notification.
    futile: u32,
}

/// What a frame leads to.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) event: Option<Event>,
    pub(super) send: Option<ClientFrame>,
    /// The connection is of no use: come back after a wait.
    pub(super) reconnect: Option<String>,
}

impl Step {
    fn event(event: Event) -> Self {
        Self {
            event: Some(event),
            ..Self::default()
        }
    }
}

impl Streams {
    pub(super) fn new(
        channels: &[ChannelName],
        since: &BTreeMap<Stream, Cursor>,
        last: Option<u32>,
        seen: usize,
    ) -> Self {
        let place = |reached| Place {
            reached,
            ..Place::default()
        };
        let mut places: BTreeMap<Stream, Place> = channels
            .iter()
            .map(|c| (Stream::Channel(c.clone()), place(None)))
            .collect();
        places.extend(
            since
                .iter()
                .map(|(stream, cursor)| (stream.clone(), place(Some(*cursor)))),
        );
        Self {
            tenant: None,
            user: None,
            last,
            places,
            seen: Seen::new(seen),
            asked: 0,
        }
    }

    /// Names tenant and user in subscribe frames, for servers that ask for no token.
    pub(super) fn on_behalf_of(&mut self, tenant: Option<TenantId>, user: Option<UserId>) {
        (self.tenant, self.user) = (tenant, user);
    }

    /// The places reached so far.
    pub(super) fn cursors(&self) -> BTreeMap<Stream, Cursor> {
        self.places
            .iter()
            .filter_map(|(s, p)| Some((s.clone(), p.reached?)))
            .collect()
    }

    /// Whether an answer to a channel's subscribe frame is awaited.
    pub(super) fn awaiting(&self) -> bool {
        let channels = self
            .places
            .iter()
            .filter(|(stream, _)| matches!(stream, Stream::Channel(_)));
        channels.into_iter().any(|(_, place)| place.awaiting.is_some())
    }

    /// What to say on a fresh connection: resume what has a place, begin what has none.
    pub(super) fn opening(&mut self) -> Vec<ClientFrame> {
        let (placed, fresh): (Vec<_>, Vec<_>) = self
            .places
            .keys()
            .cloned()
            .partition(|stream| self.places[stream].reached.is_some());
        let mut frames = Vec::new();
        for (streams, last) in [(placed, None), (fresh, self.last)] {
            if !streams.is_empty() {
                frames.push(self.subscribe(&streams, last));
            }
        }
        frames
    }

    fn subscribe(&mut self, streams: &[Stream], last: Option<u32>) -> ClientFrame {
        self.asked += 1;
        let id = self.asked.to_string();
        let mut frame = Subscribe {
            tenant_id: self.tenant.clone(),
            user_id: self.user.clone(),
            last,
            id: Some(id.clone()),
            ..Subscribe::default()
        };
        let mut since = BTreeMap::new();
        for stream in streams {
            if let Stream::Channel(channel) = stream {
                frame.channels.push(channel.clone());
            }
            let place = self.places.entry(stream.clone()).or_default();
            place.awaiting = Some(id.clone());
            since.extend(place.reached.map(|cursor| (stream.clone(), cursor)));
        }
        frame.since = Some(since).filter(|since| !since.is_empty()).map(Since::Many);
        ClientFrame::Subscribe(frame)
    }

    /// What a frame of the server means.
    pub(super) fn take(&mut self, frame: ServerFrame) -> Step {
        match frame {
            ServerFrame::Notification(frame) => self.notification(frame),
            ServerFrame::Subscribed {
                stream,
                cursor,
                recovered,
                id,
                ..
            } => self.subscribed(stream, cursor, recovered, id.as_deref()),
            ServerFrame::Skipped { stream, cursor, prev } => self.skipped(&stream, cursor, prev),
            ServerFrame::Lagged {
                stream,
                dropped,
                cursor,
            } => {
                self.places
                    .entry(stream.clone())
                    .or_default()
                    .reached
                    .get_or_insert(cursor);
                let step = self.anew(&stream);
                Step {
                    event: Some(Event::Lagged { stream, dropped }),
                    ..step
                }
            }
            ServerFrame::Unrecovered { stream, from } => Step::event(Event::Unrecovered { stream, from }),
            ServerFrame::Error { code, detail, id } => self.refused(code, detail, id.as_deref()),
            ServerFrame::Unsubscribed { .. }
            | ServerFrame::Authenticated { .. }
            | ServerFrame::Pong { .. } => Step::default(),
        }
    }

    fn notification(&mut self, frame: Box<NotificationFrame>) -> Step {
        let place = self.places.entry(frame.stream.clone()).or_default();
        if place.reached.is_some_and(|reached| reached != frame.prev) {
            return self.anew(&frame.stream);
        }
        place.reached = Some(frame.cursor);
        place.futile = 0;
        if self
            .seen
            .insert(frame.delivery.envelope.notification_id, frame.delivery.delivery)
        {
            Step::event(Event::Notification(frame))
        } else {
            Step::default()
        }
    }

    fn subscribed(&mut self, stream: Stream, cursor: Cursor, recovered: bool, id: Option<&str>) -> Step {
        let place = self.places.entry(stream.clone()).or_default();
        let answers = place.awaiting.is_some() && place.awaiting.as_deref() == id;
        if !answers && place.reached.is_some() {
            return Step::default();
        }
        place.awaiting = place.awaiting.take().filter(|_| !answers);
        place.reached = Some(cursor);
        Step::event(Event::Subscribed {
            stream,
            cursor,
            recovered,
        })
    }

    fn skipped(&mut self, stream: &Stream, cursor: Cursor, prev: Cursor) -> Step {
        let place = self.places.entry(stream.clone()).or_default();
        if place.reached.is_some_and(|reached| reached != prev) {
            return self.anew(stream);
        }
        place.reached = Some(cursor);
        Step::default()
    }

    /// A gap: subscribe anew from the place reached, unless that is under way already.
    fn anew(&mut self, stream: &Stream) -> Step {
        let place = self.places.entry(stream.clone()).or_default();
        if place.awaiting.is_some() {
            return Step::default();
        }
        place.futile += 1;
        if place.futile > FUTILE {
            place.futile = 0;
            let reconnect = Some(format!("{stream} has gaps again and again"));
            return Step {
                reconnect,
                ..Step::default()
            };
        }
        Step {
            send: Some(self.subscribe(std::slice::from_ref(stream), None)),
            ..Step::default()
        }
    }

    fn refused(&mut self, code: ErrorCode, detail: String, id: Option<&str>) -> Step {
        let asked = |place: &Place| id.is_some() && place.awaiting.as_deref() == id;
        if code == ErrorCode::Unavailable && self.places.values().any(asked) {
            return Step {
                reconnect: Some(detail),
                ..Step::default()
            };
        }
        for place in self.places.values_mut().filter(|place| asked(place)) {
            place.awaiting = None;
        }
        Step::event(Event::Refused { code, detail })
    }
}

#[cfg(test)]
mod tests;
