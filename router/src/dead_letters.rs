//! Dead letters: records that cannot be handled, kept with their reason.
//!
//! In: ended records. Out: the same bytes and headers on the dead-letter topic, acknowledged, and their rows in the
//! index of their tenant. Always: what cannot be written is held and told; it is never dropped.

use std::sync::Arc;

use bytes::Bytes;
use carillon_bus::{Ack, Outgoing, Record};
use carillon_schemas::{
    dead_letter::{DeadLetterId, DeadLetterRow, DeadLetterState},
    headers,
};
use carillon_store::DeadLetter;
use tracing::warn;

use crate::{
    bind::bind,
    hold::Site,
    metrics::Meters,
    moves::Moves,
    poison::Code,
    trail::Trail,
    travel::origin,
    verdict::Reason,
    work::{End, Ended},
};

/// The room.
pub(crate) struct DeadLetters {
    pub(crate) moves: Arc<Moves>,
    pub(crate) topic: Arc<str>,
    pub(crate) node: Arc<str>,
    pub(crate) trail: Arc<Trail>,
    pub(crate) meters: Meters,
}

impl DeadLetters {
    /// Writes those that are to become dead letters; gives their rows.
    pub(crate) async fn write(&self, ended: &[&Ended], at_ms: u64) -> Vec<DeadLetter> {
        let dead: Vec<_> = ended.iter().copied().filter_map(dead).collect();
        let Some((first, reason)) = dead.first() else {
            return Vec::new();
        };
        let letters = dead
            .iter()
            .map(|(ended, reason)| letter(&self.topic, &ended.way.record, reason));
        let letters: Vec<_> = letters.collect();
        let acks = self.moves.write(Site::DeadLetters, &letters).await;
        let Record {
            topic,
            partition,
            offset,
            ..
        } = &first.way.record;
        warn!(
            count = dead.len(), %topic, partition, offset, code = reason.code.as_str(),
            "records moved to the dead letters"
        );
        let written = dead.into_iter().zip(letters).zip(acks);
        written
            .filter_map(|(((ended, reason), letter), ack)| {
                self.meters.dead_letter(reason);
                let row = row(ended, reason, &letter, ack, &self.node, at_ms)?;
                self.trail.dead_letter(&row.tenant, reason.code);
                Some(row)
            })
            .collect()
    }
}

fn dead(ended: &Ended) -> Option<(&Ended, &Reason)> {
    match &ended.end {
        End::Dead(reason) => Some((ended, reason)),
        _ => None,
    }
}

/// Its row in the index; none where nobody can say whose it is.
fn row(
    ended: &Ended,
    reason: &Reason,
    letter: &Outgoing,
    ack: Ack,
    node: &Arc<str>,
    at_ms: u64,
) -> Option<DeadLetter> {
    let new = ended.new.as_ref();
    let tenant = match new {
        Some(new) => new.envelope.tenant_id.clone(),
        None => bind(&ended.way.record).ok()?,
    };
    let row = DeadLetterRow {
        id: DeadLetterId {
            partition: ack.partition,
            offset: ack.offset,
        },
        at: at_ms,
        // Of one that the store does not take, the state cannot be written either.
        notification_id: new
            .filter(|_| reason.code != Code::StoreTimeout)
            .map(|new| new.envelope.notification_id),
        channel: new.map(|new| new.envelope.channel.clone()),
        error_class: reason.class.as_str().to_owned(),
        error_code: reason.code.as_str().to_owned(),
        error_message: reason.message(),
        origin: letter
            .headers
            .text(headers::ORIGIN)
            .unwrap_or_default()
            .to_owned(),
        attempt: ended.way.travel.attempt,
        redrive_count: ended.way.travel.redrive,
        bytes: letter.value.len() as u64,
        state: DeadLetterState::Waiting,
        job_id: None,
    };
    Some(DeadLetter {
        tenant,
        row,
        node: Arc::clone(node),
    })
}

/// The dead letter of a record. Its key is the record's, which is the tenant wherever there is one.
pub(crate) fn letter(topic: &Arc<str>, record: &Record, reason: &Reason) -> Outgoing {
    let mut headers = record.headers.clone();
    if headers.get(headers::ORIGIN).is_none() {
        headers.set(headers::ORIGIN, origin(record));
    }
    headers.set(headers::ERROR_CLASS, reason.class.as_str());
    headers.set(headers::ERROR_CODE, reason.code.as_str());
    headers.set(headers::ERROR_MESSAGE, reason.message());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{poison::Class, work::sample};

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

    #[test]
    fn the_row_of_a_record_that_nobody_can_read_names_its_tenant_and_no_notification() {
        let mut record = sample::record("acme", 9);
        record.value = Some("junk".into());
        let ended = |record: Record| {
            let on = crate::travel::On::Notifications;
            let opened = crate::open::item(record, on, crate::sources::Source::Main, &Arc::from("r1"), 7);
            opened.unwrap_err()
        };
        let row_of = |ended: &Ended| {
            let (_, reason) = dead(ended).unwrap();
            let letter = letter(&Arc::from("dead"), &ended.way.record, reason);
            let ack = Ack {
                partition: 3,
                offset: 42,
            };
            row(ended, reason, &letter, ack, &Arc::from("r1"), 7)
        };
        let known = row_of(&ended(record.clone())).unwrap();
        assert_eq!(known.tenant.as_str(), "acme");
        assert_eq!(
            (known.row.id.to_string().as_str(), known.row.notification_id),
            ("3-42", None)
        );
        assert_eq!(known.row.error_code, "not_an_envelope");
        assert_eq!(known.row.origin, "carillon.notifications.v1/0/9");
        record.headers = headers::Headers::default();
        assert_eq!(row_of(&ended(record)), None);
    }
}
