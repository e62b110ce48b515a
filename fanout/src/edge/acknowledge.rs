//! `POST /v1/notifications/{id}/ack`: an acknowledgement of a client without a socket.
//!
//! In: a notification's id, a token. Out: 202, and a receipt on its way to the router.
//! Always: it counts for the token's tenant; whether that has such a notification is not known here.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
};
use carillon_auth::{Access, AuthError};
use carillon_schemas::{NotificationId, TenantId, claims::Scope, problem::ProblemCode};
use http::{HeaderMap, StatusCode, header};

use super::{audit, query_of, unauthorized};
use crate::{handshake, node::Node, receipts::NoRoom, refusal::Refusal};

/// The answer 202.
#[derive(serde::Serialize)]
struct Acknowledging {
    status: &'static str,
    notification_id: NotificationId,
}

pub(super) async fn answer(
    State(node): State<Arc<Node>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let headers = request.headers();
    match acknowledge(&node, &id, headers, request.uri()) {
        Ok(answer) => {
            let mut response = (StatusCode::ACCEPTED, Json(answer)).into_response();
            crate::refusal::correlate(response.headers_mut(), headers, &node.clock);
            response
        }
        Err(refusal) => {
            audit(&node, &refusal);
            refusal.response(headers, &node.clock)
        }
    }
}

fn acknowledge(
    node: &Node,
    id: &str,
    headers: &HeaderMap,
    uri: &http::Uri,
) -> Result<Acknowledging, Refusal> {
    let tenant = tenant_of(node, headers, uri)?;
    let notification_id = id
        .parse()
        .map_err(|error| Refusal::new(ProblemCode::InvalidParameter, format!("the id {error}")))?;
    node.receipts
        .acknowledge(&tenant, notification_id)
        .map_err(|NoRoom| {
            let detail = "too many acknowledgements wait";
            let refusal = Refusal::new(ProblemCode::Overloaded, detail).of(Some(&tenant));
            refusal.with(header::RETRY_AFTER, "2")
        })?;
    Ok(Acknowledging {
        status: "acknowledging",
        notification_id,
    })
}

/// Whose notification is meant: the token's tenant, without authentication the query's.
fn tenant_of(node: &Node, headers: &HeaderMap, uri: &http::Uri) -> Result<TenantId, Refusal> {
    let Access::Tokens(verifier) = &node.access else {
        let (tenant, _) = handshake::named(&query_of(uri)?).map_err(|name| {
            Refusal::new(ProblemCode::InvalidParameter, format!("{name} is not a valid id"))
        })?;
        let detail = "without authentication, tenant_id is required";
        return tenant.ok_or_else(|| Refusal::new(ProblemCode::InvalidParameter, detail));
    };
    let shown = headers.get(header::AUTHORIZATION).ok_or(AuthError::Missing);
    let token = shown.and_then(|value| carillon_auth::bearer(value.to_str().unwrap_or_default()));
    let principal = token
        .and_then(|token| verifier.verify(token))
        .map_err(|error| unauthorized(&error))?;
    if !principal.has(Scope::Listen) {
        let detail = "the token lacks the scope listen";
        return Err(Refusal::new(ProblemCode::ScopeMissing, detail).of(Some(principal.tenant())));
    }
    Ok(principal.tenant().clone())
}
