//! Promises about the wall between tenants.

use carillon_schemas::NotificationId;

use super::{
    Subject,
    facts::{self, Dice, EPOCH_MS, Fact},
    model::Model,
};
use crate::{Claim, ClaimOutcome, DeliveriesQuery};

/// Two tenants whose ids, channels, users, keys and cursors are all equal. What one reads is what it would
/// read without the other; and the texts of one never stand in an answer to the other.
pub async fn nothing_of_one_tenant_stands_in_an_answer_to_another(subject: &Subject) {
    // One name begins with the other: a key that is cut wrongly would mix them.
    let tenants = [
        subject.tenant("a"),
        subject.tenant("a").as_str().repeat(2).parse().unwrap(),
    ];
    let ids: Vec<NotificationId> = (0..8).map(facts::id).collect();
    let mut dice = Dice(subject.run);
    let mut told: Vec<_> = (0..200).map(|_| facts::any_fact(&tenants, &mut dice)).collect();
    for tenant in &tenants {
        told.extend((0..8).map(|n| Fact::Persist(facts::new(tenant, n, 1, EPOCH_MS, "r"))));
        told.extend((0..8).map(|n| Fact::Dispatched(facts::dispatched(tenant, n, 1, 1, EPOCH_MS, "r"))));
    }
    facts::tell(&*subject.store, &told).await.unwrap();
    Model::of(&told).compare(&*subject.store, &tenants, &ids).await;
    for tenant in &tenants {
        let own = format!("for {tenant} alone: ");
        for n in 0..8 {
            let known = subject
                .store
                .notification(tenant, facts::id(n))
                .await
                .unwrap()
                .unwrap();
            assert!(known.envelope.tenant_id == *tenant && known.envelope.content.starts_with(&own));
            for row in subject
                .store
                .recent(tenant, &facts::stream(n), 100, None)
                .await
                .unwrap()
            {
                assert!(row.envelope.tenant_id == *tenant && row.envelope.content.starts_with(&own));
            }
        }
        let query = DeliveriesQuery {
            limit: 500,
            ..DeliveriesQuery::default()
        };
        for row in subject.store.deliveries(tenant, &query).await.unwrap().rows {
            assert!(row.correlation_id.as_str().starts_with(&format!("of-{tenant}-")));
        }
        let claim = Claim {
            id: facts::id(1),
            body_hash: [1; 32],
            at_ms: EPOCH_MS,
        };
        let claimed = subject
            .store
            .claim(tenant, &"key".parse().unwrap(), &claim)
            .await
            .unwrap();
        assert_eq!(claimed, ClaimOutcome::New, "a key belongs to its tenant");
    }
    let stranger = subject.tenant("b");
    Model::default()
        .compare(&*subject.store, std::slice::from_ref(&stranger), &ids)
        .await;
    for n in 0..8 {
        assert!(
            subject
                .store
                .recent(&stranger, &facts::stream(n), 100, None)
                .await
                .unwrap()
                .is_empty()
        );
    }
}
