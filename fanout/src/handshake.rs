//! The handshake's rules, without I/O.
//!
//! In: a request's head. Out: whether it is a WebSocket handshake, from where, and with which credential.
//! Always: a token is taken out of the request here and stands in no error.

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use carillon_schemas::{TenantId, UserId};
use http::{HeaderMap, HeaderValue, header};

/// The subprotocol that is spoken here.
pub(crate) const PROTOCOL: &str = "carillon.v1";
const PROTOCOL_FAMILY: &str = "carillon.";
const BEARER_PREFIX: &str = "bearer.";

/// Why a request is no handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAHandshake {
    /// No upgrade to WebSocket is asked for.
    #[error("a WebSocket handshake is expected here")]
    NoUpgrade,
    /// Another version than 13.
    #[error("only version 13 of the WebSocket protocol is spoken here")]
    Version,
    /// No key, or none of sixteen bytes.
    #[error("Sec-WebSocket-Key is missing or not valid")]
    Key,
}

/// A handshake that is well-formed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Handshake {
    /// The client's key.
    pub(crate) key: HeaderValue,
    /// What stands in the answer.
    pub(crate) protocol: Protocol,
}

/// The answer to the offered subprotocols.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// None of ours was offered.
    None,
    /// Ours.
    Ours,
    /// Only versions of it that are not spoken here: this one is named, and the socket closed.
    Unsupported(HeaderValue),
}

/// Where a credential stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// In a header that browsers cannot set: a bad one is answered with 401.
    Header,
    /// Where browsers can put it: a bad one is told over the socket, because they cannot see a 401.
    Browser,
}

/// What the client shows.
#[derive(PartialEq, Eq)]
pub(crate) struct Credential {
    /// Where it stood.
    pub(crate) way: Way,
    /// The token; none when there is nothing that could be one.
    pub(crate) token: Option<String>,
}

/// Checks the request's head.
pub(crate) fn check(headers: &HeaderMap) -> Result<Handshake, NotAHandshake> {
    let upgrade = words(headers, &header::UPGRADE).any(|w| w.eq_ignore_ascii_case("websocket"));
    let connection = words(headers, &header::CONNECTION).any(|w| w.eq_ignore_ascii_case("upgrade"));
    if !upgrade || !connection {
        return Err(NotAHandshake::NoUpgrade);
    }
    let version = headers.get(header::SEC_WEBSOCKET_VERSION);
    if version.is_none_or(|v| v.as_bytes() != b"13") {
        return Err(NotAHandshake::Version);
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or(NotAHandshake::Key)?;
    let sixteen = STANDARD.decode(key.as_bytes()).is_ok_and(|key| key.len() == 16);
    if !sixteen {
        return Err(NotAHandshake::Key);
    }
    Ok(Handshake {
        key: key.clone(),
        protocol: protocol(headers),
    })
}

fn protocol(headers: &HeaderMap) -> Protocol {
    let mut unsupported = Protocol::None;
    for offered in words(headers, &header::SEC_WEBSOCKET_PROTOCOL) {
        if offered == PROTOCOL {
            return Protocol::Ours;
        }
        if offered.starts_with(PROTOCOL_FAMILY)
            && unsupported == Protocol::None
            && let Ok(name) = HeaderValue::from_str(offered)
        {
            unsupported = Protocol::Unsupported(name);
        }
    }
    unsupported
}

/// The credential, looked for in the header, the subprotocols and the query, in this order.
pub(crate) fn credential(
    headers: &HeaderMap,
    query: &HashMap<String, String>,
    query_tokens: bool,
) -> Credential {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(|v| carillon_auth::bearer(v).ok());
        return Credential {
            way: Way::Header,
            token: token.map(str::to_owned),
        };
    }
    let mut offered = words(headers, &header::SEC_WEBSOCKET_PROTOCOL);
    let token = offered.find_map(|p| p.strip_prefix(BEARER_PREFIX)).or_else(|| {
        query
            .get("access_token")
            .filter(|_| query_tokens)
            .map(String::as_str)
    });
    // A browser that shows nothing cannot see a 401 either; nor can one with a ticket, which are not taken yet.
    let browser = token.is_some()
        || query.contains_key("ticket")
        || query.contains_key("access_token")
        || headers.contains_key(header::ORIGIN);
    Credential {
        way: if browser { Way::Browser } else { Way::Header },
        token: token.map(str::to_owned),
    }
}

/// Whether a browser of this origin may connect; without the header it is no browser.
pub(crate) fn origin_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => true,
        (Some(origin), None) => origin.to_str().is_ok_and(|origin| {
            origin != "null" && allowed.iter().any(|a| a == "*" || a.eq_ignore_ascii_case(origin))
        }),
        _ => false,
    }
}

/// Without authentication: whom the query names. An invalid id is an error with its parameter's name.
pub(crate) fn named(
    query: &HashMap<String, String>,
) -> Result<(Option<TenantId>, Option<UserId>), &'static str> {
    let tenant = query.get("tenant_id").map(|t| t.parse()).transpose();
    let user = query.get("user_id").map(|u| u.parse()).transpose();
    Ok((tenant.map_err(|_| "tenant_id")?, user.map_err(|_| "user_id")?))
}

/// The comma-separated words of a header, however often it stands.
fn words<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

#[cfg(test)]
mod tests;
