//! A record's way through a router after its turn came: stored, let through the gate, dispatched, settled.
//!
//! In: flights, one step at a time. Out: effects, each durable before the next, in the order of the real rim.
//! Always: dispatches keep the order of the turns; a record is finished after all that its verdict asks for.

use std::sync::Arc;

use carillon_schemas::{
    delivery::Repeat,
    status::{Stamp, Status},
};
use carillon_store::{NewNotification, Scheduled, StoreError};

use super::{
    Bug,
    log::SHARDS,
    node::{Flight, Node, outgoing},
    producer::{Kind, LIMIT, LIMITED},
    world::{Effect, World},
};
use crate::{
    dead_letters::letter,
    dispatch::Shards,
    gate::{Candidate, ChannelLimits, gate},
    hold::Dependency,
    sources::Source,
    verdict::{Outcome, Reason, Verdict, verdict},
    work::{End, Ended},
};

/// Records that have left their lanes and are not finished.
const ON_THE_WAY: usize = 10;
/// How often a row fails alone before it is given up.
const LONE_FAILURES: u32 = 3;

impl Node {
    pub(super) fn in_flight(&self) -> usize {
        self.fresh.len() + self.stored.len() + self.settling.len()
    }

    /// Takes those whose turn it is.
    pub(super) fn take(&mut self, world: &mut World) -> bool {
        if self.in_flight() >= ON_THE_WAY {
            return false;
        }
        let works = self.intake.take(3, 10_000);
        let any = !works.is_empty();
        for work in works {
            for (way, new) in work.ways.into_iter().zip(work.news) {
                if matches!(way.source, Source::Ladder { .. }) {
                    self.is_not_early(world, &way.record);
                }
                let by = world.process(&way.record);
                self.fresh.push_back(Flight::new(by, way, Some(new)));
            }
            for Ended { way, new, end } in work.ended {
                let by = world.process(&way.record);
                let mut flight = Flight::new(by, way, new);
                flight.end = Some(end);
                self.settling.push_back(flight);
            }
        }
        any
    }

    /// What the store knows of the first, then its payload, then the gate.
    pub(super) fn store(&mut self, world: &mut World) -> bool {
        if self.fresh.is_empty() || !self.may_ask(world, Dependency::Store) {
            return false;
        }
        let Some(mut flight) = self.fresh.pop_front() else {
            return false;
        };
        match self.stored_or_ended(world, &mut flight) {
            Ok(()) => {
                self.answered(Dependency::Store, true);
                flight.travel = match flight.end {
                    None => flight.travel.dispatching(),
                    Some(_) => flight.travel,
                };
                self.stored.push_back(flight);
            }
            Err(_) => self.fresh.push_front(flight),
        }
        true
    }

    fn stored_or_ended(&mut self, world: &mut World, flight: &mut Flight) -> Result<(), StoreError> {
        let Some(new) = flight.new.clone() else {
            return Ok(());
        };
        let (tenant, id) = (new.envelope.tenant_id.clone(), new.envelope.notification_id);
        let travel = flight.travel;
        let now = self.now_ms(world);
        let known = travel.republished || travel.check || travel.redrive > 0 || travel.attempt > 1;
        if known || matches!(flight.source, Source::Schedule(_)) {
            flight.head = self.heard(world.ask(|store| store.head(&tenant, id)))?;
            if verdict(Outcome::Before(flight.head), &travel, now) == Verdict::Done {
                world.done(&flight.by, &tenant, id, &travel);
                flight.end = Some(End::Done);
                return Ok(());
            }
        }
        if !travel.check {
            self.persist(world, flight, &new)?;
        }
        if flight.end.is_some() {
            return Ok(());
        }
        let key = new.envelope.collapse_key.clone();
        let latest = self.heard(world.ask(|store| {
            key.as_ref()
                .and_then(|key| store.latest(&tenant, &new.stream, key))
        }))?;
        let candidate = Candidate {
            new: &new,
            travel: &travel,
            latest,
            last_check: travel.check && self.tiers.is_last_check(travel.attempt),
        };
        flight.end = gate(&candidate, &limits(world, &new), now);
        Ok(())
    }

    /// What the store answered; trouble is told to the breaker.
    fn heard<T>(&mut self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        if answer.is_err() {
            self.answered(Dependency::Store, false);
        }
        answer
    }

    fn persist(
        &mut self,
        world: &mut World,
        flight: &mut Flight,
        new: &NewNotification,
    ) -> Result<(), StoreError> {
        let now = self.now_ms(world);
        let sent = world.by_value.get(&new.bytes).map(|&at| &world.sent[at]);
        let kind = sent.map(|sent| (sent.kind.clone(), sent.mended));
        let outcome = match kind {
            Some((Kind::Refused, false)) if !world.faults.store_down => {
                Outcome::Store(StoreError::Refused("no".to_owned()))
            }
            Some((Kind::TimesOut(attempts), false)) if flight.travel.attempt <= attempts => {
                // It is told apart from a store that is away by what the store takes.
                if !self.takes_others(world) {
                    self.heard::<()>(Err(StoreError::Unavailable("slow".to_owned())))?;
                }
                self.answered(Dependency::Store, true);
                flight.alone += 1;
                if flight.alone < LONE_FAILURES {
                    return Err(StoreError::Unavailable("slow, alone".to_owned()));
                }
                Outcome::Alone("slow".to_owned())
            }
            _ => {
                let written = world.write(|store| store.persist(new));
                self.heard(written)?;
                self.took = true;
                flight.stored = true;
                return Ok(());
            }
        };
        flight.end = End::of(verdict(outcome, &flight.travel, now));
        Ok(())
    }

    /// Whether the store takes what it took before. After a start there is no such thing: then something else is
    /// written that does nothing. (To wait for others would be to wait for ever: while the breaker is open, the
    /// consumers are paused.)
    fn takes_others(&mut self, world: &mut World) -> bool {
        self.took = self.took || world.write(|_| ()).is_ok();
        self.took && !world.faults.store_down
    }

    /// Sends the first one's delivery, and then its check.
    pub(super) fn dispatch(&mut self, world: &mut World) -> bool {
        let Some(flight) = self.stored.front() else {
            return false;
        };
        if flight.end.is_some() {
            let flight = self.stored.pop_front();
            self.settling.extend(flight);
            return true;
        }
        if !self.may_ask(world, Dependency::Kafka) {
            return false;
        }
        let Some(mut flight) = self.stored.pop_front() else {
            return false;
        };
        let through = self.send(world, &mut flight);
        self.answered(Dependency::Kafka, through.is_some());
        match through {
            Some(true) => self.settling.push_back(flight),
            _ => self.stored.push_front(flight),
        }
        true
    }

    /// Whether delivery and check are through; `None` when a send failed.
    fn send(&self, world: &mut World, flight: &mut Flight) -> Option<bool> {
        let new = flight.new.as_ref()?;
        if flight.sent.is_none() {
            let shards = Shards {
                topic: world.log.names.deliveries.as_str().into(),
                count: SHARDS,
            };
            let repeat = Repeat {
                delivery: flight.travel.delivery,
                attempt: flight.travel.attempt,
                replayed: false,
            };
            let record = shards.outgoing(new, None, repeat).ok()?;
            flight.sent = Some(world.produce(&flight.by, Effect::Delivered, record).ok()?);
            return Some(!new.envelope.require_ack);
        }
        let rung = self.tiers.check_after(flight.travel.attempt);
        let due = self.now_ms(world) + rung.delay_ms;
        let headers = flight.travel.to_check(&flight.record, due);
        let record = outgoing(&flight.record, &rung.topic, None, headers);
        world.produce(&flight.by, Effect::Checked, record).ok()?;
        flight.checked = true;
        Some(true)
    }

    /// One effect more of some flight that is through, or its end.
    pub(super) fn settle(&mut self, world: &mut World) -> bool {
        if self.settling.is_empty() {
            return false;
        }
        let at = world.rng.below(self.settling.len().min(2));
        let Some(mut flight) = self.settling.remove(at) else {
            return false;
        };
        if self.next_effect(world, &mut flight) {
            let (record, source) = (flight.record, flight.source);
            self.finish(&record, &source);
        } else {
            self.settling.push_front(flight);
        }
        true
    }

    /// Whether nothing is left to do.
    fn next_effect(&mut self, world: &mut World, flight: &mut Flight) -> bool {
        match flight.end.clone() {
            Some(End::Retry(reason)) if !flight.moved => {
                self.retry(world, flight, &reason);
                false
            }
            Some(End::Dead(reason)) if !flight.moved => self.bury(world, flight, &reason),
            _ if !flight.recorded => {
                self.record(world, flight);
                false
            }
            end => self.unscheduled(world, flight, end.as_ref()),
        }
    }

    fn retry(&mut self, world: &mut World, flight: &mut Flight, reason: &Reason) {
        let rung = self.tiers.after(flight.travel.attempt).clone();
        let due = self.now_ms(world) + rung.delay_ms;
        let headers = flight.travel.to_retry(&flight.record, due, reason);
        let record = outgoing(&flight.record, &rung.topic, None, headers);
        self.moves(world, flight, Effect::Retried, record);
    }

    fn bury(&mut self, world: &mut World, flight: &mut Flight, reason: &Reason) -> bool {
        let topic: Arc<str> = world.log.names.dead_letters.as_str().into();
        let record = letter(&topic, &flight.record, reason);
        let written = self.moves(world, flight, Effect::Dead, record);
        !written && world.has(Bug::DropFailedDeadLetter)
    }

    fn moves(
        &mut self,
        world: &mut World,
        flight: &mut Flight,
        effect: Effect,
        record: carillon_bus::Outgoing,
    ) -> bool {
        if !self.may_ask(world, Dependency::Kafka) {
            return true;
        }
        let written = world.produce(&flight.by, effect, record).is_ok();
        self.answered(Dependency::Kafka, written);
        flight.moved = written;
        written
    }

    /// What is said about it in the store.
    fn record(&mut self, world: &mut World, flight: &mut Flight) {
        let Some(new) = flight.new.as_ref().filter(|_| flight.end != Some(End::Done)) else {
            flight.recorded = true;
            return;
        };
        // The state of one that the store does not take cannot be written either.
        let lone = matches!(&flight.end, Some(End::Retry(_))) || flight.end.is_some() && !flight.stored;
        let lone = lone && !flight.travel.check;
        if !self.may_ask(world, Dependency::Store) {
            return;
        }
        let now = self.now_ms(world);
        let (tenant, id) = (new.envelope.tenant_id.clone(), new.envelope.notification_id);
        let (status, effect) = match &flight.end {
            None => (Status::Dispatched, Some(Effect::Recorded)),
            Some(End::Expired) => (Status::Expired, Some(Effect::Told)),
            Some(End::Collapsed) => (Status::Collapsed, Some(Effect::Told)),
            Some(End::Scheduled { .. }) => (Status::Scheduled, Some(Effect::Scheduled)),
            Some(End::Dead(_)) => (Status::Dead, None),
            Some(End::Retry(_) | End::Done) => (Status::Retrying, None),
        };
        let stamp = Stamp {
            redrive: flight.travel.redrive,
            attempt: flight.travel.attempt,
            status,
        };
        let row = scheduled(flight, new);
        let written = world.write(|store| {
            if let Some(row) = &row {
                store.schedule(row);
            }
            store.note(&tenant, id, stamp, now);
        });
        self.answered(Dependency::Store, written.is_ok());
        flight.recorded = written.is_ok() || lone;
        if flight.recorded
            && let Some(effect) = effect
        {
            world.did(&flight.by, effect);
        }
    }

    /// What came from the schedule is taken out of it.
    fn unscheduled(&mut self, world: &mut World, flight: &Flight, end: Option<&End>) -> bool {
        let Source::Schedule(row) = &flight.source else {
            return true;
        };
        if matches!(end, Some(End::Scheduled { .. })) {
            return true;
        }
        if !self.may_ask(world, Dependency::Store) {
            return false;
        }
        let written = world.write(|store| store.unschedule(row));
        self.answered(Dependency::Store, written.is_ok());
        written.is_ok()
    }
}

fn limits(world: &World, new: &NewNotification) -> ChannelLimits {
    let mended = world
        .by_value
        .get(&new.bytes)
        .is_some_and(|&at| world.sent[at].mended);
    let mut limits = ChannelLimits::new();
    if !mended && new.envelope.channel.as_str() == LIMITED {
        let channel = (new.envelope.tenant_id.clone(), new.envelope.channel.clone());
        limits.insert(channel, LIMIT);
    }
    limits
}

/// The schedule's row of one that waits for its moment.
fn scheduled(flight: &Flight, new: &NewNotification) -> Option<Scheduled> {
    let Some(End::Scheduled { due_ms }) = flight.end else {
        return None;
    };
    Some(Scheduled {
        partition: flight.record.partition,
        due_at_ms: due_ms,
        tenant: new.envelope.tenant_id.clone(),
        id: new.envelope.notification_id,
    })
}
