//! The checks at the end of a schedule, when everything was healed and drained.
//!
//! In: the log, the store, what clients saw. Out: broken rules. Always: each rule is judged by what stands there,
//! not by what a router believes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use carillon_schemas::{NotificationId, headers, status::Status};

use super::{clients::Clients, cluster::Cluster, log::Group, producer::Kind, world::World};

impl Cluster {
    /// Every rule that is not judged on the way.
    pub(super) fn check(&mut self) {
        self.nothing_is_stuck();
        everything_has_a_fate(&mut self.world);
        redriven_once(&mut self.world);
        clients_saw_it_all(&mut self.world, &self.clients);
    }

    /// R9: every partition was read and finished to its end.
    fn nothing_is_stuck(&mut self) {
        for group in [Group::Main, Group::Ladder, Group::Overflow] {
            for at in self.world.log.partitions_of(group) {
                let end = self.world.log.end(&at);
                let committed = self
                    .world
                    .log
                    .committed(group, &at)
                    .map_or(0, |(offset, _)| *offset);
                if committed < end {
                    let owner = self.owner(&at);
                    let text = format!("{at} ends at {end} and is committed at {committed} by {owner:?}");
                    self.world.broken("R9", text);
                }
            }
        }
    }
}

/// R1: accepted is delivered-visible, dead, or told as expired or collapsed; what nobody acknowledges is not done with
/// when it is delivered.
fn everything_has_a_fate(world: &mut World) {
    let dead: BTreeSet<Bytes> = world
        .log
        .all(&world.log.names.dead_letters)
        .filter_map(|letter| letter.value.clone())
        .collect();
    let delivered: BTreeSet<NotificationId> = world
        .log
        .all(&world.log.names.deliveries)
        .filter_map(|record| record.headers.text(headers::ID)?.parse().ok())
        .collect();
    let mut lost = Vec::new();
    for (number, sent) in world.sent.iter().enumerate() {
        let row = world.store.row(&sent.tenant, sent.id);
        let told = row.is_some_and(|row| row.has(Status::Expired) || row.has(Status::Collapsed));
        let dispatched = row.is_some_and(|row| row.has(Status::Dispatched) && row.bytes.is_some());
        let awaited = sent.kind == (Kind::RequireAck { acked: false }) && !world.damaged.contains(&number);
        let visible = delivered.contains(&sent.id) && dispatched && !awaited;
        if !visible && !told && !dead.contains(&sent.value) {
            lost.push(format!(
                "{} ({:?}, {:?}) has no fate",
                sent.id, sent.kind, sent.place
            ));
        }
    }
    lost.into_iter().for_each(|text| world.broken("R1", text));
}

/// R10: of what was put back in, each redrive is dispatched under one delivery count, whoever did it how often.
fn redriven_once(world: &mut World) {
    let mut counts: BTreeMap<(NotificationId, String), BTreeSet<String>> = BTreeMap::new();
    for record in world.log.all(&world.log.names.deliveries) {
        let text = |name| record.headers.text(name).unwrap_or("0").to_owned();
        let id = text(headers::ID).parse();
        let Ok(id) = id else { continue };
        let known = world.by_id.get(&id).filter(|at| !world.damaged.contains(at));
        let repeats = known.is_none_or(|&at| matches!(world.sent[at].kind, Kind::RequireAck { .. }));
        if !repeats {
            let counts = counts.entry((id, text(headers::REDRIVE_COUNT))).or_default();
            counts.insert(text(headers::DELIVERY));
        }
    }
    for ((id, redrive), deliveries) in counts {
        if deliveries.len() > 1 {
            world.broken(
                "R10",
                format!("{id} in redrive {redrive} was delivered as {deliveries:?}"),
            );
        }
    }
}

/// R14: who resumes sees every (id, delivery) once, in the order of the channel.
fn clients_saw_it_all(world: &mut World, clients: &Clients) {
    let deliveries = Clients::deliveries(world);
    let mut broken = Vec::new();
    for client in &clients.all {
        let key = (client.tenant.clone(), client.stream.to_string());
        let there = deliveries.get(&key).cloned().unwrap_or_default();
        let seen: Vec<_> = client.got.iter().map(|got| (got.id, got.delivery)).collect();
        if seen != there {
            broken.push(format!("{key:?}: the log has {there:?}, the client saw {seen:?}"));
        }
        let first = client
            .got
            .iter()
            .filter(|got| got.delivery == 1 && got.attempt == 1 && got.redrive == 0);
        let places = first.filter_map(|got| {
            let at = *world.by_id.get(&got.id)?;
            let kind = &world.sent[at].kind;
            // By one clock it was expired, and by the next owner's it is not.
            let doubtful = *kind == Kind::Expires && world.skewed;
            (kind.is_ordered() && !doubtful && !world.damaged.contains(&at)).then_some(at)
        });
        let places: Vec<_> = places.collect();
        // Two that take themselves for the owner of one overflow cannot keep an order: nothing fences the older.
        let fenced = !world.written_unaware.contains(&client.tenant);
        if fenced && !places.is_sorted() {
            broken.push(format!("{key:?}: first attempts came in the order {places:?}"));
        }
    }
    broken.into_iter().for_each(|text| world.broken("R14", text));
}
