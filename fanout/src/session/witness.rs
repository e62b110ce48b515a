//! The witness of a session's socket: what it took becomes figures and receipts.
//!
//! In: frames that the writer takes, frames that the connection has taken. Out: figures, counts of receipts.
//! Always: only what the connection has taken whole is counted as delivered.

use std::sync::Arc;

use super::{send_queue::Kind, unflushed::Written};
use crate::{node::Node, receipts::Tally};

/// Told by the socket.
#[derive(Clone, Copy)]
pub(super) struct Witness<'a>(pub(super) &'a Node);

impl Witness<'_> {
    /// The writer takes a frame.
    pub(super) fn taken(self, kind: Kind) {
        if let Kind::Notification(written_ms @ 1..) = kind {
            let taken_ms = i64::try_from(self.0.clock.unix_ms()).unwrap_or(i64::MAX);
            let waited = taken_ms.saturating_sub(written_ms).max(0);
            self.0.figures.dispatch_to_socket.observe(waited as f64 / 1000.0);
        }
    }

    /// The connection has taken frames.
    pub(super) fn written(self, written: Written) {
        self.0.figures.frames.inc_by(written.frames);
        self.0.figures.delivered.inc_by(written.notifications);
    }

    /// The connection has taken this notification.
    pub(super) fn took(self, tally: &Arc<Tally>) {
        self.0.receipts.took(tally);
    }
}
