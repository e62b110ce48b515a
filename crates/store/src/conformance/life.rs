//! Promises about what happens after a dispatch, and about collapse keys.

use std::time::Duration;

use carillon_schemas::{
    CollapseKey, NotificationId, Stream, TenantId,
    status::{Stamp, Status},
};

use super::{
    Subject,
    facts::{self, Dice, EPOCH_MS},
};
use crate::{Head, NewNotification};

pub async fn of_a_nodes_sessions_the_most_and_of_first_times_the_earliest_stay(subject: &Subject) {
    let (store, tenant) = (&subject.store, subject.tenant("a"));
    let told = |attempt, redrive, status, at, node, sessions| {
        let stamp = Stamp {
            redrive,
            attempt,
            status,
        };
        let mut note = facts::note(&tenant, 1, stamp, EPOCH_MS + at, node);
        note.sessions = sessions;
        note
    };
    let new = facts::new(&tenant, 1, 1, EPOCH_MS, "r");
    store.persist(&[new]).await.unwrap();
    let notes = [
        told(1, 0, Status::Delivered, 30, "f0", Some(7)),
        told(1, 0, Status::Delivered, 20, "f0", Some(3)),
        told(1, 0, Status::Delivered, 25, "f1", None),
        told(2, 0, Status::Delivered, 60, "f0", Some(1)),
        told(1, 1, Status::Delivered, 90, "f0", Some(9)),
        told(1, 1, Status::Acknowledged, 95, "f0", None),
        told(2, 0, Status::Acknowledged, 70, "f1", None),
    ];
    for note in notes {
        store.note(&[note]).await.unwrap();
    }
    let known = store.notification(&tenant, facts::id(1)).await.unwrap().unwrap();
    let head = Head {
        stamp: Stamp {
            redrive: 1,
            attempt: 1,
            status: Status::Acknowledged,
        },
        settled: Some(Stamp {
            redrive: 0,
            attempt: 1,
            status: Status::Stored,
        }),
        first_delivered_at: Some(EPOCH_MS + 20),
        acked_at: Some(EPOCH_MS + 70),
    };
    assert_eq!(store.heads(&tenant, &[facts::id(1)]).await.unwrap(), [Some(head)]);
    assert_eq!(
        (known.first_delivered_at, known.acked_at),
        (head.first_delivered_at, head.acked_at)
    );
    let delivered = known.timeline.iter().filter(|e| e.status == Status::Delivered);
    let delivered: Vec<_> = delivered
        .map(|e| {
            (
                e.redrive,
                e.attempt,
                e.at - EPOCH_MS,
                e.node.as_deref(),
                e.sessions,
            )
        })
        .collect();
    let expected = [
        (0, 1, 20, Some("f0"), Some(7)),
        (0, 1, 25, Some("f1"), None),
        (0, 2, 60, Some("f0"), Some(1)),
        (1, 1, 90, Some("f0"), Some(9)),
    ];
    assert_eq!(delivered, expected);
}

/// The `n`th notification with a collapse key, accepted at its own moment.
fn collapsing(tenant: &TenantId, n: u64, key: &str, channel: &str) -> NewNotification {
    let mut envelope = facts::envelope(tenant, n, channel);
    envelope.collapse_key = Some(key.parse().unwrap());
    facts::sealed(envelope, 1, EPOCH_MS + n, "r")
}

async fn latest(
    subject: &Subject,
    tenant: &TenantId,
    keys: &[(Stream, CollapseKey)],
) -> Vec<Option<NotificationId>> {
    let answer = subject.store.latest(tenant, keys).await.unwrap();
    assert_eq!(subject.other.latest(tenant, keys).await.unwrap(), answer);
    answer
}

pub async fn the_newest_of_a_collapse_key_is_the_latest_in_any_order_of_arrival(subject: &Subject) {
    let keys: [CollapseKey; 2] = ["k".parse().unwrap(), "l".parse().unwrap()];
    for seed in 0..8 {
        let mut dice = Dice(3_000 * subject.run + seed);
        let tenant = subject.tenant(&format!("late{seed}"));
        // Two share a moment, then their ids decide.
        let mut told: Vec<_> = (0..10 + dice.roll(20))
            .filter(|n| n % 5 != 4)
            .map(|n| {
                let key = keys[dice.roll(2) as usize].as_str();
                (
                    n,
                    collapsing(&tenant, n, key, ["alerts", "news"][dice.roll(2) as usize]),
                )
            })
            .collect();
        let asked: Vec<_> = ["alerts", "news"]
            .iter()
            .flat_map(|channel| keys.iter().map(|key| (*channel, key.clone())))
            .map(|(channel, key)| (Stream::Channel(channel.parse().unwrap()), key))
            .collect();
        let of = |stream: &Stream, key: &CollapseKey| {
            let of_key = told
                .iter()
                .filter(|(_, new)| new.stream == *stream && new.envelope.collapse_key.as_ref() == Some(key));
            of_key.map(|(n, _)| *n).max().map(facts::id)
        };
        let expected: Vec<_> = asked.iter().map(|(stream, key)| of(stream, key)).collect();
        told.extend_from_within(..told.len() / 3);
        for at in (1..told.len()).rev() {
            told.swap(at, dice.roll(at as u64 + 1) as usize);
        }
        for (_, new) in &told {
            subject.store.persist(std::slice::from_ref(new)).await.unwrap();
        }
        assert_eq!(latest(subject, &tenant, &asked).await, expected, "seed {seed}");
        let stranger = subject.tenant(&format!("other{seed}"));
        assert_eq!(latest(subject, &stranger, &asked).await, [None; 4]);
    }
}

pub async fn a_latest_ends_with_its_time(subject: &Subject) {
    let tenant = subject.tenant("a");
    let asked = [(Stream::Channel("alerts".parse().unwrap()), "k".parse().unwrap())];
    subject
        .store
        .persist(&[collapsing(&tenant, 0, "k", "alerts")])
        .await
        .unwrap();
    subject
        .clock
        .advance(subject.retention - Duration::from_millis(1));
    assert_eq!(latest(subject, &tenant, &asked).await, [Some(facts::id(0))]);
    subject.clock.advance(Duration::from_millis(1));
    assert_eq!(latest(subject, &tenant, &asked).await, [None]);
}
