//! Looking after: a tenant's dead letters and its audit trail.
//!
//! In: an operator's request without a body. Out: what the store's index has, and the record itself from the
//! dead-letter topic. Always: a record is shown only where it is the one that the tenant's index names.

use std::collections::BTreeMap;

use axum::response::Response;
use carillon_bus::Record;
use carillon_schemas::{
    TenantId,
    audit::{AuditKind, AuditPage},
    dead_letter::{DeadLetterId, DeadLetterRow, DeadLetterState, DeadLetterView, DeadLettersPage},
    headers::{self, Headers},
    limits,
};
use carillon_store::{AuditQuery, DeadLettersQuery, PageCursor};
use tokio::time::Instant;

use super::{Call, principal::Caller, problem, query::Parameters, read::path};
use crate::{
    ingest::Room,
    refusal::{Dependency, Refusal},
};

/// `GET /v1/tenants/{tenant}/dead-letters`
pub(super) async fn dead_letters(room: &Room, call: &mut Call, caller: Caller) -> Result<Response, Refusal> {
    let [tenant] = path(&mut call.parts).await?;
    let (_, tenant) = caller.for_path(&tenant)?;
    let mut query = Parameters::of(&call.parts.uri)?;
    let names = DeadLetterState::ALL.map(DeadLetterState::as_str);
    let wanted = DeadLettersQuery {
        limit: limit(&mut query),
        cursor: cursor(room, &tenant, &mut query),
        oldest_first: false,
        class: query.text("class"),
        state: query.named("state", DeadLetterState::from_name, &names),
        since_ms: query.parsed("since"),
        until_ms: query.parsed("until"),
    };
    query.finish()?;
    let found = room.store.dead_letters(&tenant, &wanted, call.until).await?;
    problem::shown(&DeadLettersPage {
        dead_letters: found.rows,
        next_cursor: found.next.map(|next| room.page_key.seal(&tenant, &next)),
    })
}

/// `GET /v1/tenants/{tenant}/dead-letters/{id}`
pub(super) async fn dead_letter(room: &Room, call: &mut Call, caller: Caller) -> Result<Response, Refusal> {
    let [tenant, id] = path(&mut call.parts).await?;
    let (_, tenant) = caller.for_path(&tenant)?;
    let id: DeadLetterId = id.parse().map_err(|e| Refusal::parameter("id", format!("{e}")))?;
    let row = room.store.dead_letter(&tenant, id, call.until).await?;
    let row = row.ok_or(Refusal::NotFound)?;
    let record = record(room, &row, call.until).await?;
    let (headers, value) = match &record {
        Some(record) => (
            shown(&record.headers),
            record.value.as_deref().unwrap_or_default(),
        ),
        None => (BTreeMap::new(), &[][..]),
    };
    problem::shown(&DeadLetterView {
        value: record
            .as_ref()
            .map(|_| String::from_utf8_lossy(value).into_owned()),
        headers,
        row,
    })
}

/// `GET /v1/tenants/{tenant}/audit`
pub(super) async fn audit(room: &Room, call: &mut Call, caller: Caller) -> Result<Response, Refusal> {
    let [tenant] = path(&mut call.parts).await?;
    let (_, tenant) = caller.for_path(&tenant)?;
    let mut query = Parameters::of(&call.parts.uri)?;
    let names = AuditKind::ALL.map(AuditKind::as_str);
    let wanted = AuditQuery {
        limit: limit(&mut query),
        cursor: cursor(room, &tenant, &mut query),
        kind: query.named("kind", AuditKind::from_name, &names),
        since_ms: query.parsed("since"),
        until_ms: query.parsed("until"),
    };
    query.finish()?;
    let found = room.store.audit_trail(&tenant, &wanted, call.until).await?;
    problem::shown(&AuditPage {
        entries: found.entries,
        next_cursor: found.next.map(|next| room.page_key.seal(&tenant, &next)),
    })
}

fn limit(query: &mut Parameters) -> u32 {
    let limit = query.number("limit", 1..=limits::PAGE_ROWS);
    limit.unwrap_or(limits::PAGE_ROWS_DEFAULT)
}

fn cursor(room: &Room, tenant: &TenantId, query: &mut Parameters) -> Option<PageCursor> {
    match room.page_key.open(tenant, &query.text("cursor")?) {
        Ok(cursor) => Some(cursor),
        Err(error) => {
            query.broken("cursor", &error.to_string());
            None
        }
    }
}

/// The record of a dead letter, if the topic still has it. A topic that was made anew has other records at the
/// same places: they have another origin.
async fn record(room: &Room, row: &DeadLetterRow, until: Instant) -> Result<Option<Record>, Refusal> {
    let DeadLetterId { partition, offset } = row.id;
    let left = until.saturating_duration_since(Instant::now());
    let deadline = room.config.store_deadline.min(left);
    let page = room
        .dead_letters
        .read(partition, offset, offset + 1, usize::MAX, deadline)
        .await
        .map_err(|e| Refusal::Unavailable(Dependency::Kafka, e.to_string()))?;
    let found = page.records.into_iter().find(|record| record.offset == offset);
    Ok(found.filter(|record| record.headers.text(headers::ORIGIN) == Some(row.origin.as_str())))
}

/// Headers for people: what is no text is shown in hexadecimal; what stands twice, one behind the other.
fn shown(headers: &Headers) -> BTreeMap<String, String> {
    let mut all = BTreeMap::<String, String>::new();
    for (name, value) in headers.iter() {
        let text = match std::str::from_utf8(value) {
            Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
            _ => value
                .iter()
                .fold("0x".to_owned(), |hex, byte| format!("{hex}{byte:02x}")),
        };
        all.entry(name.to_owned())
            .and_modify(|before| {
                before.push_str(", ");
                before.push_str(&text);
            })
            .or_insert(text);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_shown_as_text_where_they_are_text() {
        let mut headers = Headers::default();
        headers.push_raw("a", "1");
        headers.push_raw("a", "2");
        headers.push_raw("partition", &[0, 0, 0, 2][..]);
        headers.push_raw("raw", &[0xff][..]);
        let shown = shown(&headers);
        let shown: Vec<_> = shown.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(
            shown,
            [("a", "1, 2"), ("partition", "0x00000002"), ("raw", "0xff")]
        );
    }
}
