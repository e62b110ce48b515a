//! The queue of jobs: whose turn it is.
//!
//! In: jobs of tenants, and their ends. Out: which may begin. Always: pure; of one tenant one runs at a time, in
//! the order in which they came; tenants take turns; what waits and what runs is bounded.

use std::collections::{HashMap, HashSet, VecDeque};

use carillon_schemas::TenantId;

/// Jobs that wait, by tenant.
pub(crate) struct Queue<T> {
    waiting: HashMap<TenantId, VecDeque<T>>,
    /// Tenants with a job that may begin, in turn.
    ready: VecDeque<TenantId>,
    running: HashSet<TenantId>,
    most_running: usize,
    most_waiting: usize,
}

impl<T> Queue<T> {
    pub(crate) fn new(most_running: usize, most_waiting: usize) -> Self {
        Self {
            waiting: HashMap::new(),
            ready: VecDeque::new(),
            running: HashSet::new(),
            most_running,
            most_waiting,
        }
    }

    /// A job came. Given back when too many of its tenant wait.
    pub(crate) fn offer(&mut self, tenant: &TenantId, job: T) -> Result<(), T> {
        let of_tenant = self.waiting.entry(tenant.clone()).or_default();
        if of_tenant.len() >= self.most_waiting {
            return Err(job);
        }
        of_tenant.push_back(job);
        if of_tenant.len() == 1 && !self.running.contains(tenant) {
            self.ready.push_back(tenant.clone());
        }
        Ok(())
    }

    /// The next job that may begin; it counts as running until [`Queue::ended`].
    pub(crate) fn begin(&mut self) -> Option<(TenantId, T)> {
        if self.running.len() >= self.most_running {
            return None;
        }
        let tenant = self.ready.pop_front()?;
        let of_tenant = self.waiting.get_mut(&tenant)?;
        let job = of_tenant.pop_front()?;
        if of_tenant.is_empty() {
            self.waiting.remove(&tenant);
        }
        self.running.insert(tenant.clone());
        Some((tenant, job))
    }

    /// A tenant's job ended.
    pub(crate) fn ended(&mut self, tenant: &TenantId) {
        if self.running.remove(tenant) && self.waiting.contains_key(tenant) {
            self.ready.push_back(tenant.clone());
        }
    }

    /// Takes out what waits and will not be begun here.
    pub(crate) fn take_if(&mut self, goes: impl Fn(&T) -> bool) -> Vec<T> {
        let mut gone = Vec::new();
        for of_tenant in self.waiting.values_mut() {
            let (goes, stays): (VecDeque<T>, VecDeque<T>) = of_tenant.drain(..).partition(&goes);
            gone.extend(goes);
            *of_tenant = stays;
        }
        self.waiting.retain(|_, of_tenant| !of_tenant.is_empty());
        self.ready.retain(|tenant| self.waiting.contains_key(tenant));
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tenant(n: u8) -> TenantId {
        format!("t{n}").parse().unwrap()
    }

    #[derive(Debug, Clone)]
    enum Step {
        Offer(u8),
        Begin,
        End(u8),
        Take(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0u8..5).prop_map(Step::Offer),
            4 => Just(Step::Begin),
            3 => (0u8..5).prop_map(Step::End),
            1 => (0u8..5).prop_map(Step::Take),
        ]
    }

    proptest! {
        #[test]
        fn each_job_begins_once_in_its_tenants_order_and_one_at_a_time(steps in prop::collection::vec(step(), 0..200)) {
            let mut queue = Queue::new(3, 4);
            let mut running: HashMap<u8, u32> = HashMap::new();
            let mut begun: HashMap<u8, Vec<u32>> = HashMap::new();
            let mut open = HashSet::new();
            for (n, step) in steps.into_iter().enumerate() {
                let n = n as u32;
                match step {
                    Step::Offer(t) => if queue.offer(&tenant(t), (t, n)).is_ok() { open.insert(n); },
                    Step::Begin => if let Some((of, (t, n))) = queue.begin() {
                        prop_assert_eq!(of, tenant(t));
                        prop_assert!(running.insert(t, n).is_none());
                        prop_assert!(running.len() <= 3);
                        prop_assert!(open.remove(&n));
                        begun.entry(t).or_default().push(n);
                    },
                    Step::End(t) => if running.remove(&t).is_some() { queue.ended(&tenant(t)); },
                    Step::Take(t) => for (_, n) in queue.take_if(|job| job.0 == t) { prop_assert!(open.remove(&n)); },
                }
            }
            for (t, _) in std::mem::take(&mut running) { queue.ended(&tenant(t)); }
            while let Some((of, (t, n))) = queue.begin() {
                prop_assert!(open.remove(&n));
                begun.entry(t).or_default().push(n);
                queue.ended(&of);
            }
            prop_assert!(open.is_empty(), "never begun: {:?}", open);
            for order in begun.values() { prop_assert!(order.is_sorted()); }
        }
    }

    #[test]
    fn tenants_take_turns_and_one_too_many_is_given_back() {
        let mut queue = Queue::new(1, 2);
        assert_eq!(queue.offer(&tenant(1), "a"), Ok(()));
        assert_eq!(queue.offer(&tenant(1), "b"), Ok(()));
        assert_eq!(queue.offer(&tenant(1), "c"), Err("c"));
        assert_eq!(queue.offer(&tenant(2), "d"), Ok(()));
        let mut order = Vec::new();
        while let Some((of, job)) = queue.begin() {
            assert!(queue.begin().is_none());
            order.push(job);
            queue.ended(&of);
        }
        assert_eq!(order, ["a", "d", "b"]);
    }
}
