//! Lanes: what a stack stands on, and how one test body becomes two tests.
//!
//! In: a body that takes a lane. Out: `embedded::…`, which needs nothing, and `cluster::…`, which needs the
//! shared cluster. Always: a body is written once and sees no lane but through the stack.

use std::path::PathBuf;

/// What a stack stands on.
#[derive(Debug, Clone)]
pub enum Lane {
    /// Roles in the test's process, on the embedded broker and SQLite.
    Embedded,
    /// Roles as processes, on the shared cluster's Kafka and Cassandra.
    Cluster {
        /// The binary of the roles.
        binary: PathBuf,
    },
}

impl Lane {
    /// The cluster, with this binary.
    pub fn cluster(binary: impl Into<PathBuf>) -> Self {
        Self::Cluster {
            binary: binary.into(),
        }
    }
}

/// Makes of each function `async fn(Lane)` two tests, one for each lane. For tests of the package that builds
/// the binary.
#[macro_export]
macro_rules! on_both_lanes {
    ($($name:ident),+ $(,)?) => {
        mod embedded {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    Box::pin(super::$name($crate::stack::Lane::Embedded)).await;
                }
            )+
        }
        $crate::on_the_cluster!($($name),+);
    };
}

/// Makes of each function `async fn(Lane)` a test that needs the cluster.
#[macro_export]
macro_rules! on_the_cluster {
    ($($name:ident),+ $(,)?) => {
        mod cluster {
            $(
                #[tokio::test(flavor = "multi_thread")]
                #[ignore = "needs the cluster: make cluster"]
                async fn $name() {
                    let lane = $crate::stack::Lane::cluster(env!("CARGO_BIN_EXE_carillon"));
                    Box::pin(super::$name(lane)).await;
                }
            )+
        }
    };
}
