//! The edge: `GET /ws`, from a request to a session, and the routes beside it.
//!
//! In: requests. Out: sessions, or a problem that says why not.
//! Always: a bad header credential is 401 before the upgrade, a bad one from a browser is told over the
//! socket; nothing of a token is answered or logged.

mod acknowledge;

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Query, Request, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use carillon_auth::{Access, AuthError, Principal};
use carillon_schemas::{
    claims::Scope,
    close::CloseCode,
    frame::{ErrorCode, ServerFrame},
    problem::ProblemCode,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tracing::debug;

use crate::{
    frame,
    handshake::{self, Handshake, Protocol, Way},
    node::Node,
    refusal::Refusal,
    session::{Conversation, Identity, SendQueue, Session},
    sessions::Full,
};

/// Who comes in: a session's identity, or a word of goodbye over the socket.
enum Admitted {
    Session(Identity),
    Farewell(Option<(ErrorCode, String)>, CloseCode),
}

/// This node's routes.
pub(crate) fn routes(node: Arc<Node>) -> Router {
    Router::new()
        .route("/ws", get(connect))
        .route("/v1/notifications/{id}/ack", post(acknowledge::answer))
        .with_state(node)
}

async fn connect(State(node): State<Arc<Node>>, mut request: Request) -> Response {
    let headers = request.headers();
    match admit(&node, headers, request.uri()).await {
        Ok((handshake, admitted)) => {
            let answer = switch(&handshake);
            let upgrade = hyper::upgrade::on(&mut request);
            begin(&node, upgrade, admitted).map_or_else(
                |refusal| refuse(&node, &refusal, request.headers()),
                |()| {
                    node.figures.handshakes.with_label_values(&["accepted"]).inc();
                    answer
                },
            )
        }
        Err(refusal) => refuse(&node, &refusal, request.headers()),
    }
}

fn refuse(node: &Node, refusal: &Refusal, headers: &HeaderMap) -> Response {
    node.figures
        .handshakes
        .with_label_values(&[refusal.code.as_str()])
        .inc();
    audit(node, refusal);
    refusal.response(headers, &node.clock)
}

/// What was refused to a tenant that is known stands in its trail.
fn audit(node: &Node, refusal: &Refusal) {
    if let Some(tenant) = &refusal.tenant {
        node.refused(tenant, refusal.code.as_str());
    }
}

/// Everything that can be said before the upgrade.
async fn admit(node: &Node, headers: &HeaderMap, uri: &http::Uri) -> Result<(Handshake, Admitted), Refusal> {
    let handshake = handshake::check(headers).map_err(|why| {
        Refusal::new(ProblemCode::InvalidParameter, why.to_string()).with(header::SEC_WEBSOCKET_VERSION, "13")
    })?;
    node.handshakes
        .check()
        .map_err(|wait| busy("too many handshakes", wait))?;
    if node.is_draining() {
        return Err(busy("the node is draining", Duration::from_secs(1)));
    }
    if !handshake::origin_allowed(headers, &node.config.origins) {
        return Err(Refusal::new(
            ProblemCode::OriginForbidden,
            "the origin is not allowed",
        ));
    }
    let query = query_of(uri)?;
    let admitted = match handshake.protocol {
        Protocol::Unsupported(_) => Admitted::Farewell(None, CloseCode::UnsupportedVersion),
        Protocol::None | Protocol::Ours => identify(node, headers, &query)?,
    };
    if !node.opened(node.config.handshake_timeout).await {
        let detail = "the node does not know its deliveries yet";
        return Err(Refusal::new(ProblemCode::Unavailable, detail).with(header::RETRY_AFTER, "2"));
    }
    Ok((handshake, admitted))
}

fn query_of(uri: &http::Uri) -> Result<HashMap<String, String>, Refusal> {
    let query = Query::try_from_uri(uri).map(|Query(query)| query);
    query.map_err(|_| Refusal::new(ProblemCode::InvalidParameter, "the query is not valid"))
}

fn identify(node: &Node, headers: &HeaderMap, query: &HashMap<String, String>) -> Result<Admitted, Refusal> {
    let Access::Tokens(verifier) = &node.access else {
        let named = handshake::named(query).map_err(|name| {
            Refusal::new(ProblemCode::InvalidParameter, format!("{name} is not a valid id"))
        })?;
        return Ok(Admitted::Session(Identity::open(named)));
    };
    let shown = handshake::credential(headers, query, node.config.query_tokens);
    let verified = match &shown.token {
        Some(token) => verifier.verify(token),
        None => Err(AuthError::Missing),
    };
    match (verified, shown.way) {
        (Ok(principal), way) => listen(node, principal, way),
        (Err(error), Way::Header) => Err(unauthorized(&error)),
        (Err(error), Way::Browser) => {
            let said = (ErrorCode::BadCredential, error.to_string());
            Ok(Admitted::Farewell(Some(said), CloseCode::BadCredential))
        }
    }
}

fn listen(node: &Node, principal: Principal, way: Way) -> Result<Admitted, Refusal> {
    let detail = "the token lacks the scope listen";
    match (principal.has(Scope::Listen), way) {
        (true, _) => {
            let user = principal.subject().clone();
            Ok(Admitted::Session(Identity::Known(principal, Some(user))))
        }
        (false, Way::Header) => {
            Err(Refusal::new(ProblemCode::ScopeMissing, detail).of(Some(principal.tenant())))
        }
        (false, Way::Browser) => {
            node.refused(principal.tenant(), ProblemCode::ScopeMissing.as_str());
            let said = (ErrorCode::BadCredential, detail.to_owned());
            Ok(Admitted::Farewell(Some(said), CloseCode::Forbidden))
        }
    }
}

fn unauthorized(error: &AuthError) -> Refusal {
    let (code, challenge) = match error {
        AuthError::Missing => (ProblemCode::TokenMissing, "Bearer"),
        _ if error.is_expired() => (ProblemCode::TokenExpired, "Bearer error=\"invalid_token\""),
        _ => (ProblemCode::TokenInvalid, "Bearer error=\"invalid_token\""),
    };
    Refusal::new(code, error.to_string()).with(header::WWW_AUTHENTICATE, challenge)
}

fn busy(detail: &str, wait: Duration) -> Refusal {
    let seconds = (wait.as_secs() + 1).to_string();
    Refusal::new(ProblemCode::Overloaded, detail).with(header::RETRY_AFTER, &seconds)
}

/// Takes a seat and leaves the rest to a task, which waits for the upgrade.
fn begin(node: &Arc<Node>, upgrade: OnUpgrade, admitted: Admitted) -> Result<(), Refusal> {
    let queue = Arc::new(SendQueue::new(Arc::clone(&node.limits)));
    let (identity, farewell) = match admitted {
        Admitted::Session(identity) => (identity, None),
        Admitted::Farewell(said, code) => (Identity::Nobody, Some((said, code))),
    };
    let seat = node.sessions.seat(&queue, identity.tenant()).map_err(|full| {
        let detail = match full {
            Full::Node => "the node has as many sessions as it may have",
            Full::Tenant => "the tenant has as many sessions as it may have",
        };
        busy(detail, Duration::from_secs(2)).of(identity.tenant())
    })?;
    if let Some((said, code)) = farewell {
        if let Some((code, detail)) = said {
            let id = None;
            queue.answer(frame::answer(&ServerFrame::Error { code, detail, id }));
        }
        queue.close(code);
    }
    if node.is_draining() {
        // The drain may have said goodbye to everybody a moment before this one took its seat.
        queue.close(CloseCode::Draining);
    }
    let shared = Arc::clone(node);
    node.tasks.spawn("session", async move {
        let upgraded = tokio::time::timeout(shared.config.handshake_timeout, upgrade).await;
        let Ok(Ok(upgraded)) = upgraded else {
            return debug!("a handshake was answered and the connection not upgraded");
        };
        let conversation = Conversation::new(Arc::clone(&shared), Arc::clone(&queue), seat, identity);
        let connection = TokioIo::new(upgraded);
        let session = Session::new(Arc::clone(&shared), queue, conversation, connection).await;
        let closed = session.run().await;
        let code = closed.map_or("peer".to_owned(), |code| code.number().to_string());
        shared.figures.closed.with_label_values(&[&code]).inc();
    });
    Ok(())
}

/// The answer that turns the connection into a WebSocket.
fn switch(handshake: &Handshake) -> Response {
    let accept = derive_accept_key(handshake.key.as_bytes());
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    let protocol = match &handshake.protocol {
        Protocol::None => None,
        Protocol::Ours => Some(HeaderValue::from_static(handshake::PROTOCOL)),
        Protocol::Unsupported(name) => Some(name.clone()),
    };
    if let Some(protocol) = protocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    response.into_response()
}
