//! Facts to tell a store, made from small numbers.
//!
//! In: which notification, what happened, when. Out: the batch's rows. Always: one notification of one tenant
//! has one envelope, and one place in a stream has one notification, as in Kafka.

use std::sync::Arc;

use bytes::Bytes;
use carillon_schemas::{
    NotificationId, Stream, TenantId,
    cursor::Cursor,
    dead_letter::{DeadLetterId, DeadLetterRow, DeadLetterState},
    envelope::Envelope,
    notification::Audience,
    status::{Stamp, Status},
};

use crate::{DeadLetter, Dispatched, Fact as Happened, NewNotification, NotificationStore, StoreError};

/// When the first notification was accepted.
pub const EPOCH_MS: u64 = 1_750_000_000_000;

/// One fact.
#[derive(Debug, Clone)]
pub enum Fact {
    Persist(NewNotification),
    Dispatched(Dispatched),
    Dead(DeadLetter),
    Note(Happened),
}

/// The `n`th notification's id, the same for every tenant.
pub fn id(n: u64) -> NotificationId {
    let mut random = [7; 10];
    random[2..].copy_from_slice(&n.to_be_bytes());
    NotificationId::at(EPOCH_MS + n / 2, &random)
}

/// The `n`th notification of a tenant: two share a moment, every fifth is for a user.
pub fn envelope(tenant: &TenantId, n: u64, channel: &str) -> Envelope {
    let personal = n % 5 == 4;
    Envelope {
        priority: Default::default(),
        expires_at: None,
        collapse_key: None,
        require_ack: false,
        deliver_at: None,
        notification_id: id(n),
        tenant_id: tenant.clone(),
        user_id: personal.then(|| "u1".parse().unwrap()),
        channel: channel.parse().unwrap(),
        audience: if personal {
            Audience::User
        } else {
            Audience::Channel
        },
        correlation_id: format!("of-{tenant}-{n}").parse().unwrap(),
        accepted_at: EPOCH_MS + n / 2,
        kind: None,
        title: None,
        content: format!("for {tenant} alone: {n}"),
        data: None,
    }
}

/// The channel that the `n`th notification is on unless a test says otherwise.
pub fn channel(n: u64) -> &'static str {
    ["alerts", "news"][(n % 2) as usize]
}

/// The `n`th notification, read by `node` in an attempt.
pub fn new(tenant: &TenantId, n: u64, attempt: u8, at_ms: u64, node: &str) -> NewNotification {
    sealed(envelope(tenant, n, channel(n)), attempt, at_ms, node)
}

/// An envelope as the router hands it over.
pub fn sealed(envelope: Envelope, attempt: u8, at_ms: u64, node: &str) -> NewNotification {
    NewNotification {
        redrive: 0,
        bytes: Bytes::from(envelope.to_json().unwrap()),
        stream: envelope.stream().unwrap(),
        envelope,
        attempt,
        at_ms,
        node: Arc::from(node),
    }
}

/// The `n`th notification's `delivery`th acknowledged delivery.
pub fn dispatched(
    tenant: &TenantId,
    n: u64,
    delivery: u32,
    attempt: u8,
    at_ms: u64,
    node: &str,
) -> Dispatched {
    Dispatched {
        redrive: 0,
        tenant: tenant.clone(),
        id: id(n),
        stream: stream(n),
        cursor: cursor(n, delivery),
        delivery,
        attempt,
        at_ms,
        node: Arc::from(node),
    }
}

/// The stream of the `n`th notification.
pub fn stream(n: u64) -> Stream {
    let tenant = "x".parse().unwrap();
    envelope(&tenant, n, channel(n)).stream().unwrap()
}

/// The place of a delivery: repeats come after all first deliveries.
pub fn cursor(n: u64, delivery: u32) -> Cursor {
    Cursor {
        generation: 1,
        shard: 3,
        offset: i64::from(delivery) * 1_000_000 + n as i64,
    }
}

/// Something else that happened to the `n`th notification.
pub fn note(tenant: &TenantId, n: u64, stamp: Stamp, at_ms: u64, node: &str) -> Happened {
    Happened {
        tenant: tenant.clone(),
        id: id(n),
        stamp,
        at_ms,
        node: Arc::from(node),
        sessions: None,
    }
}

/// What happened in a first attempt.
pub fn stamp(status: Status) -> Stamp {
    Stamp {
        redrive: 0,
        attempt: 1,
        status,
    }
}

/// The `n`th notification's end. Another moment or attempt is another record on the dead-letter topic.
pub fn dead(tenant: &TenantId, n: u64, attempt: u8, at_ms: u64, node: &str) -> DeadLetter {
    DeadLetter {
        tenant: tenant.clone(),
        row: DeadLetterRow {
            id: DeadLetterId {
                partition: i32::from(node.ends_with('1')),
                offset: (at_ms * 1_000_000 + n * 10 + u64::from(attempt)) as i64,
            },
            at: at_ms,
            notification_id: Some(id(n)),
            channel: Some(channel(n).parse().unwrap()),
            error_class: "permanent".to_owned(),
            error_code: "store_refused".to_owned(),
            error_message: "refused".to_owned(),
            origin: format!("notifications/0/{n}"),
            attempt,
            redrive_count: 0,
            bytes: 200,
            state: DeadLetterState::Waiting,
            job_id: None,
        },
        node: Arc::from(node),
    }
}

/// Tells facts in this order, neighbours of one kind in one batch.
///
/// # Errors
/// The store's.
pub async fn tell(store: &dyn NotificationStore, facts: &[Fact]) -> Result<(), StoreError> {
    let kind = |fact: &Fact| std::mem::discriminant(fact);
    for run in facts.chunk_by(|a, b| kind(a) == kind(b)) {
        let (mut new, mut dispatched, mut dead) = (Vec::new(), Vec::new(), Vec::new());
        let mut notes = Vec::new();
        for fact in run.iter().cloned() {
            match fact {
                Fact::Persist(fact) => new.push(fact),
                Fact::Dispatched(fact) => dispatched.push(fact),
                Fact::Dead(fact) => dead.push(fact),
                Fact::Note(fact) => notes.push(fact),
            }
        }
        store.persist(&new).await?;
        store.dispatched(&dispatched).await?;
        store.dead(&dead).await?;
        store.note(&notes).await?;
    }
    Ok(())
}

/// A small generator of numbers (splitmix64), so that a seed repeats a run.
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    /// A number below `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides.max(1)
    }
}

/// Any fact about one of eight notifications of these tenants.
pub fn any_fact(tenants: &[TenantId], dice: &mut Dice) -> Fact {
    let tenant = &tenants[dice.roll(tenants.len() as u64) as usize];
    let n = dice.roll(8);
    let attempt = 1 + dice.roll(3) as u8;
    let at_ms = EPOCH_MS + 10 + dice.roll(50);
    let node = ["router-0", "router-1"][dice.roll(2) as usize];
    match dice.roll(9) {
        0 | 1 => Fact::Persist(new(tenant, n, attempt, at_ms, node)),
        2 | 3 => {
            let delivery = 1 + dice.roll(2) as u32;
            Fact::Dispatched(dispatched(tenant, n, delivery, attempt, at_ms, node))
        }
        4 => Fact::Dead(dead(tenant, n, attempt, at_ms, node)),
        kind => {
            let told = [Status::Delivered, Status::Delivered, Status::Acknowledged];
            let beside = BESIDE[dice.roll(BESIDE.len() as u64) as usize];
            let stamp = Stamp {
                redrive: dice.roll(3) as u8 / 2,
                attempt,
                status: told.get(kind as usize - 5).copied().unwrap_or(beside),
            };
            let mut note = note(tenant, n, stamp, at_ms, node);
            let counted = stamp.status == Status::Delivered && dice.roll(4) > 0;
            note.sessions = counted.then(|| dice.roll(200) as u32);
            Fact::Note(note)
        }
    }
}

/// What is noted beside deliveries and acknowledgements.
const BESIDE: [Status; 5] = [
    Status::Scheduled,
    Status::Retrying,
    Status::Expired,
    Status::Cancelled,
    Status::Collapsed,
];
