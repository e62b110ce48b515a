//! A listener as users have it: the client of this repository, with its removal of repeats.
//!
//! In: channels of one tenant. Out: sightings and notes in the history. Always: the client's own reconnecting and
//! resuming is what brings it back.

use std::sync::Arc;

use carillon_client::{Connection, Event, Listener, ListenerOptions};
use carillon_schemas::{ChannelName, TenantId};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::observer::Observer;
use crate::chaos::{History, history::Note};

/// A listening client; it ends with the value.
pub struct Client {
    task: JoinHandle<()>,
}

impl Client {
    /// Connects, and returns when every channel is subscribed.
    ///
    /// # Panics
    /// When the first connection is not made.
    #[allow(clippy::expect_used, reason = "a test cannot go on without its actors")]
    #[allow(clippy::disallowed_methods, reason = "an actor is outside of the product")]
    pub async fn start(
        url: &str,
        token: &str,
        tenant: &TenantId,
        channels: &[ChannelName],
        history: &Arc<Mutex<History>>,
    ) -> Self {
        let server = Connection::new(url).expect("a URL").with_token(token);
        let options = ListenerOptions::channels(channels.iter().cloned());
        let mut listener = Listener::connect(&server, options).await.expect("a connection");
        listener.subscribed().await.expect("every channel");
        let observer = Observer::new(history, tenant, true);
        Self {
            task: tokio::spawn(observe(listener, observer)),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn observe(mut listener: Listener, observer: Observer) {
    loop {
        match listener.next().await {
            Ok(Event::Notification(frame)) => observer.saw(&frame),
            Ok(Event::Unrecovered { stream, .. }) => observer.unrecovered(&stream),
            Ok(Event::Lagged { .. }) => observer.note(Note::Lagged),
            Ok(_) => {}
            Err(error) => return observer.note(Note::Ended(error.to_string())),
        }
    }
}
