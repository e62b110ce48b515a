//! Promises about the order and the number of writes, and about what a payload is.

use super::{
    Subject,
    facts::{self, Dice, EPOCH_MS, Fact},
    model::Model,
};
use carillon_schemas::status::Status;

pub async fn facts_in_any_order_and_number_give_one_state(subject: &Subject) {
    let ids: Vec<_> = (0..8).map(facts::id).collect();
    for seed in 0..24 {
        let mut dice = Dice(seed);
        let tenants = ["a", "b"].map(|name| subject.tenant(&format!("{name}{seed}")));
        let mut told: Vec<_> = (0..dice.roll(60))
            .map(|_| facts::any_fact(&tenants, &mut dice))
            .collect();
        let model = Model::of(&told);
        // Some are told twice, and all in another order than they were made in.
        told.extend_from_within(..told.len() / 3);
        for at in (1..told.len()).rev() {
            told.swap(at, dice.roll(at as u64 + 1) as usize);
        }
        facts::tell(&*subject.store, &told)
            .await
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        model.compare(&*subject.store, &tenants, &ids).await;
    }
}

pub async fn a_state_is_known_before_its_payload(subject: &Subject) {
    let tenant = subject.tenant("a");
    let fact = facts::dispatched(&tenant, 1, 1, 1, EPOCH_MS, "r");
    subject.store.dispatched(&[fact]).await.unwrap();
    let states = subject
        .store
        .heads(&tenant, &[facts::id(2), facts::id(1)])
        .await
        .unwrap();
    let states: Vec<_> = states.iter().map(|head| head.map(|head| head.stamp)).collect();
    assert_eq!(states, [None, Some(facts::stamp(Status::Dispatched))]);
    assert!(
        subject
            .store
            .notification(&tenant, facts::id(1))
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        subject
            .store
            .recent(&tenant, &facts::stream(1), 5, None)
            .await
            .unwrap()
            .is_empty()
    );
    let late = facts::new(&tenant, 1, 1, EPOCH_MS + 5, "r");
    subject.store.persist(&[late]).await.unwrap();
    let known = subject
        .store
        .notification(&tenant, facts::id(1))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(known.status, Status::Dispatched);
    assert_eq!(
        subject
            .store
            .recent(&tenant, &facts::stream(1), 5, None)
            .await
            .unwrap()
            .len(),
        1
    );
}

pub async fn the_first_payload_of_an_id_stays(subject: &Subject) {
    let tenant = subject.tenant("a");
    let first = facts::new(&tenant, 1, 1, EPOCH_MS, "r");
    let mut again = facts::envelope(&tenant, 1, "elsewhere");
    again.accepted_at += 5_000;
    let again = facts::sealed(again, 1, EPOCH_MS + 5_000, "r");
    subject
        .store
        .persist(&[first.clone(), again.clone()])
        .await
        .unwrap();
    subject.store.persist(&[again]).await.unwrap();
    let known = subject
        .store
        .notification(&tenant, facts::id(1))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(known.bytes, first.bytes);
    let facts = [Fact::Persist(first)];
    Model::of(&facts)
        .compare(&*subject.store, &[tenant], &[facts::id(1)])
        .await;
}

pub async fn bytes_come_back_as_they_were_sealed(subject: &Subject) {
    let tenant = subject.tenant("a");
    let mut envelope = facts::envelope(&tenant, 1, "alerts");
    envelope.content = "\u{0}\u{1f514}\\".repeat(8_000);
    let mut new = facts::sealed(envelope, 1, EPOCH_MS, "r");
    // A field that this version does not know, and white space: kept as they are.
    let text = String::from_utf8(new.bytes.to_vec()).unwrap();
    new.bytes = text.replacen('{', "{ \"later\":[1.0],", 1).into();
    subject.store.persist(&[new.clone()]).await.unwrap();
    let known = subject
        .store
        .notification(&tenant, facts::id(1))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(known.bytes, new.bytes);
    assert_eq!(known.envelope.content, new.envelope.content);
}

pub async fn a_batch_of_every_kind_may_be_empty(subject: &Subject) {
    let (store, tenant) = (&subject.store, subject.tenant("a"));
    store.persist(&[]).await.unwrap();
    store.dispatched(&[]).await.unwrap();
    store.note(&[]).await.unwrap();
    store.dead(&[]).await.unwrap();
    store.mark_dead_letters(&tenant, &[]).await.unwrap();
    store.schedule(&[]).await.unwrap();
    store.unschedule(&[]).await.unwrap();
    store.audit(&[]).await.unwrap();
    assert!(store.heads(&tenant, &[]).await.unwrap().is_empty());
    assert!(store.latest(&tenant, &[]).await.unwrap().is_empty());
    store.ping().await.unwrap();
}
