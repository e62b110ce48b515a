//! Publishers that keep a journal.
//!
//! In: a place. Out: its numbers 1, 2, 3, …, each accepted once. Always: a publisher goes on to the next number
//! only when the last one was answered 202, repeating it under its idempotency key for as long as the outcome
//! is unknown; so every number of a place is accepted once and in order, whatever is killed meanwhile.

use std::{sync::Arc, time::Duration};

use carillon_client::{ClientError, Connection, Publisher};
use carillon_schemas::{IdempotencyKey, http::Accepted, notification::Submission};
use parking_lot::Mutex;
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::journal::{Journal, Place};

/// How long until a number that was not accepted is sent again. Steady, so that the time until the next 202
/// tells about the server and not about a client's growing patience.
const AGAIN: Duration = Duration::from_millis(200);
/// How long a number may stay without its 202: longer than any fault of these tests.
const PATIENCE: Duration = Duration::from_secs(120);

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
        let publisher = Publisher::new(&server).expect("a publisher");
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
        one(&publisher, &place, &journal, number).await;
        tokio::time::sleep(pause).await;
    }
    number
}

#[allow(clippy::expect_used, reason = "a key of these parts is a key")]
async fn one(publisher: &Publisher, place: &Place, journal: &Mutex<Journal>, number: u64) {
    let mut submission = Submission::text(format!("n={number}"));
    submission.channel = Some(place.1.clone());
    let key: IdempotencyKey = format!("{}-{}-{number}", place.0, place.1)
        .parse()
        .expect("a key");
    let attempted = || journal.lock().attempted(place);
    match until_accepted(publisher, &submission, &key, attempted).await {
        Ok(accepted) => journal.lock().accepted(place, number, accepted.notification_id),
        Err(error) => panic!("number {number} of {}/{}: {error}", place.0, place.1),
    }
}

/// Sends a submission without a key, once; lets some time pass when it is not answered 202.
pub(super) async fn once(
    publisher: &Publisher,
    submission: &Submission,
    mut attempted: impl FnMut(),
) -> Result<Accepted, ClientError> {
    attempted();
    let answer = publisher.publish(submission, None).await;
    if answer.is_err() {
        tokio::time::sleep(AGAIN).await;
    }
    answer
}

/// Sends a submission under its key until it is answered 202; calls `attempted` before each request.
pub(super) async fn until_accepted(
    publisher: &Publisher,
    submission: &Submission,
    key: &IdempotencyKey,
    mut attempted: impl FnMut(),
) -> Result<Accepted, ClientError> {
    let begun = Instant::now();
    loop {
        attempted();
        match publisher.publish(submission, Some(key)).await {
            Ok(accepted) => return Ok(accepted),
            Err(error) if error.is_temporary() && begun.elapsed() < PATIENCE => {}
            Err(error) => return Err(error),
        }
        tokio::time::sleep(AGAIN).await;
    }
}
