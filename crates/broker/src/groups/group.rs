//! A group: members that come and go, and generations in which each has a share.
//!
//! In: joins, syncs, heartbeats, time. Out: answers to those who wait. Always: one rebalance at a time; a member
//! that does not join one in time is out; answers go to the generation they were asked in.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::oneshot, time::Instant};

use super::{
    Assigned, Description, Joining, Syncing,
    member::{Joiner, Member},
};

/// Bounds of a session timeout; Kafka's upper one, and a lower one that tests can use.
const SESSIONS: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(1800);
/// Members of one group, joining ones included.
const MEMBERS: usize = 10_000;

/// What a group is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Nobody is in it.
    Empty,
    /// Members are to join again.
    Joining,
    /// All have joined; the leader has not shared out yet.
    Syncing,
    /// Each member has its share.
    Stable,
}

/// Why a group says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupError {
    InvalidGroup,
    TooManyGroups,
    UnknownMember,
    MemberIdRequired,
    FencedInstance,
    IllegalGeneration,
    Rebalancing,
    InconsistentProtocol,
    InvalidSession,
    GroupFull,
    NotEmpty,
    NotFound,
    Storage,
}

/// A member's place in a new generation.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) generation: i32,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) leader: String,
    pub(crate) member: String,
    /// For the leader: id, instance and subscription of everyone.
    pub(crate) members: Vec<(String, Option<String>, Bytes)>,
}

/// One group.
pub(super) struct Group {
    state: State,
    generation: i32,
    protocol_type: String,
    protocol: String,
    leader: String,
    members: BTreeMap<String, Member>,
    /// Ids that were given out and whose consumers have not joined yet, until when.
    expected: HashMap<String, Instant>,
    /// When the joining ends, however many have joined.
    deadline: Option<Instant>,
    /// Before this the first generation of an empty group does not begin.
    not_before: Option<Instant>,
    join_delay: Duration,
    /// What tells this group's ids from those of the same name before.
    life: String,
    ids: u64,
    rebalances: u64,
}

impl Group {
    pub(super) fn new(join_delay: Duration, life: String) -> Self {
        Self {
            state: State::Empty,
            generation: 0,
            protocol_type: String::new(),
            protocol: String::new(),
            leader: String::new(),
            members: BTreeMap::new(),
            expected: HashMap::new(),
            deadline: None,
            not_before: None,
            join_delay,
            life,
            ids: 0,
            rebalances: 0,
        }
    }

    pub(super) fn join(&mut self, mut joiner: Joiner, now: Instant) -> Joining {
        if let Err(error) = self.judge(&joiner) {
            return Joining::Now(joiner.id, Err(error));
        }
        if joiner.id.is_empty() {
            if let Some(replaced) = joiner.instance.as_deref().and_then(|i| self.member_of(i)) {
                self.remove(&replaced);
            }
            joiner.id = self.new_id(&joiner.client_id);
            if joiner.takes_id_first && joiner.instance.is_none() {
                self.expected.insert(joiner.id.clone(), now + joiner.session);
                return Joining::Now(joiner.id, Err(GroupError::MemberIdRequired));
            }
        }
        self.expected.remove(&joiner.id);
        let id = joiner.id.clone();
        if let Some(unchanged) = self.unchanged(&joiner) {
            self.seen(&id, now);
            return Joining::Now(id, Ok(unchanged));
        }
        self.protocol_type.clone_from(&joiner.protocol_type);
        match self.members.get_mut(&id) {
            Some(member) => member.renew(joiner, now),
            None => drop(self.members.insert(id.clone(), Member::new(joiner, now))),
        }
        let (sender, receiver) = oneshot::channel();
        if let Some(member) = self.members.get_mut(&id) {
            member.joining = Some(sender);
        }
        self.rebalance(now);
        Joining::Wait(receiver)
    }

    fn judge(&self, joiner: &Joiner) -> Result<(), GroupError> {
        if !SESSIONS.contains(&joiner.session) {
            return Err(GroupError::InvalidSession);
        }
        let known = self.members.contains_key(&joiner.id) || self.expected.contains_key(&joiner.id);
        if !joiner.id.is_empty() && !known {
            let replaced = joiner
                .instance
                .as_deref()
                .is_some_and(|i| self.member_of(i).is_some());
            return Err(if replaced {
                GroupError::FencedInstance
            } else {
                GroupError::UnknownMember
            });
        }
        if !known && self.members.len() + self.expected.len() >= MEMBERS {
            return Err(GroupError::GroupFull);
        }
        let others = || {
            self.members
                .iter()
                .filter(|(id, _)| **id != joiner.id)
                .map(|(_, member)| member)
        };
        let shared = joiner
            .protocols
            .iter()
            .any(|(name, _)| others().all(|m| supports(m, name)));
        let same_type = others().next().is_none() || self.protocol_type == joiner.protocol_type;
        match shared && same_type && !joiner.protocol_type.is_empty() {
            true => Ok(()),
            false => Err(GroupError::InconsistentProtocol),
        }
    }

    /// A follower that joins again with the same subscription changes nothing.
    fn unchanged(&self, joiner: &Joiner) -> Option<Joined> {
        let member = self.members.get(&joiner.id)?;
        let same = member.protocols == joiner.protocols;
        let settled =
            self.state == State::Syncing || (self.state == State::Stable && self.leader != joiner.id);
        (same && settled).then(|| self.joined(&joiner.id))
    }

    fn rebalance(&mut self, now: Instant) {
        if self.state == State::Empty {
            self.not_before = Some(now + self.join_delay);
        }
        if self.state != State::Joining {
            self.state = State::Joining;
            let longest = self
                .members
                .values()
                .map(|m| m.rebalance)
                .max()
                .unwrap_or_default();
            self.deadline = Some(now + longest);
            for member in self.members.values_mut() {
                if let Some(waiting) = member.syncing.take() {
                    let _ = waiting.send(Err(GroupError::Rebalancing));
                }
            }
        }
        self.try_begin(now);
    }

    /// Begins the next generation if everybody is there or the time is over.
    fn try_begin(&mut self, now: Instant) {
        if self.state != State::Joining || self.not_before.is_some_and(|t| now < t) {
            return;
        }
        let late = self.deadline.is_some_and(|deadline| now >= deadline);
        let complete = self.expected.is_empty() && self.members.values().all(|m| m.joining.is_some());
        if !complete && !late {
            return;
        }
        self.members.retain(|_, m| m.joining.is_some());
        self.deadline = None;
        self.not_before = None;
        self.generation = self.generation.wrapping_add(1).max(1);
        self.rebalances += 1;
        if self.members.is_empty() {
            self.state = State::Empty;
            return;
        }
        self.state = State::Syncing;
        self.protocol = self.elect();
        if !self.members.contains_key(&self.leader) {
            self.leader = self.members.keys().next().cloned().unwrap_or_default();
        }
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            let joined = self.joined(&id);
            if let Some(member) = self.members.get_mut(&id) {
                member.is_seen(now);
                member.assignment = Bytes::new();
                if let Some(waiting) = member.joining.take() {
                    let _ = waiting.send(Ok(joined));
                }
            }
        }
    }

    /// The protocol that all know and most like best; of equals, the first by name.
    fn elect(&self) -> String {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let common = |name: &str| self.members.values().all(|m| supports(m, name));
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| common(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        let winner = votes.into_iter().rev().max_by_key(|(_, count)| *count);
        winner.map(|(name, _)| name.to_owned()).unwrap_or_default()
    }

    fn joined(&self, id: &str) -> Joined {
        let everyone = || {
            let metadata =
                |(id, m): (&String, &Member)| (id.clone(), m.instance.clone(), m.metadata(&self.protocol));
            self.members.iter().map(metadata).collect()
        };
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            member: id.to_owned(),
            members: if self.leader == id { everyone() } else { Vec::new() },
        }
    }

    pub(super) fn sync(
        &mut self,
        member: &str,
        generation: i32,
        mut assignments: HashMap<String, Bytes>,
        now: Instant,
    ) -> Syncing {
        if let Err(error) = self.check(member, generation) {
            return Syncing::Now(Err(error));
        }
        self.seen(member, now);
        match self.state {
            State::Empty => return Syncing::Now(Err(GroupError::UnknownMember)),
            State::Joining => return Syncing::Now(Err(GroupError::Rebalancing)),
            State::Stable => return Syncing::Now(Ok(self.assigned(member))),
            State::Syncing => {}
        }
        if self.leader != member {
            let (sender, receiver) = oneshot::channel();
            if let Some(found) = self.members.get_mut(member) {
                found.syncing = Some(sender);
            }
            return Syncing::Wait(receiver);
        }
        self.state = State::Stable;
        for (id, member) in &mut self.members {
            member.assignment = assignments.remove(id).unwrap_or_default();
            member.is_seen(now);
        }
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            let assigned = self.assigned(&id);
            if let Some(waiting) = self.members.get_mut(&id).and_then(|m| m.syncing.take()) {
                let _ = waiting.send(Ok(assigned));
            }
        }
        Syncing::Now(Ok(self.assigned(member)))
    }

    fn assigned(&self, id: &str) -> Assigned {
        Assigned {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self
                .members
                .get(id)
                .map(|m| m.assignment.clone())
                .unwrap_or_default(),
        }
    }

    pub(super) fn heartbeat(
        &mut self,
        member: &str,
        generation: i32,
        now: Instant,
    ) -> Result<(), GroupError> {
        self.check(member, generation)?;
        self.seen(member, now);
        match self.state {
            State::Joining => Err(GroupError::Rebalancing),
            _ => Ok(()),
        }
    }

    pub(super) fn may_commit(
        &mut self,
        member: &str,
        generation: i32,
        now: Instant,
    ) -> Result<(), GroupError> {
        if generation < 0 && member.is_empty() && self.members.is_empty() {
            return Ok(());
        }
        self.check(member, generation)?;
        self.seen(member, now);
        match self.state {
            State::Syncing => Err(GroupError::Rebalancing),
            _ => Ok(()),
        }
    }

    fn check(&self, member: &str, generation: i32) -> Result<(), GroupError> {
        if !self.members.contains_key(member) {
            return Err(GroupError::UnknownMember);
        }
        match generation == self.generation {
            true => Ok(()),
            false => Err(GroupError::IllegalGeneration),
        }
    }

    fn seen(&mut self, member: &str, now: Instant) {
        if let Some(found) = self.members.get_mut(member) {
            found.is_seen(now);
        }
    }

    pub(super) fn leave(
        &mut self,
        member: &str,
        instance: Option<&str>,
        now: Instant,
    ) -> Result<(), GroupError> {
        let by_instance = || instance.and_then(|i| self.member_of(i));
        let id = match member.is_empty() {
            true => by_instance().ok_or(GroupError::UnknownMember)?,
            false => member.to_owned(),
        };
        if self.expected.remove(&id).is_none() && !self.remove(&id) {
            return Err(GroupError::UnknownMember);
        }
        self.after_loss(now);
        Ok(())
    }

    fn after_loss(&mut self, now: Instant) {
        if self.members.is_empty() && self.expected.is_empty() {
            self.state = State::Empty;
            self.deadline = None;
            return;
        }
        self.rebalance(now);
    }

    fn remove(&mut self, id: &str) -> bool {
        let Some(member) = self.members.remove(id) else {
            return false;
        };
        if let Some(waiting) = member.joining {
            let _ = waiting.send(Err(GroupError::FencedInstance));
        }
        if let Some(waiting) = member.syncing {
            let _ = waiting.send(Err(GroupError::FencedInstance));
        }
        true
    }

    /// Drops who went silent, ends a joining whose time is over; gives the next deadline.
    pub(super) fn sweep(&mut self, now: Instant) -> Option<Instant> {
        self.expected.retain(|_, until| now < *until);
        let silent: Vec<String> = self
            .members
            .iter()
            .filter(|(_, m)| m.deadline().is_some_and(|deadline| now >= deadline))
            .map(|(id, _)| id.clone())
            .collect();
        for id in &silent {
            self.remove(id);
        }
        match silent.is_empty() {
            true => self.try_begin(now),
            false => self.after_loss(now),
        }
        let sessions = self
            .members
            .values()
            .map(|m| m.deadline().unwrap_or(now + Duration::from_secs(1)));
        let begin = [self.deadline, self.not_before].into_iter().flatten();
        sessions.chain(begin).chain(self.expected.values().copied()).min()
    }

    fn new_id(&mut self, client_id: &str) -> String {
        self.ids += 1;
        let start: String = client_id.chars().take(64).collect();
        // Unique over restarts, too: an id of an earlier life must not match one of this.
        format!("{start}-{}-{}", self.life, self.ids)
    }

    fn member_of(&self, instance: &str) -> Option<String> {
        let found = self
            .members
            .iter()
            .find(|(_, m)| m.instance.as_deref() == Some(instance));
        found.map(|(id, _)| id.clone())
    }

    pub(super) fn describe(&self) -> Description {
        Description {
            state: self.state,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            members: self
                .members
                .iter()
                .map(|(id, m)| m.describe(id, &self.protocol))
                .collect(),
        }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn protocol_type(&self) -> &str {
        &self.protocol_type
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether nobody is in it or expected.
    pub(super) fn is_forgettable(&self) -> bool {
        self.members.is_empty() && self.expected.is_empty()
    }

    pub(super) fn take_rebalances(&mut self) -> u64 {
        std::mem::take(&mut self.rebalances)
    }
}

fn supports(member: &Member, protocol: &str) -> bool {
    member.protocols.iter().any(|(name, _)| name == protocol)
}
