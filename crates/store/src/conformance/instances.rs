//! Promises about several instances over one database, about repeats, and about calls without an answer.

use std::{future::Future, sync::Arc, time::Duration};

use carillon_schemas::{IdempotencyKey, NotificationId};

use super::{
    Subject,
    facts::{self, Dice, EPOCH_MS, Fact},
    model::Model,
};
use crate::{Claim, ClaimOutcome, NotificationStore};

/// How far the clocks of two writers are apart: over more than one midnight.
const SKEW_MS: u64 = 30 * 3_600_000;

fn ids() -> Vec<NotificationId> {
    (0..8).map(facts::id).collect()
}

/// Facts whose writers' clocks disagree.
fn skewed(fact: Fact) -> Fact {
    let late = |node: &str, at_ms: &mut u64| {
        if node == "router-1" {
            *at_ms += SKEW_MS;
        }
    };
    let mut fact = fact;
    match &mut fact {
        Fact::Persist(new) => late(&new.node, &mut new.at_ms),
        Fact::Dispatched(fact) => late(&fact.node, &mut fact.at_ms),
        Fact::Dead(fact) => late(&fact.node, &mut fact.row.at),
        Fact::Note(fact) => late(&fact.node, &mut fact.at_ms),
    }
    fact
}

pub async fn what_one_instance_wrote_the_other_reads(subject: &Subject) {
    let tenants = [subject.tenant("a")];
    let mut dice = Dice(subject.run);
    let told: Vec<_> = (0..60).map(|_| facts::any_fact(&tenants, &mut dice)).collect();
    facts::tell(&*subject.store, &told).await.unwrap();
    Model::of(&told).compare(&*subject.other, &tenants, &ids()).await;
}

pub async fn writers_with_clocks_apart_give_one_state_in_any_order(subject: &Subject) {
    for seed in 0..12 {
        let mut dice = Dice(1_000 * subject.run + seed);
        let tenants = [subject.tenant(&format!("skewed{seed}"))];
        let mut told: Vec<_> = (0..dice.roll(60))
            .map(|_| skewed(facts::any_fact(&tenants, &mut dice)))
            .collect();
        let model = Model::of(&told);
        told.extend_from_within(..told.len() / 2);
        for at in (1..told.len()).rev() {
            told.swap(at, dice.roll(at as u64 + 1) as usize);
        }
        // Each is told by one of the two instances, both at the same time.
        let (one, two) = told.split_at(told.len() / 2);
        let (one, two) = tokio::join!(
            facts::tell(&*subject.store, one),
            facts::tell(&*subject.other, two)
        );
        one.and(two)
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        model.compare(&*subject.store, &tenants, &ids()).await;
        model.compare(&*subject.other, &tenants, &ids()).await;
    }
}

pub async fn a_batch_told_again_whole_changes_nothing(subject: &Subject) {
    let tenants = [subject.tenant("a"), subject.tenant("b")];
    let mut dice = Dice(subject.run);
    let told: Vec<_> = (0..80).map(|_| facts::any_fact(&tenants, &mut dice)).collect();
    let model = Model::of(&told);
    for store in [&subject.store, &subject.other, &subject.store] {
        facts::tell(&**store, &told).await.unwrap();
        model.compare(&**store, &tenants, &ids()).await;
    }
}

/// Polls a future so often, then drops it. Says whether it had ended.
async fn cancelled(call: impl Future, polls: u64) -> bool {
    let mut call = std::pin::pin!(call);
    let mut left = polls;
    std::future::poll_fn(|context| {
        let ended = call.as_mut().poll(context).is_ready();
        left = left.saturating_sub(1);
        if ended || left == 0 {
            return std::task::Poll::Ready(ended);
        }
        std::task::Poll::Pending
    })
    .await
}

pub async fn a_call_without_an_answer_may_be_told_again(subject: &Subject) {
    let mut unanswered = 0;
    for seed in 0..12 {
        let mut dice = Dice(2_000 * subject.run + seed);
        let tenants = [subject.tenant(&format!("cut{seed}"))];
        let told: Vec<_> = (0..40)
            .map(|_| skewed(facts::any_fact(&tenants, &mut dice)))
            .collect();
        for store in [&subject.store, &subject.other] {
            let ended = cancelled(facts::tell(&**store, &told), 1 + dice.roll(12)).await;
            unanswered += u32::from(!ended);
        }
        facts::tell(&*subject.store, &told).await.unwrap();
        let model = Model::of(&told);
        model.compare(&*subject.store, &tenants, &ids()).await;
        model.compare(&*subject.other, &tenants, &ids()).await;
    }
    assert!(unanswered > 0, "no call was cut: this test shows nothing");
}

fn claim_of(n: u8, at_ms: u64) -> Claim {
    Claim {
        id: facts::id(n.into()),
        body_hash: [n; 32],
        at_ms,
    }
}

pub async fn a_key_claimed_through_two_instances_is_new_to_exactly_one(subject: &Subject) {
    let tenant = subject.tenant("a");
    for round in 0..6 {
        let key: IdempotencyKey = format!("key-{round}").parse().unwrap();
        let mut race = tokio::task::JoinSet::new();
        for n in 0..16u8 {
            let store: &Arc<dyn NotificationStore> = [&subject.store, &subject.other][usize::from(n % 2)];
            let (store, tenant, key) = (Arc::clone(store), tenant.clone(), key.clone());
            let claim = claim_of(n, EPOCH_MS + u64::from(n));
            race.spawn(async move { (claim, store.claim(&tenant, &key, &claim).await.unwrap()) });
        }
        let outcomes = race.join_all().await;
        let new: Vec<_> = outcomes
            .iter()
            .filter(|(_, outcome)| *outcome == ClaimOutcome::New)
            .collect();
        assert_eq!(new.len(), 1, "exactly one is new");
        let winner = new[0].0;
        for (claim, outcome) in &outcomes {
            assert!(*claim == winner || *outcome == ClaimOutcome::Existing(winner));
        }
    }
}

pub async fn a_claim_told_again_by_its_holder_is_still_its_own(subject: &Subject) {
    let tenant = subject.tenant("a");
    let key: IdempotencyKey = "key".parse().unwrap();
    let (own, others) = (claim_of(1, EPOCH_MS), claim_of(2, EPOCH_MS + 1));
    // The first call's answer may be lost on its way.
    cancelled(subject.store.claim(&tenant, &key, &own), 2).await;
    for store in [&subject.store, &subject.other] {
        assert_eq!(store.claim(&tenant, &key, &own).await.unwrap(), ClaimOutcome::New);
        let outcome = store.claim(&tenant, &key, &others).await.unwrap();
        assert_eq!(outcome, ClaimOutcome::Existing(own));
    }
    subject.clock.advance(Duration::from_secs(24 * 3600));
    let later = claim_of(3, subject.clock.unix_ms());
    assert_eq!(
        subject.other.claim(&tenant, &key, &later).await.unwrap(),
        ClaimOutcome::New
    );
    let outcome = subject
        .store
        .claim(&tenant, &key, &claim_of(4, later.at_ms))
        .await;
    assert_eq!(outcome.unwrap(), ClaimOutcome::Existing(later));
}
