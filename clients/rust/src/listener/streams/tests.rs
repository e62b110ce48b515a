//! The gap rule against a server that loses, repeats, lags and hangs up.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

fn stream() -> Stream {
    "channel:a".parse().unwrap()
}

fn at(offset: i64) -> Cursor {
    Cursor {
        generation: 1,
        shard: 0,
        offset,
    }
}

/// The notification at this offset, as the server frames it.
fn notification(offset: i64) -> ServerFrame {
    let id = carillon_schemas::NotificationId::at(offset.unsigned_abs(), &[0; 10]);
    let (cursor, prev) = (at(offset), at(offset - 1));
    let text = format!(
        r#"{{"type":"notification","stream":"channel:a","cursor":"{cursor}","prev":"{prev}","delivery":1,
        "notification_id":"{id}","tenant_id":"t","channel":"a","correlation_id":"c","accepted_at":1,"content":"{offset}"}}"#
    );
    ServerFrame::parse(&text).unwrap()
}

/// One stream of one server, and one connection with what is under way on it.
struct Server {
    log: i64,
    live: Option<i64>,
    wire: VecDeque<ServerFrame>,
}

impl Server {
    fn hear(&mut self, frame: ClientFrame) {
        let ClientFrame::Subscribe(subscribe) = frame else {
            panic!("{frame:?}")
        };
        let since = match subscribe.since {
            Some(Since::Many(since)) => since[&stream()],
            None => at(self.log - 1),
            other => panic!("{other:?}"),
        };
        self.wire.push_back(ServerFrame::Subscribed {
            stream: stream(),
            channel: Some("a".parse().unwrap()),
            cursor: since,
            recovered: true,
            id: subscribe.id,
        });
        self.live = Some(since.offset + 1);
    }

    /// Sends what is live; what is beyond `keep` is lost on the way.
    fn push(&mut self, keep: i64) {
        let Some(live) = self.live else { return };
        self.wire.extend(
            (live..self.log)
                .take(keep.unsigned_abs() as usize)
                .map(notification),
        );
        self.live = Some(self.log);
    }

    fn lag(&mut self) {
        let Some(live) = self.live.filter(|live| *live < self.log) else {
            return;
        };
        let dropped = self.log.abs_diff(live);
        self.wire.push_back(ServerFrame::Lagged {
            stream: stream(),
            dropped,
            cursor: at(live - 1),
        });
        self.live = Some(self.log);
    }
}

#[derive(Debug, Clone)]
enum Act {
    Publish,
    Push(i64),
    Lag,
    Repeat,
    HangUp,
    Read(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Publish),
        2 => Just(Act::Push(i64::MAX)),
        1 => (0..3_i64).prop_map(Act::Push),
        1 => Just(Act::Lag),
        1 => Just(Act::Repeat),
        1 => Just(Act::HangUp),
        3 => (1..5_usize).prop_map(Act::Read),
    ]
}

struct Client {
    streams: Streams,
    got: Vec<String>,
}

impl Client {
    fn new() -> Self {
        Self {
            streams: Streams::new(&["a".parse().unwrap()], &BTreeMap::new(), None, 100),
            got: Vec::new(),
        }
    }

    fn connect(&mut self, server: &mut Server) {
        (server.live, server.wire) = (None, VecDeque::new());
        for frame in self.streams.opening() {
            server.hear(frame);
        }
    }

    fn read(&mut self, server: &mut Server) {
        let Some(frame) = server.wire.pop_front() else {
            return;
        };
        let step = self.streams.take(frame);
        if let Some(Event::Notification(frame)) = step.event {
            self.got.push(frame.delivery.envelope.content.clone());
        }
        if let Some(frame) = step.send {
            server.hear(frame);
        }
        if step.reconnect.is_some() {
            self.connect(server);
        }
    }
}

proptest! {
    #[test]
    fn every_notification_comes_once_and_in_order_whatever_is_lost_on_the_way(acts in prop::collection::vec(act(), 0..120)) {
        let mut server = Server { log: 0, live: None, wire: VecDeque::new() };
        let mut client = Client::new();
        client.connect(&mut server);
        client.read(&mut server);
        for act in acts {
            match act {
                Act::Publish => server.log += 1,
                Act::Push(keep) => server.push(keep),
                Act::Lag => server.lag(),
                Act::Repeat => server.wire.extend(server.wire.back().cloned()),
                Act::HangUp => client.connect(&mut server),
                Act::Read(n) => (0..n).for_each(|_| client.read(&mut server)),
            }
        }
        // A loss shows at the next notification: let there be one after the last loss.
        server.push(i64::MAX);
        server.log += 1;
        while { server.push(i64::MAX); !server.wire.is_empty() } {
            client.read(&mut server);
        }
        let all: Vec<String> = (0..server.log).map(|n| n.to_string()).collect();
        prop_assert_eq!(client.got, all);
    }
}

#[test]
fn a_stream_that_gaps_again_and_again_ends_the_connection() {
    let mut client = Client::new();
    let mut server = Server {
        log: 0,
        live: None,
        wire: VecDeque::new(),
    };
    client.connect(&mut server);
    let mut reconnects = 0;
    for _ in 0..=FUTILE {
        let subscribed = server.wire.pop_back().unwrap();
        client.streams.take(subscribed);
        let step = client.streams.take(notification(7));
        reconnects += usize::from(step.reconnect.is_some());
        step.send.into_iter().for_each(|frame| server.hear(frame));
    }
    assert_eq!(reconnects, 1);
}

#[test]
fn a_fresh_connection_resumes_what_has_a_place_and_asks_for_the_last_of_the_rest() {
    let channels = ["a", "b"].map(|c| c.parse().unwrap());
    let user: Stream = "user:u1".parse().unwrap();
    let since = BTreeMap::from([(stream(), at(4)), (user.clone(), at(9))]);
    let mut streams = Streams::new(&channels, &since, Some(3), 10);
    let frames = streams.opening();
    let [ClientFrame::Subscribe(resume), ClientFrame::Subscribe(begin)] = frames.as_slice() else {
        panic!("{frames:?}")
    };
    assert_eq!((resume.channels.as_slice(), resume.last), (&channels[..1], None));
    assert_eq!(resume.since, Some(Since::Many(since)));
    assert_eq!(
        (begin.channels.as_slice(), begin.last, &begin.since),
        (&channels[1..], Some(3), &None)
    );
    assert!(streams.awaiting());
}

#[test]
fn a_refused_subscription_is_told_and_no_longer_awaited() {
    let mut client = Client::new();
    client.streams.opening();
    let refuse = |code| ServerFrame::Error {
        code,
        detail: "no".to_owned(),
        id: Some("1".to_owned()),
    };
    let step = client.streams.take(refuse(ErrorCode::Unavailable));
    assert!(step.reconnect.is_some() && step.event.is_none());
    let step = client.streams.take(refuse(ErrorCode::ChannelForbidden));
    assert!(matches!(step.event, Some(Event::Refused { .. })));
    assert!(!client.streams.awaiting());
}
