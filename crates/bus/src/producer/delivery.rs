//! Deliveries: the acknowledgement of one record, as a future.
//!
//! In: one result from the poll thread. Out: that result, once, to whoever awaits it.
//! Always: one allocation per record, shared by the future and by librdkafka, which carries it as the
//! record's opaque pointer; a `oneshot` would need a second one for the box around its sender.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

use crate::{Ack, SendError};

/// The acknowledgement of one record. Dropping it does not take the record back.
#[derive(Debug)]
#[must_use = "the record is accepted only when this says so"]
pub struct Delivery(pub(crate) Arc<Slot>);

/// Where the result is put.
#[derive(Debug, Default)]
pub(crate) struct Slot(Mutex<State>);

#[derive(Debug)]
enum State {
    Waiting(Option<Waker>),
    Done(Result<Ack, SendError>),
    Taken,
}

impl Default for State {
    fn default() -> Self {
        Self::Waiting(None)
    }
}

impl Slot {
    /// Puts the result and wakes who awaits it.
    pub(crate) fn put(&self, result: Result<Ack, SendError>) {
        let before = std::mem::replace(&mut *self.0.lock(), State::Done(result));
        if let State::Waiting(Some(waker)) = before {
            waker.wake();
        }
    }
}

impl Future for Delivery {
    type Output = Result<Ack, SendError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.0.lock();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Done(result) => Poll::Ready(result),
            State::Waiting(waker) => {
                let waker = match waker {
                    Some(waker) if waker.will_wake(context.waker()) => waker,
                    _ => context.waker().clone(),
                };
                *state = State::Waiting(Some(waker));
                Poll::Pending
            }
            State::Taken => Poll::Ready(Err(SendError::OutcomeUnknown(
                "the result was taken before".to_owned(),
            ))),
        }
    }
}
