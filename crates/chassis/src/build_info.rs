//! Which build this is.
//!
//! In: what the binary's build script found. Out: one line for `--version`, logs and metrics.
//! Always: the commit comes from the binary, so that a new commit rebuilds nothing but the binary.

use crate::metrics::Metrics;

/// Version and commit of the running binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildInfo {
    /// The package's version.
    pub version: &'static str,
    /// The commit, `unknown` outside a checkout.
    pub commit: &'static str,
}

impl BuildInfo {
    /// Shows the build as the metric `carillon_build_info`.
    pub fn publish(&self, metrics: &Metrics) {
        let gauge = metrics.gauge_vec(
            "carillon_build_info",
            "The running build.",
            &["version", "commit"],
        );
        gauge.with_label_values(&[self.version, self.commit]).set(1);
    }
}
