//! Publishers of notifications of several kinds, which write into the history.
//!
//! In: a place, kinds. Out: its numbers 1, 2, 3, …, each accepted once. Always: with keys it goes on, as
//! [`NumberedPublisher`] does, only when the last number was answered 202; without, a number may be missing.
//!
//! [`NumberedPublisher`]: super::NumberedPublisher

use std::{sync::Arc, time::Duration};

use carillon_chassis::clock::Clock;
use carillon_client::{Connection, Publisher};
use carillon_schemas::IdempotencyKey;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::publisher::{once, until_accepted};
use crate::chaos::{History, Kind, history::Accepted, kinds};

/// What a place is published to with.
#[derive(Debug, Clone)]
pub struct Mix {
    /// Kinds beside the plain one.
    pub special: Vec<Kind>,
    /// The only kind, where there is one.
    pub only: Option<Kind>,
    /// Whether numbers are sent under idempotency keys, and repeated until their 202. Without, a number whose outcome is
    /// not known is left behind: no repeat may make a second notification.
    pub keyed: bool,
    /// Between two numbers.
    pub pause: Duration,
}

/// Publishes a mix to one place until it is stopped.
pub struct MixedPublisher {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

struct Work {
    publisher: Publisher,
    place: usize,
    history: Arc<Mutex<History>>,
    mix: Mix,
    clock: Clock,
    stop: CancellationToken,
}

impl MixedPublisher {
    /// Begins to publish to one of the history's places.
    ///
    /// # Panics
    /// When the URL is none.
    #[allow(clippy::expect_used, reason = "a test cannot go on without its actors")]
    #[allow(clippy::disallowed_methods, reason = "an actor is outside of the product")]
    pub fn start(url: &str, token: &str, place: usize, history: &Arc<Mutex<History>>, mix: Mix) -> Self {
        let server = Connection::new(url).expect("a URL").with_token(token);
        let stop = CancellationToken::new();
        let work = Work {
            publisher: Publisher::new(&server).expect("a publisher"),
            place,
            history: Arc::clone(history),
            mix,
            clock: Clock::system(),
            stop: stop.clone(),
        };
        Self {
            stop,
            task: tokio::spawn(publish(work)),
        }
    }

    /// Stops after the number at hand.
    ///
    /// # Panics
    /// When the publisher was refused for good.
    #[allow(clippy::expect_used, reason = "its panic is the test's")]
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("the publisher was never refused for good");
    }
}

async fn publish(work: Work) {
    for number in 1.. {
        one(&work, number).await;
        tokio::select! {
            () = work.stop.cancelled() => return,
            () = tokio::time::sleep(work.mix.pause) => {}
        }
    }
}

#[allow(clippy::expect_used, reason = "a key of these parts is a key")]
async fn one(work: &Work, number: u64) {
    let place = work.history.lock().places[work.place].clone();
    let begun = work.clock.unix_ms();
    let recipe = kinds::recipe(&place, number, begun, &work.mix.special, work.mix.only);
    let key: IdempotencyKey = format!("{}-{}-{number}", place.0, place.1)
        .parse()
        .expect("a key");
    let mut attempts = 0;
    let attempted = || {
        attempts += 1;
        work.history.lock().attempts += 1;
    };
    let answer = if work.mix.keyed {
        until_accepted(&work.publisher, &recipe.submission, &key, attempted).await
    } else {
        once(&work.publisher, &recipe.submission, attempted).await
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) if !work.mix.keyed && error.is_temporary() => return,
        Err(error) => panic!("number {number} of {}/{}: {error}", place.0, place.1),
    };
    let mut history = work.history.lock();
    let at = work.clock.unix_ms();
    history.accepted.push(Accepted {
        begun,
        at,
        attempts,
        place: work.place,
        number,
        id: answer.notification_id,
        kind: recipe.kind,
        due: recipe.submission.deliver_at,
        key: recipe.submission.collapse_key.map(|key| key.to_string()),
    });
}
