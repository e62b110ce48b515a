//! Connections: a session with the cluster.
//!
//! In: addresses and options. Out: a session whose defaults are ours: a local quorum, deadlines, retries of
//! idempotent statements only. Always: ends within the deadline; says what will never work.

use std::{sync::Arc, time::Duration};

use scylla::{
    client::{
        execution_profile::ExecutionProfile, session::Session, session::TlsContext,
        session_builder::SessionBuilder,
    },
    policies::{
        load_balancing::{DefaultPolicy, LoadBalancingPolicy},
        retry::DefaultRetryPolicy,
    },
    statement::{Consistency, SerialConsistency},
};

use super::{Address, CassandraOptions, CassandraTls, failure};
use crate::StoreError;

/// Shortest interval between two signs of life on an idle connection; without an answer it is given up.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// A session, within `deadline`.
pub(super) async fn connect(
    address: &Address,
    options: &CassandraOptions,
    deadline: Duration,
) -> Result<Session, StoreError> {
    let profile = ExecutionProfile::builder()
        .request_timeout(Some(options.request_timeout.min(deadline)))
        .consistency(Consistency::LocalQuorum)
        .serial_consistency(Some(SerialConsistency::LocalSerial))
        .retry_policy(Arc::new(DefaultRetryPolicy::new()))
        .load_balancing_policy(balancing(options))
        .build();
    let mut builder = SessionBuilder::new()
        .known_nodes(&address.nodes)
        .keyspaces_to_fetch([address.keyspace.as_str()])
        .fetch_full_schema_metadata(false)
        .connection_timeout(deadline / 2)
        .hostname_resolution_timeout(Some(deadline / 2))
        .keepalive_interval(SIGN_OF_LIFE)
        .keepalive_timeout(SIGN_OF_LIFE)
        .default_execution_profile_handle(profile.into_handle());
    if let (Some(user), Some(password)) = (&options.user, &options.password) {
        builder = builder.user(user, password.reveal());
    }
    if let Some(tls) = &options.tls {
        builder = builder.tls_context(Some(context(tls)?));
    }
    match tokio::time::timeout(deadline, Box::pin(builder.build())).await {
        Ok(Ok(session)) => known_datacenter(session, options),
        Ok(Err(error)) => Err(failure::no_session(&error)),
        Err(_) => Err(StoreError::Unavailable(format!(
            "no node of Cassandra answered within {deadline:?}"
        ))),
    }
}

/// Without a node in its datacenter, the driver would answer every statement that it has nobody to ask.
fn known_datacenter(session: Session, options: &CassandraOptions) -> Result<Session, StoreError> {
    let state = session.get_cluster_state();
    match &options.datacenter {
        Some(wanted)
            if !state
                .get_nodes_info()
                .iter()
                .any(|node| node.datacenter.as_ref() == Some(wanted)) =>
        {
            Err(StoreError::Refused(format!(
                "the cluster has no datacenter {wanted}"
            )))
        }
        _ => Ok(session),
    }
}

fn balancing(options: &CassandraOptions) -> Arc<dyn LoadBalancingPolicy> {
    let builder = DefaultPolicy::builder().token_aware(true);
    match &options.datacenter {
        Some(datacenter) => builder
            .prefer_datacenter(datacenter.clone())
            // Another datacenter's quorum would not know our last writes.
            .permit_dc_failover(false)
            .build(),
        None => builder.build(),
    }
}

#[cfg(feature = "tls")]
fn context(tls: &CassandraTls) -> Result<TlsContext, StoreError> {
    super::encryption::client(tls).map(TlsContext::from)
}

#[cfg(not(feature = "tls"))]
fn context(_: &CassandraTls) -> Result<TlsContext, StoreError> {
    Err(StoreError::Refused(
        "this build speaks no TLS to Cassandra: build it with `--features tls`".to_owned(),
    ))
}
