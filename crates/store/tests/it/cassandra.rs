//! Cassandra keeps every promise of the suite.

use std::sync::Arc;

use carillon_store::conformance::Subject;

use crate::keyspace::{Keyspace, subject};

async fn make() -> (Subject, Arc<Keyspace>) {
    subject().await
}

carillon_store::conformance!(make, #[ignore = "needs the cluster: make cluster"]);
