//! Promises about idempotency keys.

use std::{sync::Arc, time::Duration};

use carillon_schemas::IdempotencyKey;

use super::{Subject, facts};
use crate::{Claim, ClaimOutcome};

pub async fn a_key_claimed_by_many_at_once_is_new_to_exactly_one(subject: &Subject) {
    let tenant = subject.tenant("a");
    let at_ms = subject.clock.unix_ms();
    for round in 0..8 {
        let key: IdempotencyKey = format!("key-{round}").parse().unwrap();
        let mut race = tokio::task::JoinSet::new();
        for n in 0..32u8 {
            let (store, tenant, key) = (Arc::clone(&subject.store), tenant.clone(), key.clone());
            race.spawn(async move {
                let claim = Claim {
                    id: facts::id(n.into()),
                    body_hash: [n; 32],
                    at_ms: at_ms + u64::from(n),
                };
                (claim, store.claim(&tenant, &key, &claim).await.unwrap())
            });
        }
        let outcomes = race.join_all().await;
        let mut new = outcomes
            .iter()
            .filter(|(_, outcome)| *outcome == ClaimOutcome::New);
        let (winner, _) = new.next().expect("one claim is new");
        assert!(new.next().is_none(), "two claims of one key are new");
        let others = outcomes.iter().filter(|(claim, _)| claim != winner);
        for (_, outcome) in others {
            assert_eq!(*outcome, ClaimOutcome::Existing(*winner));
        }
    }
}

pub async fn a_key_is_free_again_after_a_day(subject: &Subject) {
    let tenant = subject.tenant("a");
    let key = "key".parse().unwrap();
    let claim = async |n: u64| {
        let claim = Claim {
            id: facts::id(n),
            body_hash: [n as u8; 32],
            at_ms: subject.clock.unix_ms(),
        };
        (claim, subject.store.claim(&tenant, &key, &claim).await.unwrap())
    };
    let (first, outcome) = claim(1).await;
    assert_eq!(outcome, ClaimOutcome::New);
    subject.clock.advance(Duration::from_secs(24 * 3600 - 1));
    assert_eq!(claim(2).await.1, ClaimOutcome::Existing(first));
    subject.clock.advance(Duration::from_secs(1));
    let (third, outcome) = claim(3).await;
    assert_eq!(outcome, ClaimOutcome::New);
    assert_eq!(claim(4).await.1, ClaimOutcome::Existing(third));
}
