//! Actors under load: publishers that keep a journal, listeners that keep what they saw.
//!
//! In: a server's URL, tokens, places. Out: a [`Journal`] and what each listener received.
//! Always: a publisher goes on to the next number only when the last one was answered 202, repeating it under
//! its idempotency key for as long as the outcome is unknown; so every number of a place is accepted once and
//! in order, whatever is killed meanwhile.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use carillon_client::{Connection, Event, Listener, ListenerOptions, Publisher, Retry};
use carillon_schemas::{IdempotencyKey, notification::Submission};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    eventually::eventually,
    journal::{Journal, Place, Received},
};

/// Publishes numbered notifications of one place until it is stopped.
pub struct NumberedPublisher {
    stop: CancellationToken,
    task: JoinHandle<u64>,
}

impl NumberedPublisher {
    /// Begins to publish, one after another, `pause` apart.
    ///
    /// # Panics
    /// When the URL is none.
    #[allow(clippy::expect_used, reason = "a test cannot go on without its actors")]
    #[allow(clippy::disallowed_methods, reason = "an actor is outside of the product")]
    pub fn start(
        url: &str,
        token: &str,
        place: Place,
        journal: Arc<Mutex<Journal>>,
        pause: Duration,
    ) -> Self {
        let server = Connection::new(url).expect("a URL").with_token(token);
        let retry = Retry {
            attempts: u32::MAX,
            within: Duration::from_secs(60),
        };
        let publisher = Publisher::new(&server).expect("a publisher").with_retry(retry);
        let stop = CancellationToken::new();
        let task = tokio::spawn(publish(publisher, place, journal, pause, stop.clone()));
        Self { stop, task }
    }

    /// Stops after the number at hand; gives how many were accepted.
    ///
    /// # Panics
    /// When the publisher was refused for good.
    #[allow(clippy::expect_used, reason = "its panic is the test's")]
    pub async fn stop(self) -> u64 {
        self.stop.cancel();
        self.task.await.expect("the publisher was never refused for good")
    }
}

#[allow(clippy::expect_used, reason = "a refusal for good fails the test")]
async fn publish(
    publisher: Publisher,
    place: Place,
    journal: Arc<Mutex<Journal>>,
    pause: Duration,
    stop: CancellationToken,
) -> u64 {
    let mut number = 0;
    while !stop.is_cancelled() {
        number += 1;
        let mut submission = Submission::text(format!("n={number}"));
        submission.channel = Some(place.1.clone());
        let key: IdempotencyKey = format!("{}-{}-{number}", place.0, place.1)
            .parse()
            .expect("a key");
        let accepted = publisher
            .publish(&submission, Some(&key))
            .await
            .expect("accepted in the end");
        journal.lock().accepted(&place, number, accepted.notification_id);
        tokio::time::sleep(pause).await;
    }
    number
}

/// Listens to places of one tenant and keeps every notification that its client hands over.
pub struct KeepingListener {
    received: Arc<Mutex<Vec<Received>>>,
    events: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl KeepingListener {
    /// Connects, subscribes, and returns when every channel is subscribed.
    ///
    /// # Panics
    /// When the first connection is not made.
    #[allow(clippy::expect_used, reason = "a test cannot go on without its actors")]
    #[allow(clippy::disallowed_methods, reason = "an actor is outside of the product")]
    pub async fn start(url: &str, token: &str, places: &[Place]) -> Self {
        let server = Connection::new(url).expect("a URL").with_token(token);
        let options = ListenerOptions::channels(places.iter().map(|(_, channel)| channel.clone()));
        let mut listener = Listener::connect(&server, options)
            .await
            .expect("a first connection");
        listener.subscribed().await.expect("every channel");
        let received = Arc::new(Mutex::new(Vec::new()));
        let events = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(keep(listener, Arc::clone(&received), Arc::clone(&events)));
        Self {
            received,
            events,
            task,
        }
    }

    /// What was received so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().clone()
    }

    /// What else happened, in words.
    pub fn events(&self) -> Vec<String> {
        self.events.lock().clone()
    }

    /// Waits until everything that the journal holds of these places was received, or patience ends; then
    /// stops and gives what was received.
    pub async fn drain(self, journal: &Mutex<Journal>, places: &[Place]) -> Vec<Received> {
        let began = Instant::now();
        let lost = || async { journal.lock().check(places, &self.received()).lost };
        let done = |lost: &usize| *lost == 0 || began.elapsed() > Duration::from_secs(25);
        eventually("the listener is drained", lost, done).await;
        self.task.abort();
        let received = self.received.lock();
        received.clone()
    }
}

async fn keep(mut listener: Listener, received: Arc<Mutex<Vec<Received>>>, events: Arc<Mutex<Vec<String>>>) {
    loop {
        match listener.next().await {
            Ok(Event::Notification(frame)) => {
                let envelope = &frame.delivery.envelope;
                let number = envelope.content.strip_prefix("n=").and_then(|n| n.parse().ok());
                received.lock().push(Received {
                    place: (envelope.tenant_id.clone(), envelope.channel.clone()),
                    id: envelope.notification_id,
                    number: number.unwrap_or(u64::MAX),
                });
            }
            Ok(event) => events.lock().push(format!("{event:?}")),
            Err(error) => {
                events.lock().push(format!("ended: {error}"));
                return;
            }
        }
    }
}
