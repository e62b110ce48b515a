//! Reads and orders: what became of a notification, what a tenant was sent, its dead letters, how the server does.
//!
//! In: ids and filters. Out: the typed bodies of the contract. Always: one request per call, bounded in time.

mod operate;

use carillon_schemas::{
    ChannelName, NotificationId, TenantId,
    http::{DeliveriesPage, NotificationState, RecentPage},
    status::Status,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use self::operate::{AuditTrail, DeadLetters};
use crate::{ClientError, Connection, error::excerpt, http::Http};

/// Reads from one server, and orders what is to be done there.
#[derive(Debug, Clone)]
pub struct Api {
    http: Http,
}

/// Which deliveries of a tenant, newest first.
#[derive(Debug, Clone, Default)]
pub struct Deliveries {
    /// Rows of a page, 1 to 500; the server's 50 without it.
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Only in this state.
    pub status: Option<Status>,
    /// Only of this channel.
    pub channel: Option<ChannelName>,
    /// Only accepted at or after this moment, Unix milliseconds.
    pub since_ms: Option<u64>,
}

/// The answer of `/ready`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// `ready` or `unready`.
    pub status: String,
    /// Conditions that are not met; empty when ready.
    #[serde(default)]
    pub unmet: Vec<Unmet>,
}

/// A condition that is not met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmet {
    /// Its name.
    pub condition: String,
    /// Why.
    pub reason: String,
}

impl Api {
    /// Reads from this server.
    ///
    /// # Errors
    /// [`ClientError::Token`].
    pub fn new(server: &Connection) -> Result<Self, ClientError> {
        Ok(Self {
            http: Http::new(server)?,
        })
    }

    /// State and time line of a notification.
    ///
    /// # Errors
    /// `not_found`, and `not_yet_visible` while a fresh one is not stored yet.
    pub async fn notification(&self, id: NotificationId) -> Result<NotificationState, ClientError> {
        let request = self.http.get(&["v1", "notifications", &id.to_string()]);
        self.http.exchange(request).await?.value()
    }

    /// One page of a tenant's deliveries.
    ///
    /// # Errors
    /// [`ClientError::Problem`] when the server refuses.
    pub async fn deliveries(
        &self,
        tenant: &TenantId,
        which: &Deliveries,
    ) -> Result<DeliveriesPage, ClientError> {
        let query = [
            ("limit", which.limit.map(|n| n.to_string())),
            ("cursor", which.cursor.clone()),
            ("status", which.status.map(|s| s.as_str().to_owned())),
            ("channel", which.channel.as_ref().map(ToString::to_string)),
            ("since", which.since_ms.map(|ms| ms.to_string())),
        ];
        self.page(&["v1", "tenants", tenant.as_str(), "deliveries"], query)
            .await
    }

    /// A page of a route, with those parameters that are given.
    async fn page<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        query: impl IntoIterator<Item = (&str, Option<String>)>,
    ) -> Result<T, ClientError> {
        let mut url = self.http.server.route(segments);
        for (name, value) in query {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, &value);
            }
        }
        self.http.exchange(self.http.get_url(url)).await?.value()
    }

    /// The last `n` notifications of a channel, oldest first.
    ///
    /// # Errors
    /// [`ClientError::Problem`] when the server refuses.
    pub async fn recent(
        &self,
        tenant: &TenantId,
        channel: &ChannelName,
        n: u32,
    ) -> Result<RecentPage, ClientError> {
        let segments = [
            "v1",
            "tenants",
            tenant.as_str(),
            "channels",
            channel.as_str(),
            "recent",
        ];
        let mut url = self.http.server.route(&segments);
        url.query_pairs_mut().append_pair("n", &n.to_string());
        self.http.exchange(self.http.get_url(url)).await?.value()
    }

    /// Whether the process answers.
    ///
    /// # Errors
    /// Any: then it does not.
    pub async fn health(&self) -> Result<(), ClientError> {
        let answer = self.http.exchange(self.http.get(&["health"])).await?;
        if answer.status == 200 {
            Ok(())
        } else {
            Err(answer.problem())
        }
    }

    /// Whether the process takes work, and what is unmet otherwise.
    ///
    /// # Errors
    /// When there is no such answer.
    pub async fn ready(&self) -> Result<Readiness, ClientError> {
        let answer = self.http.exchange(self.http.get(&["ready"])).await?;
        if !matches!(answer.status, 200 | 503) {
            return Err(answer.problem());
        }
        let unexpected = |_| ClientError::Unexpected {
            status: answer.status,
            excerpt: excerpt(&answer.body),
        };
        serde_json::from_slice(&answer.body).map_err(unexpected)
    }
}

impl Readiness {
    /// Whether nothing is unmet.
    pub fn is_ready(&self) -> bool {
        self.unmet.is_empty() && self.status == "ready"
    }
}
