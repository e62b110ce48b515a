//! Every route of this room on one screen, with its scope; and what happens around each.
//!
//! In: requests. Out: answers, each with its correlation id. Always: a route is served only to who has its scope;
//! every error is a problem; a panic is an answer 500 and ends nothing else.

use std::{panic::AssertUnwindSafe, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::Request,
    middleware,
    response::Response,
    routing::{MethodFilter, on},
};
use carillon_schemas::{CorrelationId, TenantId, audit::AuditKind, claims::Scope, dead_letter::JobKind};
use futures_util::FutureExt;
use http::request::Parts;
use tokio::time::Instant;
use tracing::{debug, error};

use crate::{ingest::Room, refusal::Refusal};

mod body;
mod cors;
mod operate;
mod order;
mod principal;
mod problem;
mod publish;
mod query;
mod read;
mod span;

/// One of these scopes sees notifications; how many of them, `principal` says.
const READ: &[Scope] = &[Scope::Read, Scope::ReadTenant, Scope::Operate, Scope::Admin];

/// A route: its method and path, one of which scopes it takes, and who answers.
struct Route {
    method: MethodFilter,
    path: &'static str,
    scopes: &'static [Scope],
    answer: Answer,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Submit,
    Notification,
    Cancel,
    Deliveries,
    Recent,
    Audit,
    DeadLetters,
    DeadLetter,
    Redrive,
    Discard,
    Redriven,
    Replay,
    Replayed,
}

const GET: MethodFilter = MethodFilter::GET;
const POST: MethodFilter = MethodFilter::POST;
const DELETE: MethodFilter = MethodFilter::DELETE;
/// Dead letters, and what was stored again.
const OPERATE: &[Scope] = &[Scope::Operate];

#[rustfmt::skip]
static ROUTES: [Route; 13] = [
    Route { method: POST, path: "/v1/notifications", scopes: &[Scope::Publish], answer: Answer::Submit },
    Route { method: GET, path: "/v1/notifications/{id}", scopes: READ, answer: Answer::Notification },
    Route { method: DELETE, path: "/v1/notifications/{id}", scopes: &[Scope::Publish], answer: Answer::Cancel },
    Route { method: GET, path: "/v1/tenants/{tenant}/deliveries", scopes: &[Scope::ReadTenant], answer: Answer::Deliveries },
    Route { method: GET, path: "/v1/tenants/{tenant}/channels/{channel}/recent", scopes: READ, answer: Answer::Recent },
    Route { method: GET, path: "/v1/tenants/{tenant}/audit", scopes: &[Scope::ReadTenant], answer: Answer::Audit },
    Route { method: GET, path: "/v1/tenants/{tenant}/dead-letters", scopes: OPERATE, answer: Answer::DeadLetters },
    Route { method: GET, path: "/v1/tenants/{tenant}/dead-letters/{id}", scopes: OPERATE, answer: Answer::DeadLetter },
    Route { method: POST, path: "/v1/tenants/{tenant}/dead-letters/redrive", scopes: OPERATE, answer: Answer::Redrive },
    Route { method: POST, path: "/v1/tenants/{tenant}/dead-letters/discard", scopes: OPERATE, answer: Answer::Discard },
    Route { method: GET, path: "/v1/tenants/{tenant}/redrives/{id}", scopes: OPERATE, answer: Answer::Redriven },
    Route { method: POST, path: "/v1/tenants/{tenant}/replays", scopes: OPERATE, answer: Answer::Replay },
    Route { method: GET, path: "/v1/tenants/{tenant}/replays/{id}", scopes: OPERATE, answer: Answer::Replayed },
];

/// Where a request ended up.
#[derive(Clone, Copy)]
enum Place {
    Route(&'static Route),
    /// At a path that is none of ours.
    Nowhere,
    /// At a path of ours, with a method that is not the path's.
    OtherMethod,
}

/// The routes, ready to be merged with those of other rooms.
pub(crate) fn routes(room: &Arc<Room>) -> Router {
    let at = |place| {
        let room = Arc::clone(room);
        move |request: Request| serve(room, place, request)
    };
    let mut router = Router::new();
    for route in &ROUTES {
        router = router.route(route.path, on(route.method, at(Place::Route(route))));
    }
    router = router
        .fallback(at(Place::Nowhere))
        .method_not_allowed_fallback(at(Place::OtherMethod));
    match cors::Cors::of(&room.config.cors_origins, &room.clock) {
        Some(cors) => router.layer(middleware::from_fn_with_state(Arc::new(cors), cors::around)),
        None => router,
    }
}

/// A request while it is served.
struct Call {
    parts: Parts,
    /// The id that ties everything together; the header's, else the body's, else one that we make.
    correlation: Option<CorrelationId>,
    /// In whose audit trail a refusal stands, once it is known.
    tenant: Option<TenantId>,
    started: Instant,
    /// When the whole request ends.
    until: Instant,
}

impl Call {
    /// The correlation id, made up now if there is none yet.
    fn correlation(&mut self, room: &Room) -> &CorrelationId {
        self.correlation
            .get_or_insert_with(|| span::made_up(room.clock.unix_ms()))
    }
}

async fn serve(room: Arc<Room>, place: Place, request: Request) -> Response {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let mut call = Call {
        parts,
        correlation: None,
        tenant: None,
        started,
        until: started + room.config.request_deadline,
    };
    let answer = AssertUnwindSafe(answer(&room, place, &mut call, body))
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Err(Refusal::Internal("panicked".to_owned())));
    let mut response = match answer {
        Ok(response) => response,
        Err(refusal) => refused(&room, place, &mut call, &refusal),
    };
    problem::correlate(&mut response, call.correlation(&room));
    response
}

async fn answer(room: &Room, place: Place, call: &mut Call, body: Body) -> Result<Response, Refusal> {
    call.correlation = span::given(&call.parts.headers)?;
    let route = match place {
        Place::Route(route) => route,
        Place::Nowhere => return Err(Refusal::NotFound),
        Place::OtherMethod => return Err(Refusal::Method),
    };
    let caller = principal::identify(&room.access, &call.parts.headers)?;
    call.tenant = caller.tenant().cloned();
    caller.must_have(route.scopes)?;
    match route.answer {
        Answer::Submit => publish::submit(room, call, caller, body).await,
        Answer::Notification => read::notification(room, call, caller).await,
        Answer::Deliveries => read::deliveries(room, call, caller).await,
        Answer::Recent => read::recent(room, call, caller).await,
        Answer::Cancel => order::cancel(room, call, caller).await,
        Answer::Audit => operate::audit(room, call, caller).await,
        Answer::DeadLetters => operate::dead_letters(room, call, caller).await,
        Answer::DeadLetter => operate::dead_letter(room, call, caller).await,
        Answer::Redrive => order::dead_letters(room, call, caller, body, JobKind::Redrive).await,
        Answer::Discard => order::dead_letters(room, call, caller, body, JobKind::Discard).await,
        Answer::Redriven => order::job(room, call, caller, &[JobKind::Redrive, JobKind::Discard]).await,
        Answer::Replay => order::replay(room, call, caller, body).await,
        Answer::Replayed => order::job(room, call, caller, &[JobKind::Replay]).await,
    }
}

/// The one place where a refusal is counted, audited and logged.
fn refused(room: &Room, place: Place, call: &mut Call, refusal: &Refusal) -> Response {
    let code = problem::code(refusal);
    let submit = matches!(place, Place::Route(route) if route.answer == Answer::Submit);
    room.meters.refused(code, submit);
    // To ask again for what is on its way is no offence.
    if let (Some(tenant), true) = (&call.tenant, *refusal != Refusal::NotYetVisible) {
        room.audit.count(tenant, AuditKind::Rejection, code.as_str());
    }
    let correlation = call.correlation(room);
    let (code, cause) = (code.as_str(), refusal.cause().unwrap_or_default());
    match refusal {
        Refusal::Internal(_) => error!(%correlation, cause, "request failed"),
        _ => debug!(%correlation, code, cause, "request refused"),
    }
    problem::refused(refusal, correlation)
}
