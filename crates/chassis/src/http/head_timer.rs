//! The timer of a connection's request heads: strict until the first request, patient afterwards.
//!
//! In: hyper's one time-out for heads, which it also applies while a kept-alive connection is idle.
//! Out: sleeps that are longer once the peer has sent a request.
//! Always: a peer that has never sent a whole head gets no more than the strict time.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;

#[derive(Clone)]
pub(super) struct HeadTimer {
    timer: TokioTimer,
    patience: Duration,
    pub(super) served: Arc<AtomicBool>,
}

impl HeadTimer {
    /// Adds `patience` to every sleep that begins after `served` was set.
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            timer: TokioTimer::new(),
            patience,
            served: Arc::default(),
        }
    }

    fn extra(&self) -> Duration {
        if self.served.load(Ordering::Relaxed) {
            self.patience
        } else {
            Duration::ZERO
        }
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.timer.sleep(duration + self.extra())
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.timer.sleep_until(deadline + self.extra())
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        self.timer.reset(sleep, deadline + self.extra());
    }
}
