//! Where the server is and who asks.
//!
//! In: a URL and a token. Out: addresses for HTTP and WebSocket. Always: a scheme that is not spoken here is
//! an error that says so; the token is never printed.

use std::fmt;

use carillon_schemas::TenantId;
use reqwest::Url;

use crate::ClientError;

/// A server's address and the token that is shown to it. Cheap to clone.
#[derive(Clone)]
pub struct Connection {
    base: Url,
    token: Option<String>,
    tenant: Option<TenantId>,
}

impl Connection {
    /// A server at `http://host:port` (also written `ws://`). A path is kept as a prefix of every route.
    ///
    /// # Errors
    /// [`ClientError::Address`] for a text that is no URL, and for `https` and `wss`, which are not spoken yet.
    pub fn new(url: &str) -> Result<Self, ClientError> {
        let refuse = |reason: String| ClientError::Address {
            url: url.to_owned(),
            reason,
        };
        let mut base: Url = url
            .parse()
            .map_err(|error| refuse(format!("is not a URL: {error}")))?;
        match base.scheme() {
            "http" => {}
            "ws" => base
                .set_scheme("http")
                .map_err(|()| refuse("has no host".to_owned()))?,
            "https" | "wss" => {
                return Err(refuse(
                    "needs TLS, which this client does not speak yet: use http".to_owned(),
                ));
            }
            _ => return Err(refuse("is not an http URL: write http://host:port".to_owned())),
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(ClientError::Address {
                url: "(not shown)".to_owned(),
                reason: "has credentials in it: give a token".to_owned(),
            });
        }
        base.set_query(None);
        base.set_fragment(None);
        Ok(Self {
            base,
            token: None,
            tenant: None,
        })
    }

    /// The same server, with this bearer token.
    #[must_use]
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// The same server, with this tenant in every address: for servers that ask for no token.
    #[must_use]
    pub fn with_tenant(mut self, tenant: TenantId) -> Self {
        self.tenant = Some(tenant);
        self
    }

    /// The address without a slash at its end.
    pub fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The URL of a route; each segment is escaped.
    pub(crate) fn route(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        if let Some(tenant) = &self.tenant {
            url.query_pairs_mut().append_pair("tenant_id", tenant.as_str());
        }
        url
    }

    /// Host and port, for a connection of one's own.
    pub(crate) fn host_and_port(&self) -> Option<(String, u16)> {
        let host = self.base.host_str()?.trim_matches(['[', ']']);
        Some((host.to_owned(), self.base.port_or_known_default()?))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "***");
        f.debug_struct("Connection")
            .field("url", &self.url())
            .field("token", &token)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_stand_under_the_prefix_and_are_escaped() {
        let server = Connection::new("ws://localhost:81/prefix/?x=1").unwrap();
        let route = server.route(&["v1", "tenants", "a/b", "recent"]);
        assert_eq!(
            route.as_str(),
            "http://localhost:81/prefix/v1/tenants/a%2Fb/recent"
        );
        assert_eq!(server.host_and_port(), Some(("localhost".to_owned(), 81)));
        assert_eq!(
            Connection::new("http://[::1]:9").unwrap().host_and_port(),
            Some(("::1".to_owned(), 9))
        );
    }

    #[test]
    fn what_is_not_spoken_here_is_refused_in_words() {
        for (url, word) in [
            ("https://a", "TLS"),
            ("wss://a", "TLS"),
            ("kafka://a", "http://host:port"),
            ("127.0.0.1:8080", "URL"),
            ("http://user:pass@a", "token"),
        ] {
            let error = Connection::new(url).unwrap_err().to_string();
            assert!(error.contains(word) && !error.contains("pass@"), "{error}");
        }
    }

    #[test]
    fn the_token_is_not_printed() {
        let server = Connection::new("http://a").unwrap().with_token("canary");
        assert!(!format!("{server:?}").contains("canary"));
    }
}
