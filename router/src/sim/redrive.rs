//! An operator's job: dead letters back in, oldest first, from a position that is saved now and then.
//!
//! In: the dead-letter topic. Out: records on the redrive topic. Always: a letter is put back in at most three
//! times; a job that was interrupted begins where it was saved, and repeats what it did since.

use std::sync::Arc;

use carillon_bus::TopicPartition;
use carillon_schemas::headers;
use uuid::Uuid;

use super::{
    node::outgoing,
    producer::Kind,
    world::{By, Effect, World},
};
use crate::travel;

/// A job on its way.
pub(super) struct Job {
    id: Uuid,
    number: u64,
    saved: i64,
    position: i64,
    end: Option<i64>,
}

impl Job {
    pub(super) fn new(number: u64) -> Self {
        Self {
            id: Uuid::from_u128(u128::from(number)),
            number,
            saved: 0,
            position: 0,
            end: None,
        }
    }

    /// One letter. `false` when it is at its end.
    pub(super) fn step(&mut self, world: &mut World) -> bool {
        let at = TopicPartition {
            topic: world.log.names.dead_letters.as_str().into(),
            partition: 0,
        };
        // What dies while it runs is for the next job.
        let end = *self.end.get_or_insert(world.log.end(&at));
        if world.rng.chance(10) {
            // It died, and another router goes on with it.
            world.disturbances += 1;
            self.position = self.saved;
        }
        if self.position >= end {
            return false;
        }
        let Some(letter) = world.log.read(&at, self.position).cloned() else {
            return false;
        };
        let known = letter
            .value
            .as_ref()
            .and_then(|value| world.by_value.get(value))
            .copied();
        let count: u8 = letter
            .headers
            .text(headers::REDRIVE_COUNT)
            .and_then(|n| n.parse().ok())
            .unwrap_or(0);
        let wanted = known.filter(|&at| {
            let kind = &world.sent[at].kind;
            matches!(
                kind,
                Kind::Refused | Kind::TimesOut(_) | Kind::TooBig | Kind::RequireAck { .. }
            )
        });
        if let Some(known) = wanted.filter(|_| count < 3)
            && let Ok(headers) = travel::redriven(&letter, self.id, world.now_ms)
        {
            if self.number.is_multiple_of(2) {
                world.sent[known].mended = true;
            }
            let topic = world.log.names.redrive.clone();
            let by = By {
                place: (Arc::from("job"), self.number as i32, self.position),
                process: 0,
            };
            if world
                .produce(&by, Effect::Redriven, outgoing(&letter, &topic, Some(0), headers))
                .is_err()
            {
                return true;
            }
        }
        self.position += 1;
        if world.rng.chance(40) {
            self.saved = self.position;
        }
        true
    }
}
