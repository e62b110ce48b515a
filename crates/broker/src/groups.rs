//! Consumer groups: who reads which partitions, and how far they are (the classic protocol).
//!
//! In: joins, syncs, heartbeats, commits. Out: generations and offsets. Always: offsets are durable, membership
//! is not: after a restart members find that they are unknown and join again.

mod entry;
mod group;
mod journal;
mod member;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep_until},
};

pub(crate) use entry::Committed;
pub(crate) use group::{GroupError, Joined, State};
pub(crate) use journal::Journal;
pub(crate) use member::Joiner;

use crate::{error::BrokerError, options::Options, stats::Stats, topics::Environment};
use group::Group;

/// How long the sweeper sleeps when no group has members.
const IDLE: Duration = Duration::from_secs(3600);

/// All groups.
pub(crate) struct Groups {
    /// Bounded by `limit`: joining one more is refused.
    groups: Mutex<HashMap<String, Group>>,
    pub(crate) offsets: Arc<Journal>,
    limit: usize,
    join_delay: Duration,
    /// Counts groups, from the time of the start: member ids are unique over restarts.
    lives: AtomicU64,
    /// Woken when a deadline may have come nearer.
    changed: Notify,
    stats: Arc<Stats>,
}

/// What a join leads to.
pub(crate) enum Joining {
    /// The group answers when all have joined.
    Wait(oneshot::Receiver<Result<Joined, GroupError>>),
    /// The answer is here, with the member id it is for.
    Now(String, Result<Joined, GroupError>),
}

/// What a sync leads to.
pub(crate) enum Syncing {
    /// The group answers when the leader has.
    Wait(oneshot::Receiver<Result<Assigned, GroupError>>),
    /// The answer is here.
    Now(Result<Assigned, GroupError>),
}

/// A member's share, as its leader encoded it.
pub(crate) struct Assigned {
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) assignment: bytes::Bytes,
}

/// A group as administrators see it.
pub(crate) struct Description {
    pub(crate) state: State,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) members: Vec<member::Description>,
}

impl Groups {
    /// Reads the offsets back.
    pub(crate) fn open(options: &Options, environment: Arc<Environment>) -> Result<Arc<Self>, BrokerError> {
        let stats = Arc::clone(&environment.stats);
        let lives = AtomicU64::new(environment.clock.unix_ms());
        let offsets = Journal::open(options.data_dir.join("offsets"), environment)?;
        Ok(Arc::new(Self {
            groups: Mutex::default(),
            offsets,
            limit: options.limits.groups,
            join_delay: options.group_join_delay,
            lives,
            changed: Notify::new(),
            stats,
        }))
    }

    /// Lets a member in, or back in.
    pub(crate) fn join(&self, group: &str, joiner: Joiner) -> Joining {
        let mut groups = self.groups.lock();
        if group.is_empty() {
            return Joining::Now(joiner.id, Err(GroupError::InvalidGroup));
        }
        let known = groups.contains_key(group);
        if !known && groups.len() >= self.limit {
            return Joining::Now(joiner.id, Err(GroupError::TooManyGroups));
        }
        let entry = groups.entry(group.to_owned()).or_insert_with(|| {
            let life = self.lives.fetch_add(1, Ordering::Relaxed);
            Group::new(self.join_delay, format!("{life:x}"))
        });
        let joining = entry.join(joiner, Instant::now());
        self.count(entry);
        drop(groups);
        self.changed.notify_one();
        joining
    }

    /// Takes the leader's assignment, or waits for it.
    pub(crate) fn sync(
        &self,
        group: &str,
        member: &str,
        generation: i32,
        assignments: HashMap<String, bytes::Bytes>,
    ) -> Syncing {
        match self.groups.lock().get_mut(group) {
            None => Syncing::Now(Err(GroupError::UnknownMember)),
            Some(found) => found.sync(member, generation, assignments, Instant::now()),
        }
    }

    /// Notes that a member lives.
    pub(crate) fn heartbeat(&self, group: &str, member: &str, generation: i32) -> Result<(), GroupError> {
        let mut groups = self.groups.lock();
        let found = groups.get_mut(group).ok_or(GroupError::UnknownMember)?;
        found.heartbeat(member, generation, Instant::now())
    }

    /// Lets a member go, by its id or its instance's.
    pub(crate) fn leave(&self, group: &str, member: &str, instance: Option<&str>) -> Result<(), GroupError> {
        let mut groups = self.groups.lock();
        let found = groups.get_mut(group).ok_or(GroupError::UnknownMember)?;
        found.leave(member, instance, Instant::now())?;
        self.count(found);
        drop(groups);
        self.changed.notify_one();
        Ok(())
    }

    /// Whether a commit of this member may be taken. A group without members takes commits of outsiders.
    pub(crate) fn may_commit(&self, group: &str, member: &str, generation: i32) -> Result<(), GroupError> {
        let mut groups = self.groups.lock();
        match groups.get_mut(group) {
            Some(found) => found.may_commit(member, generation, Instant::now()),
            None if generation < 0 && !group.is_empty() => Ok(()),
            None if group.is_empty() => Err(GroupError::InvalidGroup),
            None => Err(GroupError::IllegalGeneration),
        }
    }

    /// All groups that have members or offsets.
    pub(crate) fn list(&self) -> Vec<(String, State, String)> {
        let groups = self.groups.lock();
        let mut listed: Vec<_> = groups
            .iter()
            .map(|(name, g)| (name.clone(), g.state(), g.protocol_type().to_owned()))
            .collect();
        let offline = self
            .offsets
            .groups()
            .into_iter()
            .filter(|name| !groups.contains_key(name));
        listed.extend(offline.map(|name| (name, State::Empty, "consumer".to_owned())));
        listed
    }

    /// One group; `None` when it has neither members nor offsets.
    pub(crate) fn describe(&self, group: &str) -> Option<Description> {
        if let Some(found) = self.groups.lock().get(group) {
            return Some(found.describe());
        }
        self.offsets.knows(group).then(|| Description {
            state: State::Empty,
            protocol_type: "consumer".to_owned(),
            protocol: String::new(),
            members: Vec::new(),
        })
    }

    /// Forgets a group without members. Gives what to wait on until that is on disk.
    pub(crate) fn delete(&self, group: &str) -> Result<Option<oneshot::Receiver<bool>>, GroupError> {
        let mut groups = self.groups.lock();
        match groups.get(group) {
            Some(found) if !found.is_empty() => return Err(GroupError::NotEmpty),
            None if !self.offsets.knows(group) => return Err(GroupError::NotFound),
            _ => {}
        }
        groups.remove(group);
        self.offsets.forget_group(group).map_err(|_| GroupError::Storage)
    }

    /// Forgets the offsets of a topic that was deleted.
    pub(crate) fn forget_topic(&self, topic: &str) {
        self.offsets.forget_topic(topic);
    }

    fn count(&self, group: &mut Group) {
        crate::stats::add(&self.stats.rebalances, group.take_rebalances());
    }

    /// Ends waits whose time is over and drops members that went silent, for ever.
    pub(crate) async fn expire(self: Arc<Self>) {
        loop {
            let next = self.sweep(Instant::now());
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// Handles what is due; gives the next deadline.
    fn sweep(&self, now: Instant) -> Instant {
        let mut next = now + IDLE;
        self.groups.lock().retain(|_, group| {
            if let Some(deadline) = group.sweep(now) {
                next = next.min(deadline);
            }
            self.count(group);
            !group.is_forgettable()
        });
        // A deadline in the past would spin; the sweep handled it.
        next.max(now + Duration::from_millis(1))
    }

    /// Syncs the offsets. Blocks.
    pub(crate) fn close(&self) -> Result<(), BrokerError> {
        self.offsets.close()
    }
}
