//! Ordering: cancels, redrives, discards and replays, from bytes to 202.
//!
//! In: an operator's or a producer's request. Out: a command on Kafka, and 202 once it is acknowledged.
//! Always: who ordered what stands in the tenant's audit trail; a job's id in a request makes repeats harmless.

use axum::{body::Body, response::Response};
use bytes::Bytes;
use carillon_auth::Principal;
use carillon_bus::AuditEvent;
use carillon_schemas::{
    NotificationId, TenantId,
    audit::AuditKind,
    command::{Command, Order},
    dead_letter::{Job, JobKind, JobState, RedriveRequest, ReplayRequest},
    http::{CancelStatus, Cancelling},
    status::Status,
};
use carillon_store::Known;
use uuid::Uuid;

use super::{
    Call, body,
    principal::Caller,
    problem,
    query::Parameters,
    read::{absent, path},
};
use crate::{command, ingest::Room, refusal::Refusal};

/// How long before its due time a notification can be cancelled at the latest, in milliseconds: what comes later
/// might not reach the router in time.
const BEFORE_DUE_MS: u64 = 500;

/// `DELETE /v1/notifications/{id}`
pub(super) async fn cancel(room: &Room, call: &mut Call, caller: Caller) -> Result<Response, Refusal> {
    let [id] = path(&mut call.parts).await?;
    let id: NotificationId = id.parse().map_err(|e| Refusal::parameter("id", format!("{e}")))?;
    let principal = caller.for_query(Parameters::of(&call.parts.uri)?.text("tenant_id").as_deref())?;
    let tenant = principal.tenant();
    call.tenant = Some(tenant.clone());
    let now_ms = room.clock.unix_ms();
    let known = room.store.notification(tenant, id, call.until).await?;
    match known {
        Some(known) if principal.may_reach(&known.envelope.channel) => must_wait(&known, now_ms)?,
        _ => return Err(absent(id.unix_ms(), now_ms)),
    }
    let wanted = Wanted {
        id: command::new_id(now_ms),
        tenant,
        order: Order::Cancel { notification_id: id },
        code: "cancel",
        subject: id.to_string(),
    };
    order(room, call, &principal, wanted, now_ms).await?;
    problem::taken(&Cancelling {
        status: CancelStatus::Cancelling,
        notification_id: id,
    })
}

/// Whether a notification is scheduled, and for long enough. One that was just stored is about to be scheduled.
fn must_wait(known: &Known, now_ms: u64) -> Result<(), Refusal> {
    let due = known.envelope.deliver_at.unwrap_or(0);
    let in_time = due > now_ms.saturating_add(BEFORE_DUE_MS);
    match known.status {
        Status::Scheduled if in_time => Ok(()),
        Status::Accepted | Status::Stored if in_time => Err(Refusal::NotYetVisible),
        status => Err(Refusal::NotCancellable(status)),
    }
}

/// `POST /v1/tenants/{tenant}/dead-letters/redrive` and `…/discard`
pub(super) async fn dead_letters(
    room: &Room,
    call: &mut Call,
    caller: Caller,
    body: Body,
    kind: JobKind,
) -> Result<Response, Refusal> {
    let (principal, tenant, bytes) = begin(room, call, caller, body).await?;
    let mut request = RedriveRequest::parse(&bytes)?;
    let now_ms = room.clock.unix_ms();
    let id = *request.redrive_id.get_or_insert_with(|| command::new_id(now_ms));
    let job = Job {
        dry_run: request.dry_run,
        ..running(id, &tenant, kind, &principal, now_ms)
    };
    let (order, code) = match kind {
        JobKind::Discard => (Order::Discard(request), "discard"),
        _ => (Order::Redrive(request), "redrive"),
    };
    start(room, call, &principal, &job, order, code).await?;
    problem::accepted(&job, format!("/v1/tenants/{tenant}/redrives/{id}"))
}

/// `POST /v1/tenants/{tenant}/replays`
pub(super) async fn replay(
    room: &Room,
    call: &mut Call,
    caller: Caller,
    body: Body,
) -> Result<Response, Refusal> {
    let (principal, tenant, bytes) = begin(room, call, caller, body).await?;
    let mut request = ReplayRequest::parse(&bytes)?;
    let now_ms = room.clock.unix_ms();
    let id = *request.replay_id.get_or_insert_with(|| command::new_id(now_ms));
    let job = running(id, &tenant, JobKind::Replay, &principal, now_ms);
    start(room, call, &principal, &job, Order::Replay(request), "replay").await?;
    problem::accepted(&job, format!("/v1/tenants/{tenant}/replays/{id}"))
}

/// `GET /v1/tenants/{tenant}/redrives/{id}` and `…/replays/{id}`
pub(super) async fn job(
    room: &Room,
    call: &mut Call,
    caller: Caller,
    kinds: &[JobKind],
) -> Result<Response, Refusal> {
    let [tenant, id] = path(&mut call.parts).await?;
    let (_, tenant) = caller.for_path(&tenant)?;
    let id = Uuid::try_parse(&id).map_err(|_| Refusal::parameter("id", "must be a UUID"))?;
    match room.store.job(&tenant, id, call.until).await? {
        Some(job) if kinds.contains(&job.kind) => problem::shown(&job),
        Some(_) => Err(Refusal::NotFound),
        None => Err(absent(command::moment_of(id), room.clock.unix_ms())),
    }
}

/// Who asks for a job, for which tenant, and with which body.
async fn begin(
    room: &Room,
    call: &mut Call,
    caller: Caller,
    body: Body,
) -> Result<(Principal, TenantId, Bytes), Refusal> {
    let [tenant] = path(&mut call.parts).await?;
    let (principal, tenant) = caller.for_path(&tenant)?;
    call.tenant = Some(principal.tenant().clone());
    let headers = &call.parts.headers;
    body::must_be_json(headers)?;
    let bytes = body::collect(headers, body, room.config.body_bytes, room.config.body_deadline).await?;
    Ok((principal, tenant, bytes))
}

/// A job that was just asked for.
fn running(id: Uuid, tenant: &TenantId, kind: JobKind, principal: &Principal, now_ms: u64) -> Job {
    Job {
        id,
        tenant_id: tenant.clone(),
        kind,
        state: JobState::Running,
        dry_run: false,
        actor: Some(principal.subject().to_string()),
        created_at: now_ms,
        updated_at: now_ms,
        matched: 0,
        moved: 0,
        parked: 0,
        skipped: 0,
        by_code: Default::default(),
        position: None,
        detail: None,
    }
}

async fn start(
    room: &Room,
    call: &Call,
    principal: &Principal,
    job: &Job,
    what: Order,
    code: &'static str,
) -> Result<(), Refusal> {
    let wanted = Wanted {
        id: job.id,
        tenant: &job.tenant_id,
        order: what,
        code,
        subject: job.id.to_string(),
    };
    order(room, call, principal, wanted, job.created_at).await
}

/// What is ordered, and how the audit trail calls it.
struct Wanted<'a> {
    id: Uuid,
    tenant: &'a TenantId,
    order: Order,
    code: &'static str,
    subject: String,
}

/// Puts a command on Kafka and its asking into the audit trail.
async fn order(
    room: &Room,
    call: &Call,
    principal: &Principal,
    wanted: Wanted<'_>,
    now_ms: u64,
) -> Result<(), Refusal> {
    let actor = Some(principal.subject().to_string());
    let sealed = command::seal(
        &Command {
            id: wanted.id,
            tenant_id: wanted.tenant.clone(),
            actor: actor.clone(),
            at: now_ms,
            order: wanted.order,
        },
        &room.commands,
    )?;
    let permit = room.policy.admit_command(wanted.tenant, sealed.value.len())?;
    room.publisher.publish(sealed, permit, call.until).await?;
    // Once Kafka has it; by then the router may have entered what came of it.
    let asked = AuditEvent {
        tenant: wanted.tenant.clone(),
        kind: AuditKind::Administration,
        code: wanted.code,
        actor,
        subject: Some(wanted.subject),
        detail: None,
    };
    room.audit.note_at(asked, now_ms);
    Ok(())
}
