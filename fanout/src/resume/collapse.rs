//! Collapse on catch-up: of notifications of one stream with one key, only the newest that is known counts.
//!
//! In: keyed deliveries in offset order, and the store's latest of each key. Out: the offsets that are left out.
//! Always: the newest is never left out, neither the one that the store knows nor the last one of those at hand;
//! without the store, those at hand decide.

use std::collections::{HashMap, HashSet};

use carillon_schemas::{CollapseKey, NotificationId};
use tracing::warn;

use super::CatchUp;
use crate::history::{Page, Past};

/// The store's answer: keys it does not know are missing.
pub(crate) type Latest = HashMap<CollapseKey, NotificationId>;

/// A delivery with a key: its offset, its key, its notification.
type Keyed<'a> = (i64, &'a CollapseKey, NotificationId);

impl CatchUp<'_> {
    /// What of the stream's deliveries in a page is superseded. The store is asked once per page, however many
    /// sessions share it, and not again after it failed.
    pub(super) async fn superseded_in(&mut self, page: &Page) -> HashSet<i64> {
        let ours = page.entries.iter().filter(|entry| self.is_ours(entry));
        let keyed: Vec<_> = keyed(ours.map(|entry| (entry.offset, &entry.past))).collect();
        if keyed.is_empty() {
            return HashSet::new();
        }
        let cell = page.latest_of(&self.request.tenant, &self.request.stream);
        let answer = cell.get_or_try_init(|| self.latest(&keyed)).await;
        let none = Latest::new();
        let latest = answer.as_ref().map_or(&none, |latest| *latest);
        self.asks_store &= answer.is_ok();
        superseded(&keyed, latest)
    }

    /// What of these deliveries is superseded.
    pub(super) async fn superseded_among(
        &mut self,
        found: impl Iterator<Item = (i64, &Past)>,
    ) -> HashSet<i64> {
        let keyed: Vec<_> = keyed(found).collect();
        if keyed.is_empty() {
            return HashSet::new();
        }
        let answer = self.latest(&keyed).await;
        self.asks_store &= answer.is_ok();
        superseded(&keyed, &answer.unwrap_or_default())
    }

    async fn latest(&self, keyed: &[Keyed<'_>]) -> Result<Latest, Unknown> {
        if !self.asks_store {
            return Err(Unknown);
        }
        let keys: HashSet<&CollapseKey> = keyed.iter().map(|(_, key, _)| *key).collect();
        let stream = &self.request.stream;
        let asked: Vec<_> = keys
            .into_iter()
            .map(|key| (stream.clone(), key.clone()))
            .collect();
        let answer = self.node.store.latest(&self.request.tenant, &asked);
        let reason = match tokio::time::timeout(self.node.config.resume_deadline, answer).await {
            Ok(Ok(ids)) => {
                let known = asked.into_iter().zip(ids);
                return Ok(known.filter_map(|((_, key), id)| Some((key, id?))).collect());
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        warn!(
            reason,
            "the latest of a collapse key cannot be read from the store"
        );
        Err(Unknown)
    }
}

/// The store did not say.
struct Unknown;

fn keyed<'a>(found: impl Iterator<Item = (i64, &'a Past)>) -> impl Iterator<Item = Keyed<'a>> {
    found.filter_map(|(offset, past)| Some((offset, past.collapse_key.as_ref()?, past.tally.id())))
}

fn superseded(keyed: &[Keyed<'_>], latest: &Latest) -> HashSet<i64> {
    let mut last: HashMap<&CollapseKey, i64> = HashMap::new();
    // A latest one that is not at hand comes later, or was handed out before.
    let mut at_hand: HashSet<NotificationId> = HashSet::new();
    for (offset, key, id) in keyed {
        last.insert(key, *offset);
        at_hand.insert(*id);
    }
    let gone = keyed.iter().filter(|(offset, key, id)| {
        let newest = latest.get(*key);
        let is_last = last.get(key) == Some(offset);
        let stands = newest == Some(id) || (is_last && newest.is_none_or(|n| at_hand.contains(n)));
        !stands
    });
    gone.map(|(offset, ..)| *offset).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_out(at_hand: &[(&str, u8)], latest: &[(&str, u8)]) -> Vec<i64> {
        let id = |n: u8| NotificationId::from_bytes([n; 16]);
        let keys: Vec<CollapseKey> = at_hand.iter().map(|(key, _)| key.parse().unwrap()).collect();
        let keyed = (0..).zip(at_hand).zip(&keys);
        let keyed: Vec<Keyed<'_>> = keyed.map(|((at, (_, n)), key)| (at, key, id(*n))).collect();
        let latest = latest.iter().map(|(key, n)| (key.parse().unwrap(), id(*n)));
        let mut gone: Vec<i64> = superseded(&keyed, &latest.collect()).into_iter().collect();
        gone.sort_unstable();
        gone
    }

    #[test]
    fn of_one_key_only_the_newest_at_hand_stands_when_the_store_does_not_say() {
        assert_eq!(left_out(&[("k", 1), ("j", 2), ("k", 3)], &[]), [0]);
    }

    #[test]
    fn one_that_the_store_knows_a_newer_one_of_is_left_out() {
        let at_hand = [("k", 1), ("j", 2), ("k", 3)];
        assert_eq!(left_out(&at_hand, &[("k", 9), ("j", 2)]), [0, 2]);
        assert_eq!(left_out(&at_hand, &[("k", 3), ("j", 8)]), [0, 1]);
    }

    #[test]
    fn the_stores_latest_stands_beside_a_later_one_that_may_be_newer() {
        assert_eq!(left_out(&[("k", 1), ("k", 2), ("k", 3)], &[("k", 2)]), [0]);
    }

    #[test]
    fn a_deliberate_repeat_of_the_latest_stands() {
        assert_eq!(left_out(&[("k", 1), ("k", 2), ("k", 2)], &[("k", 2)]), [0]);
    }
}
