//! Each golden file is decoded, re-encoded and compared; then once more with a field that nobody knows.

use std::path::PathBuf;

use carillon_schemas::{
    Stream,
    audit::{AuditEntry, AuditPage},
    claims::Claims,
    command::Command,
    cursor::Cursor,
    dead_letter::{DeadLetterView, DeadLettersPage, Job, RedriveRequest, ReplayRequest},
    delivery::{self, Delivery, Repeat},
    envelope::Envelope,
    frame::{ClientFrame, ServerFrame},
    http::{Accepted, Cancelling, DeliveriesPage, NotificationState, RecentPage},
    notification::Submission,
    problem::Problem,
    receipt::Receipts,
    topics::{Layout, Topics},
};
use serde::{Serialize, de::DeserializeOwned};

fn golden(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(name);
    std::fs::read_to_string(&path)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        .trim_end()
        .to_owned()
}

/// The same object with one more field, which readers must pass over.
fn with_unknown_field(object: &str) -> String {
    format!(
        "{},\"from_the_future\":[{{}}]}}",
        object.strip_suffix('}').unwrap()
    )
}

fn holds<T: Serialize + DeserializeOwned>(name: &str) {
    let text = golden(name);
    for input in [text.clone(), with_unknown_field(&text)] {
        let value: T = serde_json::from_str(&input).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(serde_json::to_string(&value).unwrap(), text, "{name}");
    }
}

#[test]
fn http_bodies_read_back_what_they_write() {
    holds::<Accepted>("accepted.json");
    holds::<Cancelling>("cancelling.json");
    holds::<NotificationState>("notification-state.json");
    holds::<DeliveriesPage>("deliveries-page.json");
    holds::<RecentPage>("recent-page.json");
    holds::<Problem>("problem.json");
    holds::<Claims>("claims.json");
    holds::<AuditPage>("audit-page.json");
    holds::<DeadLettersPage>("dead-letters-page.json");
    holds::<DeadLetterView>("dead-letter.json");
    holds::<Job>("job.json");
}

#[test]
fn records_beside_the_main_stream_read_back_what_they_write() {
    holds::<AuditEntry>("audit-entry.json");
    holds::<Receipts>("receipts.json");
    for text in golden("commands.ndjson").lines() {
        for input in [text.to_owned(), with_unknown_field(text)] {
            let command: Command = serde_json::from_str(&input).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(serde_json::to_string(&command).unwrap(), text);
        }
    }
}

/// A filter that is read past its misspelt half would move everything.
#[test]
fn what_a_job_is_asked_for_is_read_whole_or_not_at_all() {
    let holds_whole = |name: &str, read: &dyn Fn(&str) -> Option<String>| {
        let text = golden(name);
        assert_eq!(read(&text).as_deref(), Some(text.as_str()), "{name}");
        assert_eq!(read(&with_unknown_field(&text)), None, "{name}");
    };
    fn again<T: Serialize + DeserializeOwned>(text: &str) -> Option<String> {
        serde_json::to_string(&serde_json::from_str::<T>(text).ok()?).ok()
    }
    holds_whole("redrive-request.json", &again::<RedriveRequest>);
    holds_whole("replay-request.json", &again::<ReplayRequest>);
}

#[test]
fn a_submission_reads_back_what_it_writes() {
    let text = golden("submission.json");
    for input in [text.clone(), with_unknown_field(&text)] {
        let submission = Submission::parse(input.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&submission).unwrap(), text);
    }
}

#[test]
fn an_envelope_reads_back_what_it_writes() {
    let text = golden("envelope.json");
    for input in [text.clone(), with_unknown_field(&text)] {
        let envelope = Envelope::from_json(input.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(envelope.to_json().unwrap()).unwrap(), text);
    }
}

#[test]
fn a_delivery_is_the_envelope_with_a_count_before_it() {
    let repeat = Repeat {
        delivery: 2,
        attempt: 3,
        replayed: true,
    };
    let sealed = delivery::seal(repeat, golden("envelope.json").as_bytes()).unwrap();
    assert_eq!(sealed, golden("delivery.json"));
    let first = delivery::seal(Repeat::FIRST, golden("envelope.json").as_bytes()).unwrap();
    assert!(first.starts_with(br#"{"delivery":1,"notification_id""#));
    let read = Delivery::from_json(&sealed).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), golden("delivery.json"));
    let address = delivery::Address::from_json(&sealed).unwrap();
    assert_eq!(address.stream().unwrap().to_string(), "user:u1");
}

#[test]
fn a_notification_frame_is_the_delivery_with_its_place_before_it() {
    let place = |offset| Cursor {
        generation: 1,
        shard: 7,
        offset,
    };
    let stream: Stream = "user:u1".parse().unwrap();
    let made =
        delivery::notification_frame(&stream, place(42), place(-1), golden("delivery.json").as_bytes())
            .unwrap();
    let text = golden("frame-notification.json");
    assert_eq!(made, text);
    for input in [text.clone(), with_unknown_field(&text)] {
        let frame = ServerFrame::parse(&input).unwrap();
        assert_eq!(frame.to_json().unwrap(), text);
    }
}

#[test]
fn client_frames_read_back_what_they_write() {
    for text in golden("client-frames.ndjson").lines() {
        for input in [text.to_owned(), with_unknown_field(text)] {
            let frame = ClientFrame::parse(&input).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(serde_json::to_string(&frame).unwrap(), text);
        }
    }
}

#[test]
fn server_frames_read_back_what_they_write() {
    for text in golden("server-frames.ndjson").lines() {
        for input in [text.to_owned(), with_unknown_field(text)] {
            let frame = ServerFrame::parse(&input).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(frame.to_json().unwrap(), text);
        }
    }
}

#[test]
fn topic_names_and_their_partitions_are_the_contracts() {
    let listed: String = Topics::new("carillon.")
        .all(&Layout::SINGLE)
        .iter()
        .map(|t| format!("{} {} {}h\n", t.name, t.partitions, t.retention.as_secs() / 3600))
        .collect();
    assert_eq!(listed.trim_end(), golden("topics.txt"));
}
