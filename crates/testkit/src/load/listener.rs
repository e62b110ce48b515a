//! Listeners that keep what they saw.
//!
//! In: places of one tenant. Out: every notification that the client hands over, and what it was told of
//! losses. Always: the client's own reconnecting and resuming is what brings it back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use carillon_client::{Connection, Event, Listener, ListenerOptions};
use carillon_fixtures::eventually;
use carillon_schemas::Stream;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use crate::journal::{Figures, Journal, Place, Received};

/// How long a drained listener may still wait for what it misses; shorter than the patience of `eventually`,
/// so that the figures are shown and not a wait.
const DRAIN: Duration = Duration::from_secs(25);

/// Listens to places of one tenant and keeps every notification that its client hands over.
pub struct KeepingListener {
    places: Vec<Place>,
    kept: Arc<Kept>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Kept {
    received: Mutex<Vec<Received>>,
    events: Mutex<Vec<String>>,
    announced: Mutex<Vec<Place>>,
}

impl KeepingListener {
    /// Connects, subscribes, and returns when every channel is subscribed.
    ///
    /// # Panics
    /// When the first connection is not made.
    pub async fn start(url: &str, token: &str, places: &[Place]) -> Self {
        let options = ListenerOptions::channels(places.iter().map(|(_, channel)| channel.clone()));
        Self::start_with(url, token, places, options).await
    }

    /// The same without the client's removal of repeats: it keeps what the server sends.
    ///
    /// # Panics
    /// When the first connection is not made.
    pub async fn start_raw(url: &str, token: &str, places: &[Place]) -> Self {
        let mut options = ListenerOptions::channels(places.iter().map(|(_, channel)| channel.clone()));
        options.remembered = 0;
        Self::start_with(url, token, places, options).await
    }

    #[allow(clippy::expect_used, reason = "a test cannot go on without its actors")]
    #[allow(clippy::disallowed_methods, reason = "an actor is outside of the product")]
    async fn start_with(url: &str, token: &str, places: &[Place], options: ListenerOptions) -> Self {
        let server = Connection::new(url).expect("a URL").with_token(token);
        let mut listener = Listener::connect(&server, options)
            .await
            .expect("a first connection");
        listener.subscribed().await.expect("every channel");
        let kept = Arc::new(Kept::default());
        let task = tokio::spawn(keep(listener, places.to_vec(), Arc::clone(&kept)));
        Self {
            places: places.to_vec(),
            kept,
            task,
        }
    }

    /// What was received so far.
    pub fn received(&self) -> Vec<Received> {
        self.kept.received.lock().clone()
    }

    /// What else happened, in words.
    pub fn events(&self) -> Vec<String> {
        self.kept.events.lock().clone()
    }

    /// What it listens to.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// When frames of a place came.
    pub fn moments(&self, place: &Place) -> Vec<Instant> {
        let received = self.kept.received.lock();
        received
            .iter()
            .filter(|frame| frame.place == *place)
            .map(|frame| frame.at)
            .collect()
    }

    /// Holds what was received so far against the journal, with what was announced.
    pub fn figures(&self, journal: &Mutex<Journal>) -> Figures {
        let (received, announced) = (self.kept.received.lock(), self.kept.announced.lock());
        journal
            .lock()
            .check_with_announcements(&self.places, &received, &announced)
    }

    /// Waits until everything that the journal holds of these places was received, or patience ends; then
    /// stops and gives what was received.
    pub async fn drain(self, journal: &Mutex<Journal>, places: &[Place]) -> Vec<Received> {
        let began = Instant::now();
        let lost = || async { journal.lock().check(places, &self.received()).lost };
        let done = |lost: &usize| *lost == 0 || began.elapsed() > DRAIN;
        eventually("the listener is drained", lost, done).await;
        self.received()
    }
}

impl Drop for KeepingListener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep(mut listener: Listener, places: Vec<Place>, kept: Arc<Kept>) {
    loop {
        match listener.next().await {
            Ok(Event::Notification(frame)) => {
                let envelope = &frame.delivery.envelope;
                let number = envelope.content.strip_prefix("n=").and_then(|n| n.parse().ok());
                kept.received.lock().push(Received {
                    place: (envelope.tenant_id.clone(), envelope.channel.clone()),
                    id: envelope.notification_id,
                    number: number.unwrap_or(u64::MAX),
                    at: Instant::now(),
                });
            }
            Ok(event) => {
                if let Event::Unrecovered {
                    stream: Stream::Channel(channel),
                    ..
                } = &event
                {
                    let told = places.iter().filter(|(_, name)| name == channel).cloned();
                    kept.announced.lock().extend(told);
                }
                kept.events.lock().push(format!("{event:?}"));
            }
            Err(error) => {
                kept.events.lock().push(format!("ended: {error}"));
                return;
            }
        }
    }
}
