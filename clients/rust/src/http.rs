//! HTTP as this client uses it: a request out, a typed answer or a problem in.
//!
//! In: a route and a body. Out: a value, or one of [`ClientError`].
//! Always: a deadline on every request, a bound on every answer; redirects are not followed, proxies not asked.

use std::time::Duration;

use carillon_schemas::problem::Problem;
use reqwest::{RequestBuilder, Response, header};
use serde::de::DeserializeOwned;

use crate::{ClientError, Connection, error::excerpt};

/// How long a request may take, from connecting to the last byte of the answer.
const DEADLINE: Duration = Duration::from_secs(20);
/// Largest answer that is read: 500 rows of deliveries are some hundred KiB.
const ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// A server that asks for a longer wait is asked again after this.
const LONGEST_RETRY_AFTER: u64 = 3600;

/// A pool of connections to one server.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: reqwest::Client,
    pub(crate) server: Connection,
}

impl Http {
    pub(crate) fn new(server: &Connection) -> Result<Self, ClientError> {
        let mut headers = header::HeaderMap::new();
        if let Some(token) = server.token() {
            let value = header::HeaderValue::from_str(&format!("Bearer {token}"));
            let mut value = value.map_err(|_| ClientError::Token)?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let client = reqwest::Client::builder()
            .default_headers(headers)
            .user_agent(concat!("carillon-client/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(Duration::from_secs(5))
            .timeout(DEADLINE)
            .build();
        let client = client.map_err(|error| unreachable(server, &error))?;
        Ok(Self {
            client,
            server: server.clone(),
        })
    }

    pub(crate) fn get(&self, segments: &[&str]) -> RequestBuilder {
        self.get_url(self.server.route(segments))
    }

    pub(crate) fn get_url(&self, url: reqwest::Url) -> RequestBuilder {
        self.client.get(url)
    }

    pub(crate) fn post(&self, segments: &[&str]) -> RequestBuilder {
        self.client.post(self.server.route(segments))
    }

    pub(crate) fn delete(&self, segments: &[&str]) -> RequestBuilder {
        self.client.delete(self.server.route(segments))
    }

    /// Sends and reads the whole answer.
    pub(crate) async fn exchange(&self, request: RequestBuilder) -> Result<Answer, ClientError> {
        let response = request.send().await.map_err(|error| self.failed(&error))?;
        let status = response.status().as_u16();
        let retry_after = retry_after(&response);
        let body = self.body(response).await?;
        Ok(Answer {
            status,
            retry_after,
            body,
        })
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, ClientError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failed(&error))? {
            if body.len() + chunk.len() > ANSWER_BYTES {
                let excerpt = format!("more than {ANSWER_BYTES} bytes");
                return Err(ClientError::Unexpected {
                    status: response.status().as_u16(),
                    excerpt,
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn failed(&self, error: &reqwest::Error) -> ClientError {
        if error.is_timeout() {
            return ClientError::Timeout {
                url: self.server.url().to_owned(),
                deadline: DEADLINE,
            };
        }
        unreachable(&self.server, error)
    }
}

/// The innermost cause says what the network said; the outer ones only repeat the URL.
fn unreachable(server: &Connection, error: &reqwest::Error) -> ClientError {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    ClientError::Unreachable {
        url: server.url().to_owned(),
        reason: cause.to_string(),
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    let seconds: u64 = text.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(LONGEST_RETRY_AFTER)))
}

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of an answer 2xx, otherwise the problem.
    pub(crate) fn value<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        if !(200..300).contains(&self.status) {
            return Err(self.problem());
        }
        let unexpected = |_| ClientError::Unexpected {
            status: self.status,
            excerpt: excerpt(&self.body),
        };
        serde_json::from_slice(&self.body).map_err(unexpected)
    }

    /// The problem of another answer.
    pub(crate) fn problem(&self) -> ClientError {
        match serde_json::from_slice::<Problem>(&self.body) {
            Ok(problem) => ClientError::Problem {
                problem: Box::new(problem),
                retry_after: self.retry_after,
            },
            Err(_) => ClientError::Unexpected {
                status: self.status,
                excerpt: excerpt(&self.body),
            },
        }
    }
}
