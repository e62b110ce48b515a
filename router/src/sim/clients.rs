//! Fanout and its clients: one for each stream, connected or not, resuming from a cursor.
//!
//! In: the deliveries topic. Out: what each client saw, and acknowledgements. Always: a client drops what it has
//! seen by (id, delivery); its cursor is sometimes older than what it saw.

use std::collections::{BTreeMap, BTreeSet};

use carillon_bus::TopicPartition;
use carillon_schemas::{
    NotificationId, Stream, TenantId, headers,
    shard::shard,
    status::{Stamp, Status},
};

use super::{log::SHARDS, producer::Kind, world::World};

/// What a client took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Got {
    pub(super) id: NotificationId,
    pub(super) delivery: u32,
    pub(super) attempt: u8,
    pub(super) redrive: u8,
}

/// A user's window on one stream.
pub(super) struct Client {
    pub(super) tenant: TenantId,
    pub(super) stream: Stream,
    position: i64,
    cursor: i64,
    seen: BTreeSet<(NotificationId, u32)>,
    pub(super) got: Vec<Got>,
    pub(super) online: bool,
}

/// All of them, and what sockets took and clients acknowledged that the store has not heard of.
pub(super) struct Clients {
    pub(super) all: Vec<Client>,
    receipts: Vec<(TenantId, NotificationId, Stamp)>,
}

impl Clients {
    pub(super) fn new() -> Self {
        let mut all = Vec::new();
        for tenant in ["acme", "globex", "initech", "victim"] {
            for channel in ["c0", "c1", super::producer::LIMITED] {
                all.push(Client {
                    tenant: tenant.parse().expect("a tenant"),
                    stream: Stream::Channel(channel.parse().expect("a channel")),
                    position: 0,
                    cursor: 0,
                    seen: BTreeSet::new(),
                    got: Vec::new(),
                    online: true,
                });
            }
        }
        Self {
            all,
            receipts: Vec::new(),
        }
    }

    /// One client takes what is there, goes away, or comes back.
    pub(super) fn step(&mut self, world: &mut World) {
        let at = world.rng.below(self.all.len());
        match world.rng.below(10) {
            0 => {
                let client = &mut self.all[at];
                client.online = false;
                // What it saw since is not in the cursor that it kept.
                let keeps = world.rng.chance(50);
                client.cursor = if keeps { client.position } else { client.cursor };
            }
            1 => {
                let client = &mut self.all[at];
                client.online = true;
                client.position = client.cursor;
            }
            _ => {
                self.pull(world, at, 5);
                if world.rng.chance(50) {
                    self.tell(world, 15);
                }
            }
        }
    }

    /// Everybody comes back and takes all. Says whether anything was new.
    pub(super) fn catch_up(&mut self, world: &mut World) -> bool {
        let mut any = false;
        for at in 0..self.all.len() {
            if !self.all[at].online {
                self.all[at].online = true;
                self.all[at].position = self.all[at].cursor;
            }
            any |= self.pull(world, at, usize::MAX);
        }
        any
    }

    fn pull(&mut self, world: &mut World, at: usize, most: usize) -> bool {
        let client = &mut self.all[at];
        let from = TopicPartition {
            topic: world.log.names.deliveries.as_str().into(),
            partition: i32::from(shard(&client.tenant, &client.stream, SHARDS, 1)),
        };
        let mut taken = 0;
        while client.online
            && taken < most
            && let Some(record) = world.log.read(&from, client.position)
        {
            client.position += 1;
            taken += 1;
            let text = |name| record.headers.text(name);
            let number = |name, absent| text(name).and_then(|n| n.parse().ok()).unwrap_or(absent);
            let id = text(headers::ID).and_then(|id| id.parse().ok());
            let Some((id, &sent)) = id.and_then(|id| Some((id, world.by_id.get(&id)?))) else {
                continue;
            };
            let sent = &world.sent[sent];
            let mine = text(headers::TENANT) == Some(client.tenant.as_str()) && sent.stream == client.stream;
            let got = Got {
                id,
                delivery: number(headers::DELIVERY, 1) as u32,
                attempt: number(headers::ATTEMPT, 1) as u8,
                redrive: number(headers::REDRIVE_COUNT, 0) as u8,
            };
            if !mine || !client.seen.insert((id, got.delivery)) {
                continue;
            }
            let acked = sent.kind == (Kind::RequireAck { acked: true });
            let told = [Some(Status::Delivered), acked.then_some(Status::Acknowledged)];
            for status in told.into_iter().flatten() {
                let stamp = Stamp {
                    redrive: got.redrive,
                    attempt: got.attempt,
                    status,
                };
                self.receipts.push((client.tenant.clone(), id, stamp));
            }
            client.got.push(got);
        }
        taken > 0
    }

    /// Receipts reach the store, or are lost on their way.
    pub(super) fn tell(&mut self, world: &mut World, lost: u64) -> bool {
        if world.faults.store_down || self.receipts.is_empty() {
            return false;
        }
        for (tenant, id, stamp) in self.receipts.drain(..) {
            if !world.rng.chance(lost) {
                let now = world.now_ms;
                world.store.note(&tenant, id, stamp, now);
            }
        }
        true
    }

    /// What stands on the deliveries topic for each stream: every (id, delivery) once.
    pub(super) fn deliveries(world: &World) -> BTreeMap<(TenantId, String), Vec<(NotificationId, u32)>> {
        let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for record in world.log.all(&world.log.names.deliveries) {
            let id: Option<NotificationId> = record.headers.text(headers::ID).and_then(|id| id.parse().ok());
            let delivery = record
                .headers
                .text(headers::DELIVERY)
                .and_then(|n| n.parse().ok());
            let (Some(id), Some(delivery)) = (id, delivery) else {
                continue;
            };
            let Some(sent) = world.by_id.get(&id).map(|&at| &world.sent[at]) else {
                continue;
            };
            let tenant = record.headers.text(headers::TENANT).and_then(|t| t.parse().ok());
            let Some(tenant) = tenant else { continue };
            let list: &mut Vec<_> = all.entry((tenant, sent.stream.to_string())).or_default();
            if !list.contains(&(id, delivery)) {
                list.push((id, delivery));
            }
        }
        all
    }
}
