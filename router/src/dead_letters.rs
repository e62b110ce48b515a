//! Dead letters: records that cannot be handled, kept with their reason.
//!
//! In: ended records. Out: the same bytes and headers on the dead-letter topic, acknowledged.
//! Always: what cannot be written is held and told; it is never dropped.

use std::sync::Arc;

use bytes::Bytes;
use carillon_bus::{Outgoing, Producer, Record, SendError};
use carillon_schemas::headers;
use tracing::{error, warn};

use crate::{
    hold::{Dependency, Holds, Site},
    metrics::Meters,
    verdict::Reason,
    work::{End, Ended},
};

/// Longest reason in words, in bytes.
const MESSAGE_BYTES: usize = 256;

/// The room.
pub(crate) struct DeadLetters {
    pub(crate) producer: Producer,
    pub(crate) topic: Arc<str>,
    pub(crate) holds: Arc<Holds>,
    pub(crate) meters: Meters,
}

impl DeadLetters {
    /// Writes those that are to become dead letters; waits for Kafka as long as it takes.
    pub(crate) async fn write(&self, ended: &[Ended]) {
        let mut unwritten: Vec<_> = ended.iter().filter_map(dead).collect();
        let mut attempts = self.holds.attempts(Site::DeadLetters);
        let count = unwritten.len();
        while let Some(error) = self.attempt(&mut unwritten).await {
            let (record, _) = unwritten[0];
            error!(
                topic = %record.topic, partition = record.partition, offset = record.offset,
                unwritten = unwritten.len(), error = %error, "dead letter not written, its partition waits"
            );
            self.meters.dead_letter_failures.inc();
            attempts.wait(Dependency::Kafka, &error.to_string()).await;
        }
        if let Some((record, reason)) = ended.iter().find_map(dead) {
            warn!(
                count, topic = %record.topic, partition = record.partition, offset = record.offset,
                code = reason.code.as_str(), "records moved to the dead letters"
            );
        }
    }

    /// Tries each once; leaves those that failed, and says why the first did.
    async fn attempt(&self, unwritten: &mut Vec<(&Record, &Reason)>) -> Option<SendError> {
        let sent: Vec<_> = unwritten
            .iter()
            .map(|(record, reason)| self.producer.send(letter(&self.topic, record, reason)))
            .collect();
        let mut failed = Vec::new();
        let mut first = None;
        for (letter, sent) in unwritten.drain(..).zip(sent) {
            let answer = match sent {
                Ok(delivery) => delivery.await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(_) => self.meters.dead_letter(letter.1),
                Err(error) => {
                    failed.push(letter);
                    first.get_or_insert(error);
                }
            }
        }
        *unwritten = failed;
        first
    }
}

fn dead(ended: &Ended) -> Option<(&Record, &Reason)> {
    match &ended.end {
        End::Dead(reason) => Some((&ended.record, reason)),
        End::Done => None,
    }
}

/// The dead letter of a record. Its key is the record's, which is the tenant wherever there is one.
fn letter(topic: &Arc<str>, record: &Record, reason: &Reason) -> Outgoing {
    let mut headers = record.headers.clone();
    let origin = format!("{}/{}/{}", record.topic, record.partition, record.offset);
    if headers.get(headers::ORIGIN).is_none() {
        headers.set(headers::ORIGIN, origin);
    }
    headers.set(headers::ERROR_CLASS, reason.class.as_str());
    headers.set(headers::ERROR_CODE, reason.code.as_str());
    headers.set(headers::ERROR_MESSAGE, message(&reason.text));
    headers.set(
        headers::DLT_TOPIC,
        Bytes::copy_from_slice(record.topic.as_bytes()),
    );
    headers.set(headers::DLT_PARTITION, record.partition.to_be_bytes().to_vec());
    headers.set(headers::DLT_OFFSET, record.offset.to_be_bytes().to_vec());
    Outgoing {
        topic: Arc::clone(topic),
        partition: None,
        key: record.key.clone().unwrap_or_default(),
        value: record.value.clone().unwrap_or_default(),
        headers,
    }
}

/// The reason in words, short enough for a header.
fn message(text: &str) -> String {
    let end = (0..=MESSAGE_BYTES.min(text.len()))
        .rev()
        .find(|&at| text.is_char_boundary(at));
    text[..end.unwrap_or(0)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        poison::{Class, Code},
        work::sample,
    };
    use proptest::prelude::*;

    fn reason(text: &str) -> Reason {
        Reason {
            class: Class::Permanent,
            code: Code::NotAnEnvelope,
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_dead_letter_is_the_record_with_its_reason_and_its_place() {
        let mut record = sample::record("acme", 258);
        record.partition = 2;
        record.headers.push_raw("x-theirs", "1");
        record.headers.push_raw("x-theirs", "2");
        let letter = letter(&Arc::from("dead"), &record, &reason("expected value at line 1"));
        assert_eq!(
            (Some(&letter.key), Some(&letter.value)),
            (record.key.as_ref(), record.value.as_ref())
        );
        let theirs: Vec<_> = letter.headers.iter().take(record.headers.len()).collect();
        assert_eq!(theirs, record.headers.iter().collect::<Vec<_>>());
        for (name, value) in [
            (headers::ORIGIN, &b"carillon.notifications.v1/2/258"[..]),
            (headers::ERROR_CLASS, b"permanent"),
            (headers::ERROR_CODE, b"not_an_envelope"),
            (headers::ERROR_MESSAGE, b"expected value at line 1"),
            (headers::DLT_TOPIC, b"carillon.notifications.v1"),
            (headers::DLT_PARTITION, &[0, 0, 0, 2]),
            (headers::DLT_OFFSET, &[0, 0, 0, 0, 0, 0, 1, 2]),
        ] {
            assert_eq!(letter.headers.get(name).map(|b| &b[..]), Some(value), "{name}");
        }
    }

    #[test]
    fn the_origin_is_written_once() {
        let mut record = sample::record("acme", 9);
        record.headers.set(headers::ORIGIN, "first/0/1");
        let letter = letter(&Arc::from("dead"), &record, &reason(""));
        assert_eq!(letter.headers.text(headers::ORIGIN), Some("first/0/1"));
    }

    proptest! {
        #[test]
        fn a_message_is_cut_at_a_character(text in "\\PC{0,400}") {
            let short = message(&text);
            prop_assert!(text.starts_with(&short) && short.len() <= MESSAGE_BYTES);
            prop_assert!(short.len() == text.len() || short.len() > MESSAGE_BYTES - 4);
        }
    }
}
