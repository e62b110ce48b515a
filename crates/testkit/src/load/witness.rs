//! A witness: a listener that shares no code with the client, keeps repeats, and minds the chain of places itself.
//!
//! In: channels of one tenant. Out: sightings and notes in the history. Always: a frame whose `prev` is not the place
//! reached before is a silent gap, unless the server said so before or was asked anew; either way it asks anew from
//! the place reached, as the contract says.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
    time::Duration,
};

use carillon_schemas::{
    ChannelName, NotificationId, Stream, TenantId,
    cursor::Cursor,
    frame::{Acknowledge, ClientFrame, NotificationFrame, ServerFrame, Since, Subscribe},
};
use parking_lot::Mutex;
use tokio::{sync::oneshot, task::JoinHandle, time::sleep};

use super::{observer::Observer, websocket::WebSocket};
use crate::chaos::{History, Kind, history::Note};

/// How long until it comes back.
const AGAIN: Duration = Duration::from_millis(300);

/// A witness; it ends with the value.
pub struct Witness {
    task: JoinHandle<()>,
}

impl Witness {
    /// Connects, and returns when every channel is subscribed. `acknowledges`: what asks for it and is of the kind that
    /// is to be acknowledged.
    ///
    /// # Panics
    /// When that does not happen.
    #[allow(clippy::expect_used, reason = "a test cannot go on without its actors")]
    #[allow(clippy::disallowed_methods, reason = "an actor is outside of the product")]
    pub async fn start(
        url: &str,
        token: &str,
        tenant: &TenantId,
        channels: &[ChannelName],
        history: &Arc<Mutex<History>>,
        acknowledges: bool,
    ) -> Self {
        let (ready, begun) = oneshot::channel();
        let chain = Chain {
            observer: Observer::new(history, tenant, false),
            channels: channels.to_vec(),
            reached: BTreeMap::new(),
            asked: BTreeMap::new(),
            asks: 0,
            ready: Some(ready),
            acknowledges,
        };
        let host = url.trim_start_matches("http://").to_owned();
        let task = tokio::spawn(witness(chain, host, token.to_owned()));
        begun.await.expect("every channel is subscribed");
        Self { task }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn witness(mut chain: Chain, host: String, token: String) {
    loop {
        // Whatever ended it: faults are what these tests are about.
        let _ = attend(&mut chain, &host, &token).await;
        sleep(AGAIN).await;
    }
}

async fn attend(chain: &mut Chain, host: &str, token: &str) -> io::Result<()> {
    let mut socket = WebSocket::open(host, token).await?;
    for frame in chain.opening() {
        socket.send(&frame).await?;
    }
    while let Some(text) = socket.read().await? {
        let Ok(frame) = ServerFrame::parse(&text) else {
            continue;
        };
        for answer in chain.take(frame) {
            socket.send(&answer).await?;
        }
    }
    Ok(())
}

/// Where it stands in each stream.
struct Chain {
    observer: Observer,
    channels: Vec<ChannelName>,
    reached: BTreeMap<Stream, Cursor>,
    /// Streams that were asked for and not answered yet, with the id of the question.
    asked: BTreeMap<Stream, String>,
    asks: u64,
    ready: Option<oneshot::Sender<()>>,
    acknowledges: bool,
}

impl Chain {
    /// What to ask on a new connection: what has a place from there, the rest from now on.
    fn opening(&mut self) -> Vec<String> {
        self.asked.clear();
        let channels = self.channels.iter().cloned().map(Stream::Channel);
        let streams: BTreeSet<Stream> = channels.chain(self.reached.keys().cloned()).collect();
        let (known, fresh): (Vec<_>, Vec<_>) = streams
            .into_iter()
            .partition(|stream| self.reached.contains_key(stream));
        let asks = [known, fresh];
        let asks = asks.iter().filter(|streams| !streams.is_empty());
        asks.filter_map(|streams| self.ask(streams)).collect()
    }

    fn ask(&mut self, streams: &[Stream]) -> Option<String> {
        self.asks += 1;
        let id = self.asks.to_string();
        let mut since = BTreeMap::new();
        let mut subscribe = Subscribe {
            id: Some(id.clone()),
            ..Subscribe::default()
        };
        for stream in streams {
            if let Stream::Channel(channel) = stream {
                subscribe.channels.push(channel.clone());
            }
            since.extend(self.reached.get(stream).map(|at| (stream.clone(), *at)));
            self.asked.insert(stream.clone(), id.clone());
        }
        subscribe.since = Some(since).filter(|since| !since.is_empty()).map(Since::Many);
        serde_json::to_string(&ClientFrame::Subscribe(subscribe)).ok()
    }

    fn take(&mut self, frame: ServerFrame) -> Vec<String> {
        let answer = match frame {
            ServerFrame::Notification(frame) => return self.notification(&frame),
            ServerFrame::Subscribed {
                stream, cursor, id, ..
            } => {
                self.subscribed(stream, cursor, id.as_deref());
                None
            }
            ServerFrame::Skipped { stream, cursor, prev } => self.step(&stream, cursor, prev).err().flatten(),
            ServerFrame::Lagged { stream, cursor, .. } => {
                self.observer.note(Note::Lagged);
                self.reached.entry(stream.clone()).or_insert(cursor);
                self.anew(&stream)
            }
            ServerFrame::Unrecovered { stream, .. } => {
                self.observer.unrecovered(&stream);
                None
            }
            _ => None,
        };
        answer.into_iter().collect()
    }

    fn subscribed(&mut self, stream: Stream, cursor: Cursor, id: Option<&str>) {
        let answers = id.is_some() && self.asked.get(&stream).map(String::as_str) == id;
        if answers {
            self.asked.remove(&stream);
        }
        if answers || !self.reached.contains_key(&stream) {
            self.reached.insert(stream, cursor);
        }
        let missing =
            |channel: &&ChannelName| !self.reached.contains_key(&Stream::Channel((*channel).clone()));
        if !self.channels.iter().any(|channel| missing(&channel))
            && let Some(ready) = self.ready.take()
        {
            // Whoever started us may have gone.
            let _ = ready.send(());
        }
    }

    fn notification(&mut self, frame: &NotificationFrame) -> Vec<String> {
        match self.step(&frame.stream, frame.cursor, frame.prev) {
            Err(question) => question.into_iter().collect(),
            Ok(()) => {
                self.observer.saw(frame);
                let envelope = &frame.delivery.envelope;
                let wanted = envelope.require_ack && envelope.kind.as_deref() == Some(Kind::Acked.as_str());
                let ack = (self.acknowledges && wanted).then(|| acknowledgement(envelope.notification_id));
                ack.flatten().into_iter().collect()
            }
        }
    }

    /// A step of the chain, or what to ask because it is none.
    fn step(&mut self, stream: &Stream, cursor: Cursor, prev: Cursor) -> Result<(), Option<String>> {
        let reached = self.reached.get(stream).copied();
        if reached.is_none_or(|reached| reached == prev) {
            self.reached.insert(stream.clone(), cursor);
            return Ok(());
        }
        if !self.asked.contains_key(stream) {
            let at = reached.map(|at| (at.shard, at.offset));
            let found = (prev.shard, prev.offset);
            let what = format!("{stream}: after {at:?} came one whose prev is {found:?}");
            self.observer.note(Note::Break(what));
        }
        Err(self.anew(stream))
    }

    fn anew(&mut self, stream: &Stream) -> Option<String> {
        if self.asked.contains_key(stream) {
            return None;
        }
        self.ask(std::slice::from_ref(stream))
    }
}

fn acknowledgement(notification_id: NotificationId) -> Option<String> {
    let one = Acknowledge {
        notification_id: Some(notification_id),
        ..Acknowledge::default()
    };
    serde_json::to_string(&ClientFrame::Ack(one)).ok()
}

#[cfg(test)]
mod tests;
