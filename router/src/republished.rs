//! What was published again: dropped when the first one was dispatched, or is on its way here.
//!
//! In: a batch on its way. Out: the same batch, less what needs no second dispatch. Always: a batch without
//! such records asks the store nothing; one with them asks once per tenant.

mod on_the_way;

use std::{collections::BTreeMap, sync::Arc};

use carillon_schemas::{NotificationId, TenantId, headers, status::Status};
use carillon_store::{Head, NotificationStore, StoreError};

use crate::{
    hold::{Holds, Site},
    metrics::Meters,
    verdict::{Outcome, Verdict, verdict},
    work::{End, Work},
};
pub(crate) use on_the_way::OnTheWay;

/// The room.
pub(crate) struct Republished {
    pub(crate) store: Arc<dyn NotificationStore>,
    pub(crate) on_the_way: Arc<OnTheWay>,
    pub(crate) holds: Arc<Holds>,
    pub(crate) meters: Meters,
}

impl Republished {
    /// Ends those that need no second dispatch.
    pub(crate) async fn drop_done(&self, work: &mut Work) {
        let first_here = self.on_the_way.enter(work);
        let mut done = Vec::new();
        for (tenant, asked) in questions(work) {
            let ids: Vec<_> = asked.iter().map(|(_, id)| *id).collect();
            let known = self.statuses(&tenant, &ids).await;
            let needless = asked.iter().zip(known).filter(|((at, _), status)| {
                !first_here[*at] || verdict(Outcome::Republished(*status)) == Verdict::Done
            });
            done.extend(needless.map(|((at, _), _)| (*at, End::Done)));
        }
        done.sort_by_key(|(at, _)| *at);
        self.meters.republished.inc_by(done.len() as u64);
        work.end(done, false);
    }

    async fn statuses(&self, tenant: &TenantId, ids: &[NotificationId]) -> Vec<Option<Status>> {
        let mut attempts = self.holds.attempts(Site::Republished);
        loop {
            match self.store.heads(tenant, ids).await {
                Ok(known) => {
                    let status = |head: Head| head.stamp.status;
                    return known.into_iter().map(|head| head.map(status)).collect();
                }
                // Not known is safe: at worst it is delivered twice under one id.
                Err(StoreError::Refused(_)) => return vec![None; ids.len()],
                Err(error) => {
                    if let Verdict::Hold(dependency, reason) = verdict(Outcome::Store(error)) {
                        attempts.wait(dependency, &reason).await;
                    }
                }
            }
        }
    }
}

/// Which notifications to ask for, by tenant, with their places in the batch.
fn questions(work: &Work) -> BTreeMap<TenantId, Vec<(usize, NotificationId)>> {
    let mut questions = BTreeMap::<_, Vec<_>>::new();
    for (at, (record, new)) in work.records.iter().zip(&work.news).enumerate() {
        if record
            .headers
            .iter()
            .any(|(name, _)| name == headers::REPUBLISHED)
        {
            let of_tenant = questions.entry(new.envelope.tenant_id.clone()).or_default();
            of_tenant.push((at, new.envelope.notification_id));
        }
    }
    questions
}
