//! The chain by itself: what breaks it, and what does not.

use carillon_schemas::{
    delivery::{Repeat, notification_frame, seal},
    envelope::Envelope,
};

use super::*;

fn stream() -> Stream {
    Stream::Channel("alerts".parse().unwrap())
}

fn cursor(offset: i64) -> Cursor {
    Cursor {
        generation: 1,
        shard: 0,
        offset,
    }
}

fn chain() -> (Chain, Arc<Mutex<History>>) {
    let tenant: TenantId = "amber".parse().unwrap();
    let channel: ChannelName = "alerts".parse().unwrap();
    let history = Arc::new(Mutex::new(History::default()));
    history.lock().places.push((tenant.clone(), channel.clone()));
    let mut chain = Chain {
        observer: Observer::new(&history, &tenant, false),
        channels: vec![channel],
        reached: BTreeMap::new(),
        asked: BTreeMap::new(),
        asks: 0,
        ready: None,
        acknowledges: true,
    };
    assert_eq!(chain.opening().len(), 1);
    chain.take(subscribed(0, Some("1")));
    (chain, history)
}

fn subscribed(offset: i64, id: Option<&str>) -> ServerFrame {
    ServerFrame::Subscribed {
        stream: stream(),
        channel: None,
        cursor: cursor(offset),
        recovered: true,
        id: id.map(ToOwned::to_owned),
    }
}

fn notification(tenant: &str, prev: i64, at: i64) -> ServerFrame {
    let json = format!(
        r#"{{"notification_id":"{}","tenant_id":"{tenant}","channel":"alerts","audience":"channel","correlation_id":"c",
        "accepted_at":1,"require_ack":true,"kind":"acked","content":"n={at}"}}"#,
        NotificationId::at(at as u64, &[0; 10])
    );
    let envelope = Envelope::from_json(json.as_bytes()).unwrap().to_json().unwrap();
    let delivery = seal(Repeat::FIRST, &envelope).unwrap();
    let frame = notification_frame(&stream(), cursor(at), cursor(prev), &delivery).unwrap();
    ServerFrame::parse(std::str::from_utf8(&frame).unwrap()).unwrap()
}

fn notes(history: &Mutex<History>) -> Vec<Note> {
    history
        .lock()
        .notes
        .iter()
        .map(|(_, _, note)| note.clone())
        .collect()
}

#[test]
fn a_chain_that_holds_is_seen_and_acknowledged() {
    let (mut chain, history) = chain();
    assert!(chain.take(notification("amber", 0, 1))[0].contains("ack"));
    let skipped = ServerFrame::Skipped {
        stream: stream(),
        cursor: cursor(5),
        prev: cursor(1),
    };
    assert!(chain.take(skipped).is_empty());
    chain.take(notification("amber", 5, 6));
    assert_eq!(notes(&history), []);
    assert_eq!(history.lock().sightings.len(), 2);
}

#[test]
fn a_gap_is_noted_once_and_asked_for_anew() {
    let (mut chain, history) = chain();
    let question = chain.take(notification("amber", 1, 2));
    assert!(question[0].contains("since"), "{question:?}");
    assert!(chain.take(notification("amber", 2, 3)).is_empty());
    assert!(matches!(&notes(&history)[..], [Note::Break(_)]));
    chain.take(subscribed(0, Some("2")));
    chain.take(notification("amber", 0, 1));
    assert_eq!(history.lock().sightings.len(), 1);
}

#[test]
fn a_gap_that_was_told_is_none() {
    let (mut chain, history) = chain();
    let lagged = ServerFrame::Lagged {
        stream: stream(),
        dropped: 1,
        cursor: cursor(0),
    };
    assert_eq!(chain.take(lagged).len(), 1);
    assert!(chain.take(notification("amber", 1, 2)).is_empty());
    assert_eq!(notes(&history), [Note::Lagged]);
}

#[test]
fn a_frame_of_another_tenant_is_foreign() {
    let (mut chain, history) = chain();
    chain.take(notification("birch", 0, 1));
    assert!(matches!(&notes(&history)[..], [Note::Foreign(_)]));
}
