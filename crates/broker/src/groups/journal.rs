//! The offsets' journal: how far every group is, on disk.
//!
//! In: commits. Out: the last one of each partition. Always: a commit is acknowledged after it is synced (with
//! `Fsync::Each`); the file is rewritten when most of it is history; a torn tail is cut, other damage refused.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tracing::{error, warn};

use super::entry::{Committed, Entry};
use crate::{disk, error::BrokerError, flush::Flush, stats::add, topics::Environment};

/// The file is left alone below this size.
const SMALL: u64 = 1024 * 1024;
/// The file is rewritten when it is so many times larger than what it says.
const HISTORY: u64 = 4;

type Positions = BTreeMap<(String, i32), Committed>;

/// All groups' offsets.
pub(crate) struct Journal {
    path: PathBuf,
    environment: Arc<Environment>,
    state: Mutex<Written>,
    this: Weak<Journal>,
}

struct Written {
    groups: HashMap<String, Positions>,
    file: Arc<File>,
    bytes: u64,
    /// Size after the last rewriting.
    live_bytes: u64,
    /// Bounded by the requests in flight of all connections.
    waiting: Vec<oneshot::Sender<bool>>,
    queued: bool,
    /// The file's end is not what it should be: it must be rewritten before anything is acknowledged.
    damaged: bool,
}

impl Journal {
    /// Reads the offsets back.
    pub(super) fn open(path: PathBuf, environment: Arc<Environment>) -> Result<Arc<Self>, BrokerError> {
        let bytes = disk::read_if_present(&path)?.unwrap_or_default();
        let mut groups = HashMap::new();
        let mut at = 0;
        while let Some((entry, length)) = Entry::decode(&bytes[at..]) {
            apply(&mut groups, entry);
            at += length;
        }
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let file = file.map_err(BrokerError::io("open", &path))?;
        if at < bytes.len() {
            if (at + 1..bytes.len()).any(|from| Entry::decode(&bytes[from..]).is_some()) {
                let reason = "checksum does not match";
                return Err(BrokerError::Damaged {
                    path,
                    position: at as u64,
                    reason,
                });
            }
            file.set_len(at as u64)
                .map_err(BrokerError::io("cut the torn tail of", &path))?;
            add(&environment.stats.torn_bytes_cut, (bytes.len() - at) as u64);
            warn!(file = %path.display(), position = at, "torn tail of the offsets cut");
        }
        file.sync_all().map_err(BrokerError::io("sync", &path))?;
        path.parent()
            .map_or(Ok(()), disk::sync_dir)
            .map_err(BrokerError::io("sync", &path))?;
        let state = Written {
            groups,
            file: Arc::new(file),
            bytes: at as u64,
            live_bytes: 0,
            waiting: Vec::new(),
            queued: false,
            damaged: false,
        };
        Ok(Arc::new_cyclic(|this| Self {
            path,
            environment,
            state: Mutex::new(state),
            this: Weak::clone(this),
        }))
    }

    /// Takes a group's new positions. Gives what to wait on until they are on disk.
    pub(crate) fn commit(
        &self,
        group: &str,
        positions: Vec<(String, i32, Committed)>,
    ) -> io::Result<Option<oneshot::Receiver<bool>>> {
        let entries = positions
            .into_iter()
            .map(|(topic, partition, committed)| Entry::Commit {
                group: group.to_owned(),
                topic,
                partition,
                committed,
            });
        self.append(entries.collect())
    }

    /// Forgets a group. Gives what to wait on until that is on disk.
    pub(super) fn forget_group(&self, group: &str) -> io::Result<Option<oneshot::Receiver<bool>>> {
        self.append(vec![Entry::ForgetGroup {
            group: group.to_owned(),
        }])
    }

    /// Forgets a topic in all groups.
    pub(super) fn forget_topic(&self, topic: &str) {
        if let Err(error) = self.append(vec![Entry::ForgetTopic {
            topic: topic.to_owned(),
        }]) {
            warn!(topic, error = %error, "offsets of a deleted topic not forgotten");
        }
    }

    fn append(&self, entries: Vec<Entry>) -> io::Result<Option<oneshot::Receiver<bool>>> {
        let mut bytes = Vec::new();
        entries.iter().for_each(|entry| entry.encode(&mut bytes));
        let mut state = self.state.lock();
        if !state.damaged {
            let written = state.file.write_all_at(&bytes, state.bytes);
            if let Err(error) = written {
                add(&self.environment.stats.storage_errors, 1);
                state.damaged = state.file.set_len(state.bytes).is_err();
                return Err(error);
            }
        }
        state.bytes += bytes.len() as u64;
        entries
            .into_iter()
            .for_each(|entry| apply(&mut state.groups, entry));
        Ok(self.schedule(&mut state))
    }

    fn schedule(&self, state: &mut Written) -> Option<oneshot::Receiver<bool>> {
        let each = self.environment.sync_each;
        if !state.queued
            && let Some(this) = self.this.upgrade()
        {
            state.queued = true;
            match each {
                true => self.environment.flusher.now(this),
                false => self.environment.flusher.later(this),
            }
        }
        each.then(|| {
            let (sender, receiver) = oneshot::channel();
            state.waiting.push(sender);
            receiver
        })
    }

    /// A group's position in a partition.
    pub(crate) fn get(&self, group: &str, topic: &str, partition: i32) -> Option<Committed> {
        let state = self.state.lock();
        state
            .groups
            .get(group)?
            .get(&(topic.to_owned(), partition))
            .cloned()
    }

    /// All positions of a group.
    pub(crate) fn all(&self, group: &str) -> Vec<(String, i32, Committed)> {
        let state = self.state.lock();
        let positions = state.groups.get(group).into_iter().flatten();
        positions
            .map(|((topic, partition), at)| (topic.clone(), *partition, at.clone()))
            .collect()
    }

    /// Whether a group has any position.
    pub(super) fn knows(&self, group: &str) -> bool {
        self.state.lock().groups.contains_key(group)
    }

    pub(super) fn groups(&self) -> Vec<String> {
        self.state.lock().groups.keys().cloned().collect()
    }

    /// Replaces the file by one that holds only what counts.
    fn rewrite(&self, state: &mut Written) -> io::Result<()> {
        let mut bytes = Vec::new();
        for (group, positions) in &state.groups {
            for ((topic, partition), committed) in positions {
                let (group, topic, committed) = (group.clone(), topic.clone(), committed.clone());
                Entry::Commit {
                    group,
                    topic,
                    partition: *partition,
                    committed,
                }
                .encode(&mut bytes);
            }
        }
        disk::write_atomically(&self.path, &bytes)?;
        state.file = Arc::new(OpenOptions::new().write(true).open(&self.path)?);
        state.bytes = bytes.len() as u64;
        state.live_bytes = state.bytes;
        state.damaged = false;
        Ok(())
    }

    /// Syncs what is left. Blocks.
    pub(super) fn close(&self) -> Result<(), BrokerError> {
        let mut state = self.state.lock();
        let end = if state.damaged {
            self.rewrite(&mut state)
        } else {
            state.file.sync_all()
        };
        end.map_err(BrokerError::io("sync", &self.path))
    }
}

impl Flush for Journal {
    fn flush(&self) {
        let (file, waiting, due) = {
            let mut state = self.state.lock();
            state.queued = false;
            let due = state.damaged || state.bytes > SMALL.max(state.live_bytes * HISTORY);
            (Arc::clone(&state.file), std::mem::take(&mut state.waiting), due)
        };
        add(&self.environment.stats.syncs, 1);
        let synced = match due {
            true => self.rewrite(&mut self.state.lock()),
            false => file.sync_data(),
        };
        if let Err(error) = &synced {
            add(&self.environment.stats.storage_errors, 1);
            error!(file = %self.path.display(), error = %error, "offsets not synced");
            self.state.lock().damaged = true;
        }
        for waiting in waiting {
            // The connection may be gone.
            let _ = waiting.send(synced.is_ok());
        }
    }
}

fn apply(groups: &mut HashMap<String, Positions>, entry: Entry) {
    match entry {
        Entry::Commit {
            group,
            topic,
            partition,
            committed,
        } => {
            groups
                .entry(group)
                .or_default()
                .insert((topic, partition), committed);
        }
        Entry::ForgetGroup { group } => drop(groups.remove(&group)),
        Entry::ForgetTopic { topic } => groups.retain(|_, positions| {
            positions.retain(|(name, _), _| *name != topic);
            !positions.is_empty()
        }),
    }
}
