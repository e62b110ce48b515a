//! The world: brokers, store, time and their troubles, and an oracle that sees every effect as it becomes durable.
//!
//! In: what routers do. Out: answers, and violations with the name of the rule. Always: the oracle knows nothing of
//! a router's state; it judges records, commits and moves by what stands in the log and in the store.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use carillon_bus::{Outgoing, Record, SendError, TopicPartition, offsets::note};
use carillon_schemas::{
    NotificationId, TenantId, headers,
    status::{Stamp, Status},
};
use carillon_store::StoreError;

use super::{
    Bug,
    log::{Group, Log},
    producer::{Kind, Sent},
    rng::Rng,
    store::Store,
};
use crate::{travel::Travel, verdict::HOPS_MOST};

/// A record's place: topic, partition, offset.
pub(super) type Place = (Arc<str>, i32, i64);

/// Whose effect it is: which record, and which handling of it.
#[derive(Debug, Clone)]
pub(super) struct By {
    pub(super) place: Place,
    pub(super) process: u64,
}

/// What became durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Delivered,
    /// Its delivery's state and place are in the store.
    Recorded,
    Checked,
    Retried,
    Dead,
    /// Expired or collapsed, in the store.
    Told,
    Scheduled,
    Overflowed,
    /// Put back in by an operator.
    Redriven,
    /// There was nothing to do.
    Done,
}

/// What goes wrong now.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    pub(super) store_down: bool,
    pub(super) kafka_down: bool,
    /// Of a hundred writes that took effect, so many have no answer.
    pub(super) lost_answers: u64,
}

/// A broken rule.
#[derive(Debug, Clone)]
pub(super) struct Violation {
    pub(super) rule: &'static str,
    pub(super) text: String,
}

/// Everything but the routers and the clients.
pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) now_ms: u64,
    pub(super) log: Log,
    pub(super) store: Store,
    pub(super) faults: Faults,
    pub(super) bug: Option<Bug>,
    pub(super) sent: Vec<Sent>,
    pub(super) by_id: HashMap<NotificationId, usize>,
    pub(super) by_value: HashMap<Bytes, usize>,
    /// Notifications with a record whose headers were damaged.
    pub(super) damaged: BTreeSet<usize>,
    /// Tenants of which a router wrote to the overflow that it did not own any more, and did not know.
    pub(super) written_unaware: BTreeSet<TenantId>,
    /// Whether clocks are wrong in this schedule.
    pub(super) skewed: bool,
    /// Crashes, lost answers, hand-overs: each may repeat moves.
    pub(super) disturbances: u32,
    pub(super) violations: Vec<Violation>,
    pub(super) processes: u64,
    /// Whether to tell what happens.
    tells: bool,
    effects: BTreeMap<Place, Vec<(u64, Effect)>>,
    moves: HashMap<usize, u32>,
}

impl World {
    pub(super) fn new(seed: u64, bug: Option<Bug>) -> Self {
        Self {
            rng: Rng::new(seed),
            now_ms: 1_760_000_000_000,
            log: Log::new(),
            store: Store::default(),
            faults: Faults::default(),
            bug,
            sent: Vec::new(),
            by_id: HashMap::new(),
            by_value: HashMap::new(),
            damaged: BTreeSet::new(),
            written_unaware: BTreeSet::new(),
            skewed: false,
            disturbances: 0,
            violations: Vec::new(),
            processes: 0,
            tells: super::setting("SIM_TELL").is_some(),
            effects: BTreeMap::new(),
            moves: HashMap::new(),
        }
    }

    /// Told with `SIM_TELL=1`, to follow a seed that fails.
    pub(super) fn tell(&self, what: impl FnOnce() -> String) {
        if self.tells {
            println!("{} {}", self.now_ms - 1_760_000_000_000, what());
        }
    }

    pub(super) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    pub(super) fn broken(&mut self, rule: &'static str, text: impl Into<String>) {
        let text = text.into();
        self.violations.push(Violation { rule, text });
    }

    pub(super) fn process(&mut self, record: &Record) -> By {
        self.processes += 1;
        By {
            place: (Arc::clone(&record.topic), record.partition, record.offset),
            process: self.processes,
        }
    }

    /// A router's write to Kafka. An answer may be lost although it took effect.
    pub(super) fn produce(
        &mut self,
        by: &By,
        effect: Effect,
        record: Outgoing,
    ) -> Result<(i32, i64), SendError> {
        if self.faults.kafka_down {
            return Err(SendError::Unavailable("no broker".to_owned()));
        }
        self.inspect(effect, &record);
        let key_partition = self.log.partition_of(&record.topic, &record.key);
        let partition = record.partition.unwrap_or(key_partition);
        self.now_ms += 1;
        let content = (Some(record.key), Some(record.value));
        let written = self
            .log
            .append(&record.topic, partition, content, record.headers, self.now_ms);
        self.did(by, effect);
        let lost = self.rng.chance(self.faults.lost_answers);
        self.tell(|| {
            let id = written.headers.text(headers::ID).unwrap_or("?");
            format!(
                "{id} {effect:?} at {}/{partition}/{} by {by:?}, answer lost: {lost}",
                written.topic, written.offset
            )
        });
        if lost {
            self.disturbances += 1;
            return Err(SendError::OutcomeUnknown("no answer".to_owned()));
        }
        Ok((partition, written.offset))
    }

    /// Looks at a record that a router writes.
    fn inspect(&mut self, effect: Effect, record: &Outgoing) {
        let id = record.headers.text(headers::ID).and_then(|id| id.parse().ok());
        let known = match effect {
            Effect::Delivered => id.and_then(|id| self.by_id.get(&id)),
            _ => self.by_value.get(&record.value),
        };
        let Some(&at) = known else {
            self.broken(
                "R11",
                format!("{} gets bytes that nobody sent as they are", record.topic),
            );
            return;
        };
        let sent = &self.sent[at];
        let tenant = record.headers.text(headers::TENANT);
        let damaged = self.damaged.contains(&at);
        let bound = sent.kind != Kind::Foreign && tenant == Some(sent.tenant.as_str());
        if !bound && !damaged && (effect == Effect::Delivered || sent.kind != Kind::Foreign) {
            let text = format!(
                "{} of {} goes to {} as {tenant:?}",
                sent.id, sent.tenant, record.topic
            );
            self.broken("R11", text);
        }
        let (id, kind) = (self.sent[at].id, self.sent[at].kind.clone());
        let may = match effect {
            Effect::Retried => matches!(kind, Kind::TimesOut(_)),
            Effect::Dead => kind.may_die() || damaged,
            _ => true,
        };
        if !may {
            let code = record.headers.text(headers::ERROR_CODE);
            let text = format!(
                "{id} ({kind:?}) is fine and goes to {} for {code:?}",
                record.topic
            );
            self.broken("R8", text);
        }
        if matches!(effect, Effect::Retried | Effect::Checked | Effect::Overflowed) {
            self.moved(at, record);
        }
    }

    fn moved(&mut self, at: usize, record: &Outgoing) {
        let moves = self.moves.entry(at).or_default();
        *moves += 1;
        let most = (u32::from(HOPS_MOST) + 2) * (2 + self.disturbances);
        let hops: Option<u8> = record
            .headers
            .text(headers::HOPS)
            .and_then(|hops| hops.parse().ok());
        let moves = *moves;
        if moves > most || hops.is_none_or(|hops| hops == 0 || hops > HOPS_MOST + 1) {
            let text = format!(
                "{}: move {moves} with hops {hops:?} to {}",
                self.sent[at].id, record.topic
            );
            self.broken("R5", text);
        }
    }

    /// Something became durable.
    pub(super) fn did(&mut self, by: &By, effect: Effect) {
        let effects = self.effects.entry(by.place.clone()).or_default();
        effects.push((by.process, effect));
        let fates = [Effect::Delivered, Effect::Retried, Effect::Dead];
        let mine = |fate: &&Effect| effects.contains(&(by.process, **fate));
        let fates: Vec<_> = fates.iter().filter(mine).copied().collect();
        if fates.len() > 1 {
            let text = format!("{:?} has the fates {fates:?} in one handling", by.place);
            self.broken("R6", text);
        }
    }

    /// A router says that there is nothing to do.
    pub(super) fn done(&mut self, by: &By, tenant: &TenantId, id: NotificationId, travel: &Travel) {
        let head = self.store.head(tenant, id);
        let later = head.is_some_and(|head| {
            let before = (travel.redrive, travel.attempt);
            let settled =
                |stamp: Stamp| stamp.status >= Status::Dispatched || (stamp.redrive, stamp.attempt) > before;
            head.acked_at.is_some() || head.settled.is_some_and(settled)
        });
        if later {
            self.did(by, Effect::Done);
        }
    }

    /// Whether everything that a record asks for is durable.
    fn finished(&self, at: &TopicPartition, offset: i64) -> bool {
        let place = (Arc::clone(&at.topic), at.partition, offset);
        let Some(effects) = self.effects.get(&place) else {
            return false;
        };
        let has = |effect| effects.iter().any(|(_, e)| *e == effect);
        let record = self.log.read(at, offset);
        let sent = record
            .and_then(|r| r.value.as_ref())
            .and_then(|v| self.by_value.get(v));
        let checked = sent.is_some_and(|&at| matches!(self.sent[at].kind, Kind::RequireAck { .. }));
        let delivered = has(Effect::Delivered) && has(Effect::Recorded) && (!checked || has(Effect::Checked));
        let others = [
            Effect::Retried,
            Effect::Dead,
            Effect::Told,
            Effect::Scheduled,
            Effect::Overflowed,
            Effect::Done,
        ];
        delivered || others.into_iter().any(has)
    }

    /// A commit, by whoever may.
    pub(super) fn commit(&mut self, group: Group, at: &TopicPartition, offset: i64, text: String) {
        let from = self.log.committed(group, at).map_or(0, |(offset, _)| *offset);
        let above = note::decode(at, offset, &text).map(|ahead| ahead.runs);
        let above = above.into_iter().flatten().flat_map(|(from, to)| from..to);
        let unfinished: Vec<_> = (from..offset)
            .chain(above)
            .filter(|o| !self.finished(at, *o))
            .collect();
        if !unfinished.is_empty() {
            let text = format!("{at} is committed at {offset}, and {unfinished:?} are not finished");
            self.broken("R4", text);
        }
        self.tell(|| format!("{at} is committed at {offset} {text}"));
        self.log.commit(group, at, offset, text);
    }

    /// A router's write to the store. An answer may be lost although it took effect.
    pub(super) fn write(&mut self, write: impl FnOnce(&mut Store)) -> Result<(), StoreError> {
        self.ask(write)?;
        if self.rng.chance(self.faults.lost_answers) {
            return Err(StoreError::Unavailable("no answer".to_owned()));
        }
        Ok(())
    }

    /// A router's question to the store.
    pub(super) fn ask<T>(&mut self, ask: impl FnOnce(&mut Store) -> T) -> Result<T, StoreError> {
        if self.faults.store_down {
            return Err(StoreError::Unavailable("away".to_owned()));
        }
        Ok(ask(&mut self.store))
    }
}
