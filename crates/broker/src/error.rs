//! Errors: why a broker did not start or did not stop cleanly.
//!
//! In: what went wrong. Out: a sentence for an operator that names the file and what to do. Always: damage
//! to data is told, never repaired by throwing data away.

use std::{io, net::SocketAddr, path::PathBuf};

/// Why a broker could not start or stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// Another process has the directory.
    #[error(
        "data directory {} is in use by another process: stop that one, or choose another directory",
        .0.display()
    )]
    InUse(PathBuf),
    /// The address can be reached from other machines and that was not asked for.
    #[error(
        "{0} can be reached from other machines and the broker has no authentication: listen on loopback, or allow it"
    )]
    NotLoopback(SocketAddr),
    /// The port could not be taken.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The operating system refused something on a file.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A log file is damaged where it cannot be the tail of an interrupted write.
    #[error(
        "{} is damaged at byte {position} ({reason}): restore this file from a backup, or move the directory \
         {} away to give up that partition's records; nothing was changed",
        path.display(), path.parent().map(|p| p.display().to_string()).unwrap_or_default()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where in it.
        position: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// A file of metadata cannot be understood.
    #[error("{} cannot be understood ({reason}): restore this file from a backup; nothing was changed", path.display())]
    Metadata {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// An option makes no sense.
    #[error("option {option} {reason}")]
    Option {
        /// Which.
        option: &'static str,
        /// Why not.
        reason: &'static str,
    },
}

impl BrokerError {
    /// For `map_err`: names the action and the file.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
