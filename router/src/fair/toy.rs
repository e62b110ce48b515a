//! A toy model of the queue in virtual time: one victim, one aggressor at five times what the server can do.
//!
//! In: nothing. Out: the victim's p50 and p99, first come first served and fair, printed. Always: deterministic;
//! only the order of magnitude is asserted, and no clock is read.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::{
    Bounds, Fair, Weights,
    tests::{Thing, thing},
};

/// Records per second that the server can do, and how it takes them.
const CAPACITY: u64 = 10_000;
const BATCH: usize = 64;
const SECONDS: u64 = 30;
const VICTIM_EVERY_US: u64 = 5_000;

enum Queue {
    Fifo(VecDeque<Thing>),
    Fair(Box<Fair<Thing>>, VecDeque<Thing>),
}

impl Queue {
    fn offer(&mut self, thing: Thing, now: Instant) {
        match self {
            Self::Fifo(waiting) => waiting.push_back(thing),
            // What does not fit overflows, and so does all that its tenant sends after it.
            Self::Fair(fair, overflow) => {
                let aggressor = thing.tenant.as_str() == "aggressor";
                if aggressor && !overflow.is_empty() {
                    overflow.push_back(thing);
                } else if let Err(thing) = fair.offer(thing, now) {
                    overflow.push_back(thing);
                }
            }
        }
    }

    fn take(&mut self, now: Instant) -> Vec<Thing> {
        match self {
            Self::Fifo(waiting) => waiting.drain(..BATCH.min(waiting.len())).collect(),
            Self::Fair(fair, overflow) => {
                let taken = fair.take(BATCH, usize::MAX, now);
                while let Some(thing) = overflow.pop_front() {
                    if let Err(thing) = fair.offer(thing, now) {
                        overflow.push_front(thing);
                        break;
                    }
                }
                taken
            }
        }
    }
}

/// The victim's p50 and p99 in microseconds.
fn run(mut queue: Queue, aggressor_per_second: u64) -> (u64, u64) {
    let begun = Instant::now();
    let mut waits = Vec::new();
    let mut free_at = 0;
    for us in (0..SECONDS * 1_000_000).step_by(100) {
        let now = begun + Duration::from_micros(us);
        for number in 0..aggressor_per_second / 10_000 {
            queue.offer(thing("aggressor", number as u8, us), now);
        }
        if us % VICTIM_EVERY_US == 0 {
            queue.offer(thing("victim", 0, us), now);
        }
        if us < free_at {
            continue;
        }
        let batch = queue.take(now);
        free_at = us + batch.len() as u64 * 1_000_000 / CAPACITY;
        let victims = batch.iter().filter(|t| t.tenant.as_str() == "victim");
        waits.extend(victims.map(|t| free_at - t.number));
    }
    waits.sort_unstable();
    (waits[waits.len() / 2], waits[waits.len() * 99 / 100])
}

fn fair() -> Queue {
    let bounds = Bounds::default();
    Queue::Fair(Box::new(Fair::new(bounds, Weights::new())), VecDeque::new())
}

#[test]
fn an_aggressor_at_five_times_the_capacity_is_not_felt_by_its_victim() {
    let alone = run(fair(), 0);
    let fifo = run(Queue::Fifo(VecDeque::new()), 5 * CAPACITY);
    let shared = run(fair(), 5 * CAPACITY);
    println!(
        "victim's latency, p50 / p99 in ms: alone {:.1} / {:.1}, behind a flood of 5 times the capacity \
         first come first served {:.0} / {:.0}, fair {:.1} / {:.1}",
        alone.0 as f64 / 1e3,
        alone.1 as f64 / 1e3,
        fifo.0 as f64 / 1e3,
        fifo.1 as f64 / 1e3,
        shared.0 as f64 / 1e3,
        shared.1 as f64 / 1e3,
    );
    assert!(fifo.1 > 1_000_000, "there is no queue");
    assert!(shared.1 < 50_000, "{}", shared.1);
}
