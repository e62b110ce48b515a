//! How a Cassandra store behaves: who we are there, and its bounds.
//!
//! In: settings. Out: the same, documented and checked. Always: no printed form shows the password.

use std::{path::PathBuf, time::Duration};

use carillon_chassis::secret::Secret;

/// How a Cassandra or ScyllaDB store is reached and used.
#[derive(Debug, Clone)]
pub struct CassandraOptions {
    /// The user; `None` where the cluster asks for none.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// Encryption; `None` speaks in the clear.
    pub tls: Option<CassandraTls>,
    /// The datacenter of this process: its nodes are asked, and no others. `None` takes all nodes alike, which
    /// is right where there is one datacenter.
    pub datacenter: Option<String>,
    /// How many copies of each row a keyspace has that `migrate` creates: in the datacenter above, or in each
    /// where none is named. A keyspace that exists keeps its own.
    pub replication: u16,
    /// Statements on their way at once. More wait, up to the caller's deadline.
    pub in_flight: usize,
    /// How long one statement may take, its retries included; at most the store's deadline.
    pub request_timeout: Duration,
}

impl Default for CassandraOptions {
    fn default() -> Self {
        Self {
            user: None,
            password: None,
            tls: None,
            datacenter: None,
            replication: 3,
            in_flight: 256,
            request_timeout: Duration::from_secs(4),
        }
    }
}

/// Encryption to Cassandra. A node's certificate must name the address by which it is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CassandraTls {
    /// The authorities that may have signed the nodes' certificates, a PEM file; `None` takes those of the
    /// operating system.
    pub ca_file: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_printed_form_shows_the_password() {
        let options = CassandraOptions {
            password: Some(Secret::new("hidden-thing")),
            ..CassandraOptions::default()
        };
        assert!(!format!("{options:?}").contains("hidden-thing"));
    }
}
