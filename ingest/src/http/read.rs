//! Reading: one notification, a tenant's deliveries, a channel's last ones.
//!
//! In: a request without a body. Out: what the store has, as far as the principal may see it.
//! Always: the store is asked for the principal's tenant and no other; what may not be seen is as absent as
//! what is not there.

use axum::{
    extract::{FromRequestParts, RawPathParams},
    response::Response,
};
use carillon_schemas::{
    ChannelName, NotificationId, Stream, TenantId,
    http::{DeliveriesPage, NotificationState, RecentEntry, RecentPage},
    limits,
    status::Status,
};
use carillon_store::DeliveriesQuery;
use http::request::Parts;

use super::{
    Call,
    principal::{Caller, may_see, sees_all},
    problem,
    query::Parameters,
};
use crate::{ingest::Room, refusal::Refusal};

/// How long after its id was made a notification may be on its way to the store, in milliseconds.
const ON_ITS_WAY_MS: u64 = 60_000;
/// How many notifications a snapshot has when nobody says.
const RECENT_DEFAULT: u32 = 5;

/// `GET /v1/notifications/{id}`
pub(super) async fn notification(room: &Room, call: &mut Call, caller: Caller) -> Result<Response, Refusal> {
    let [id] = path(&mut call.parts).await?;
    let id: NotificationId = id.parse().map_err(|e| Refusal::parameter("id", format!("{e}")))?;
    let principal = caller.for_query(Parameters::of(&call.parts.uri)?.text("tenant_id").as_deref())?;
    match room
        .store
        .notification(principal.tenant(), id, call.until)
        .await?
    {
        Some(known) if may_see(&principal, &known.envelope) => problem::shown(&NotificationState {
            status: known.status,
            first_delivered_at: known.first_delivered_at,
            acked_at: known.acked_at,
            timeline: known.timeline,
            notification: known.envelope,
        }),
        _ => Err(absent(id.unix_ms(), room.clock.unix_ms())),
    }
}

/// Not there, or perhaps not there yet, by the moment in its id. Clocks of replicas differ, so that it may also lie
/// ahead.
pub(super) fn absent(made_at: Option<u64>, now_ms: u64) -> Refusal {
    match made_at {
        Some(at) if at.abs_diff(now_ms) < ON_ITS_WAY_MS => Refusal::NotYetVisible,
        _ => Refusal::NotFound,
    }
}

/// `GET /v1/tenants/{tenant}/deliveries`
pub(super) async fn deliveries(room: &Room, call: &mut Call, caller: Caller) -> Result<Response, Refusal> {
    let [tenant] = path(&mut call.parts).await?;
    let (_, tenant) = caller.for_path(&tenant)?;
    let query = deliveries_query(room, &tenant, Parameters::of(&call.parts.uri)?)?;
    let found = room.store.deliveries(&tenant, &query, call.until).await?;
    problem::shown(&DeliveriesPage {
        deliveries: found.rows,
        next_cursor: found.next.map(|next| room.page_key.seal(&tenant, &next)),
    })
}

fn deliveries_query(
    room: &Room,
    tenant: &TenantId,
    mut query: Parameters,
) -> Result<DeliveriesQuery, Refusal> {
    let limit = query.number("limit", 1..=limits::PAGE_ROWS);
    let cursor = query.text("cursor").map(|text| room.page_key.open(tenant, &text));
    if let Some(Err(error)) = &cursor {
        query.broken("cursor", &error.to_string());
    }
    let names = Status::ALL.map(Status::as_str);
    let wanted = DeliveriesQuery {
        limit: limit.unwrap_or(limits::PAGE_ROWS_DEFAULT),
        cursor: cursor.and_then(Result::ok),
        status: query.named("status", Status::from_name, &names),
        channel: query.parsed("channel"),
        since_ms: query.parsed("since"),
    };
    query.finish()?;
    Ok(wanted)
}

/// `GET /v1/tenants/{tenant}/channels/{channel}/recent`
pub(super) async fn recent(room: &Room, call: &mut Call, caller: Caller) -> Result<Response, Refusal> {
    let [tenant, channel] = path(&mut call.parts).await?;
    let (principal, tenant) = caller.for_path(&tenant)?;
    let channel: ChannelName = channel
        .parse()
        .map_err(|e| Refusal::parameter("channel", format!("{e}")))?;
    if !sees_all(&principal) && !principal.may_reach(&channel) {
        return Err(Refusal::Channel);
    }
    let mut query = Parameters::of(&call.parts.uri)?;
    let n = query.number("n", 1..=limits::LAST_N).unwrap_or(RECENT_DEFAULT);
    query.finish()?;
    let stream = Stream::Channel(channel);
    let rows = room.store.recent(&tenant, &stream, n, call.until).await?;
    let entry = |row: carillon_store::RecentRow| RecentEntry {
        cursor: row.cursor,
        notification: row.envelope,
    };
    problem::shown(&RecentPage {
        stream,
        notifications: rows.into_iter().map(entry).collect(),
    })
}

/// The decoded segments of a route's path that have names, in order.
pub(super) async fn path<const N: usize>(parts: &mut Parts) -> Result<[String; N], Refusal> {
    let segments = RawPathParams::from_request_parts(parts, &()).await;
    let segments = segments.map_err(|_| Refusal::NotFound)?;
    let segments: Vec<_> = segments.iter().map(|(_, text)| text.to_owned()).collect();
    segments.try_into().map_err(|_| Refusal::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_the_last_minute_may_be_on_its_way_and_others_are_not() {
        let made = |at| NotificationId::at(at, &[1; 10]).unix_ms();
        assert_eq!(absent(made(1_000_000), 1_059_999), Refusal::NotYetVisible);
        assert_eq!(absent(made(1_000_000), 1_060_000), Refusal::NotFound);
        assert_eq!(
            absent(made(1_000_000), 990_000),
            Refusal::NotYetVisible,
            "a clock behind"
        );
        assert_eq!(absent(made(1_000_000), 1_000), Refusal::NotFound);
        let version_four: NotificationId = "9b2fe8a1-9f5a-4f8e-9d5e-0e6d3a1b2c3d".parse().unwrap();
        assert_eq!(absent(version_four.unix_ms(), 1_000_000), Refusal::NotFound);
    }
}
