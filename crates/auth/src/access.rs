//! Access: whether this process asks for tokens at all.
//!
//! In: configuration. Out: what the edges of ingest and fanout ask before they serve anybody.
//! Always: `Open` is a choice that somebody made on purpose (`--no-auth`), never a fallback.

use std::sync::Arc;

use crate::Verifier;

/// How an edge finds out who acts.
#[derive(Debug, Clone)]
pub enum Access {
    /// Every request carries a token that this verifier accepts.
    Tokens(Arc<Verifier>),
    /// Tokens are ignored: `--no-auth`, for loopback addresses only.
    Open,
}
