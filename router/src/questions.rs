//! Questions: what the store knows of records that may have been handled before.
//!
//! In: a batch on its way. Out: the same batch, less what needs no second handling. Always: a batch without such
//! records asks the store nothing; one with them asks once per tenant.

mod on_the_way;

use std::{collections::BTreeMap, sync::Arc};

use carillon_chassis::clock::Clock;
use carillon_schemas::{CollapseKey, NotificationId, Stream, TenantId};
use carillon_store::{Head, NotificationStore, StoreError};

use crate::{
    hold::{Holds, Site},
    metrics::Meters,
    sources::Source,
    verdict::{Outcome, Verdict, verdict},
    work::{End, Way, Work},
};
pub(crate) use on_the_way::OnTheWay;

/// The room.
pub(crate) struct Questions {
    pub(crate) store: Arc<dyn NotificationStore>,
    pub(crate) on_the_way: Arc<OnTheWay>,
    pub(crate) holds: Arc<Holds>,
    pub(crate) meters: Meters,
    pub(crate) clock: Clock,
}

/// What is asked for one tenant, with the places of those who ask.
type Asked<T> = BTreeMap<TenantId, Vec<(usize, T)>>;

impl Questions {
    /// Ends those that need no second handling.
    pub(crate) async fn drop_handled(&self, work: &mut Work) {
        let first_here = self.on_the_way.enter(work);
        let now_ms = self.clock.unix_ms();
        let mut done = Vec::new();
        for (tenant, asked) in heads_of(work) {
            let ids: Vec<_> = asked.iter().map(|(_, id)| *id).collect();
            let heads = self.heads(&tenant, &ids).await;
            for ((at, _), head) in asked.into_iter().zip(heads) {
                let way = &mut work.ways[at];
                way.head = head;
                let settled = head.and_then(|head| head.settled);
                if let (Source::Schedule(_), Some(stamp)) = (&way.source, settled) {
                    way.travel = way.travel.waited(stamp);
                    work.news[at].attempt = way.travel.attempt;
                    work.news[at].redrive = way.travel.redrive;
                }
                let before = verdict(Outcome::Before(head), &way.travel, now_ms);
                if !first_here[at] || before == Verdict::Done {
                    done.push((at, End::Done));
                }
            }
        }
        done.sort_by_key(|(at, _)| *at);
        self.meters.republished.inc_by(done.len() as u64);
        work.end(done);
    }

    /// The newest of each notification's stream and collapse key, where it has a key.
    pub(crate) async fn latest(&self, work: &Work) -> Vec<Option<NotificationId>> {
        let mut latest = vec![None; work.news.len()];
        for (tenant, asked) in keys_of(work) {
            let keys: Vec<_> = asked.iter().map(|(_, key)| key.clone()).collect();
            let ask = || self.store.latest(&tenant, &keys);
            // Not known is safe: at worst an older one is delivered, too.
            let known = self.ask(keys.len(), ask).await;
            for ((at, _), id) in asked.into_iter().zip(known) {
                latest[at] = id;
            }
        }
        latest
    }

    // Not known is safe: at worst it is delivered twice under one id.
    async fn heads(&self, tenant: &TenantId, ids: &[NotificationId]) -> Vec<Option<Head>> {
        self.ask(ids.len(), || self.store.heads(tenant, ids)).await
    }

    /// Asks until the store answers. A question that it refuses has no answers.
    async fn ask<T, F>(&self, count: usize, ask: impl Fn() -> F) -> Vec<Option<T>>
    where
        F: Future<Output = Result<Vec<Option<T>>, StoreError>>,
    {
        let mut attempts = self.holds.attempts(Site::Questions);
        loop {
            match ask().await {
                Ok(known) => return known,
                Err(StoreError::Refused(_)) => return (0..count).map(|_| None).collect(),
                Err(error) => {
                    attempts
                        .wait(crate::hold::Dependency::Store, &error.to_string())
                        .await
                }
            }
        }
    }
}

fn may_be_known(way: &Way) -> bool {
    let travel = &way.travel;
    travel.republished
        || travel.check
        || travel.redrive > 0
        || travel.attempt > 1
        || matches!(way.source, Source::Schedule(_))
}

fn heads_of(work: &Work) -> Asked<NotificationId> {
    let mut asked = Asked::new();
    for (at, (_, new)) in work.iter().enumerate().filter(|(_, (way, _))| may_be_known(way)) {
        let of_tenant: &mut Vec<_> = asked.entry(new.envelope.tenant_id.clone()).or_default();
        of_tenant.push((at, new.envelope.notification_id));
    }
    asked
}

fn keys_of(work: &Work) -> Asked<(Stream, CollapseKey)> {
    let mut asked = Asked::new();
    for (at, new) in work.news.iter().enumerate() {
        if let Some(key) = &new.envelope.collapse_key {
            let of_tenant: &mut Vec<_> = asked.entry(new.envelope.tenant_id.clone()).or_default();
            of_tenant.push((at, (new.stream.clone(), key.clone())));
        }
    }
    asked
}
