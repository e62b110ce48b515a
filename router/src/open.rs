//! Opening: from a record to what is kept and dispatched.
//!
//! In: a record. Out: the notification with its tenant and stream, or poison with its code.
//! Always: pure; the bytes inside are the record's own, never encoded again.

use std::sync::Arc;

use bytes::Bytes;
use carillon_bus::Record;
use carillon_schemas::{
    NotificationId,
    envelope::{self, Envelope},
    headers,
};
use carillon_store::NewNotification;

use crate::{
    bind::bind,
    poison::{Code, Poison},
    sources::Source,
    travel::{FIRST_ATTEMPT, On, Travel},
    verdict::{Outcome, verdict},
    work::{End, Ended, Item, Way},
};

/// Opens a record of any source; what cannot be opened has ended.
pub(crate) fn item(
    record: Record,
    on: On,
    source: Source,
    node: &Arc<str>,
    now_ms: u64,
) -> Result<Item, Box<Ended>> {
    let opened = open(&record, node, now_ms);
    let travelled = Travel::read(&record.headers, on, now_ms);
    match (opened, travelled) {
        (Ok(mut new), Ok(travel)) => {
            new.attempt = travel.attempt;
            new.redrive = travel.redrive;
            Ok(Item {
                record,
                new,
                travel,
                source,
            })
        }
        (Err(poison), _) => Err(ended(record, source, None, poison, now_ms)),
        (Ok(new), Err(poison)) => Err(ended(record, source, Some(new), poison, now_ms)),
    }
}

fn ended(
    record: Record,
    source: Source,
    new: Option<NewNotification>,
    poison: Poison,
    now_ms: u64,
) -> Box<Ended> {
    let travel = Travel::begins(now_ms);
    let end = End::of(verdict(Outcome::Poison(poison), &travel, now_ms));
    let way = Way {
        record,
        travel,
        source,
        head: None,
    };
    Box::new(Ended {
        way,
        new,
        end: end.unwrap_or(End::Done),
    })
}

/// Reads the notification of a record.
pub(crate) fn open(record: &Record, node: &Arc<str>, at_ms: u64) -> Result<NewNotification, Poison> {
    let tenant = bind(record)?;
    known_schema(record)?;
    let bytes = value(record)?;
    let envelope = Envelope::from_json(&bytes).map_err(|error| not_an_envelope(&error))?;
    if envelope.tenant_id != tenant {
        return Err(Poison::new(
            Code::TenantMismatch,
            "the envelope names another tenant than the header",
        ));
    }
    same_id(record, envelope.notification_id)?;
    let stream = envelope
        .stream()
        .map_err(|error| Poison::new(Code::NoAddressee, error.to_string()))?;
    Ok(NewNotification {
        redrive: 0,
        envelope,
        bytes,
        stream,
        attempt: FIRST_ATTEMPT,
        at_ms,
        node: Arc::clone(node),
    })
}

/// A record without the header is taken for the current schema: other tools may leave it out.
fn known_schema(record: &Record) -> Result<(), Poison> {
    let mut named = record.headers.iter().filter(|(name, _)| *name == headers::SCHEMA);
    match (named.next(), named.next()) {
        (None, _) => Ok(()),
        (Some((_, schema)), None) if schema == envelope::SCHEMA.as_bytes() => Ok(()),
        _ => Err(Poison::new(
            Code::UnknownSchema,
            "the header carillon-schema is not envelope/1",
        )),
    }
}

/// The value, if it can carry a delivery count before its first field.
fn value(record: &Record) -> Result<Bytes, Poison> {
    let Some(value) = &record.value else {
        return Err(Poison::new(Code::NoValue, "the record has no value"));
    };
    if !(value.starts_with(b"{\"") && value.ends_with(b"}")) {
        return Err(Poison::new(
            Code::NotAnEnvelope,
            "the value is not a compact JSON object",
        ));
    }
    Ok(value.clone())
}

fn not_an_envelope(error: &serde_json::Error) -> Poison {
    Poison::new(Code::NotAnEnvelope, error.to_string())
}

fn same_id(record: &Record, id: NotificationId) -> Result<(), Poison> {
    match record.headers.text(headers::ID) {
        Some(text) if text.parse() != Ok(id) => Err(Poison::new(
            Code::IdMismatch,
            "the envelope names another notification than the header",
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::sample;
    use proptest::prelude::*;

    fn code(record: &Record) -> Code {
        open(record, &Arc::from("r1"), 7).unwrap_err().code
    }

    fn with_value(value: impl Into<Bytes>) -> Record {
        let mut record = sample::record("acme", 0);
        record.value = Some(value.into());
        record
    }

    #[test]
    fn an_envelope_is_opened_and_its_bytes_are_the_records_own() {
        let record = sample::record("acme", 3);
        let new = open(&record, &Arc::from("r1"), 7).unwrap();
        assert_eq!(Some(&new.bytes), record.value.as_ref());
        assert_eq!(new.stream.to_string(), "channel:alerts");
        assert_eq!((new.attempt, new.at_ms, &*new.node), (1, 7, "r1"));
    }

    #[test]
    fn what_is_no_envelope_is_poison() {
        for junk in [
            "",
            "junk",
            "{}",
            "[]",
            " {\"a\":1}",
            "{\"content\":\"x\"}",
            "{\"a\":1} ",
        ] {
            assert_eq!(code(&with_value(junk)), Code::NotAnEnvelope, "{junk:?}");
        }
        let mut tombstone = sample::record("acme", 0);
        tombstone.value = None;
        assert_eq!(code(&tombstone), Code::NoValue);
    }

    #[test]
    fn an_envelope_of_another_tenant_or_notification_is_poison() {
        let other = sample::record("globex", 0).value.unwrap();
        assert_eq!(code(&with_value(other)), Code::TenantMismatch);
        let mut record = sample::record("acme", 0);
        record
            .headers
            .set(headers::ID, "019a0000-0000-7000-8000-ffffffffffff");
        assert_eq!(code(&record), Code::IdMismatch);
    }

    #[test]
    fn a_user_audience_without_a_user_is_poison() {
        let text = String::from_utf8(sample::record("acme", 0).value.unwrap().to_vec()).unwrap();
        let text = text.replace(
            "\"channel\":\"alerts\"",
            "\"channel\":\"alerts\",\"audience\":\"user\"",
        );
        let text = text.replace("\"audience\":\"channel\",", "");
        assert_eq!(code(&with_value(text)), Code::NoAddressee);
    }

    #[test]
    fn a_schema_that_is_newer_or_doubled_is_unknown_and_a_missing_one_is_ours() {
        let mut newer = sample::record("acme", 0);
        newer.headers.set(headers::SCHEMA, "envelope/2");
        assert_eq!(code(&newer), Code::UnknownSchema);
        let mut doubled = sample::record("acme", 0);
        doubled.headers.push_raw(headers::SCHEMA, "envelope/1");
        doubled.headers.push_raw(headers::SCHEMA, "envelope/1");
        assert_eq!(code(&doubled), Code::UnknownSchema);
        assert!(open(&sample::record("acme", 0), &Arc::from("r1"), 0).is_ok());
    }

    #[test]
    fn a_record_with_bad_headers_has_ended_and_names_its_notification() {
        let mut record = sample::record("acme", 3);
        record.headers.set(headers::ATTEMPT, "-1");
        let opened = item(record, On::Notifications, Source::Main, &Arc::from("r1"), 7);
        let ended = opened.unwrap_err();
        assert!(matches!(ended.end, End::Dead(reason) if reason.code == Code::BadHeaders));
        assert!(ended.new.is_some());
    }

    proptest! {
        #[test]
        fn poison_anywhere_leaves_the_others_unharmed(poisoned in prop::collection::vec(any::<bool>(), 0..60)) {
            for (at, bad) in poisoned.into_iter().enumerate() {
                let mut record = sample::record("acme", at as i64);
                if bad { record.value = Some("junk".into()); }
                let opened = item(record.clone(), On::Notifications, Source::Main, &Arc::from("r1"), 0);
                prop_assert_eq!(opened.is_err(), bad);
                let kept = opened.map_or_else(|ended| ended.way.record, |item| item.record);
                prop_assert_eq!(kept, record);
            }
        }

        #[test]
        fn no_value_makes_it_panic(value: Vec<u8>) {
            let _ = open(&with_value(value), &Arc::from("r1"), 0);
        }

        #[test]
        fn an_envelope_with_one_byte_changed_is_opened_or_poison(at in 0usize..200, byte: u8) {
            let mut value = sample::record("acme", 0).value.unwrap().to_vec();
            let at = at % value.len();
            value[at] = byte;
            if let Ok(new) = open(&with_value(value), &Arc::from("r1"), 0) {
                prop_assert_eq!(new.envelope.tenant_id.as_str(), "acme");
            }
        }
    }
}
