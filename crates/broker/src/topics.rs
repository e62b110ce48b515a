//! Topics: which there are, how they are set, and where their partitions stand.
//!
//! In: names and settings. Out: partitions. Always: a topic is there after a crash whole or not at all; looking
//! one up never waits for a topic that is being made.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use carillon_chassis::clock::Clock;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};

pub(crate) use settings::{Refusal as SettingRefusal, Settings, defaults};

use crate::{
    disk,
    error::BrokerError,
    flush::Flusher,
    log::{Partition, open_files::OpenFiles},
    options::Limits,
    stats::Stats,
};

mod settings;

/// Longest topic name, as in Kafka: it is a directory's name.
const NAME_BYTES: usize = 249;

/// What every partition needs of the broker around it.
pub(crate) struct Environment {
    pub(crate) sync_each: bool,
    pub(crate) segment_bytes: u64,
    pub(crate) limits: Limits,
    pub(crate) clock: Clock,
    pub(crate) stats: Arc<Stats>,
    pub(crate) files: OpenFiles,
    pub(crate) flusher: Arc<Flusher>,
    /// Partitions with records in memory. Bounded by the number of partitions.
    pub(crate) tails: Mutex<Vec<Weak<Partition>>>,
}

impl Environment {
    pub(crate) fn now_ms(&self) -> i64 {
        i64::try_from(self.clock.unix_ms()).unwrap_or(i64::MAX)
    }

    /// Frees the memory of partitions that have become quiet.
    pub(crate) fn sweep_tails(&self) {
        let listed = std::mem::take(&mut *self.tails.lock());
        let kept: Vec<_> = listed
            .into_iter()
            .filter(|p| p.upgrade().is_some_and(|p| p.sweep_tail()))
            .collect();
        self.tails.lock().extend(kept);
    }
}

/// One topic.
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) partitions: Vec<Arc<Partition>>,
    pub(crate) settings: Arc<Settings>,
}

/// All topics.
pub(crate) struct Topics {
    dir: PathBuf,
    environment: Arc<Environment>,
    /// Replaced as a whole, so that readers hold it for a moment only.
    all: RwLock<Arc<BTreeMap<String, Arc<Topic>>>>,
    /// One change at a time.
    changing: Mutex<()>,
}

/// Why a topic was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TopicError {
    #[error("a topic name has 1 to 249 letters, digits, '.', '_' and '-', and is not '.' or '..'")]
    Name,
    #[error("the topic exists")]
    Exists,
    #[error("there is no such topic")]
    Unknown,
    #[error(
        "a topic has at least one partition, and never fewer than before; all topics together are bounded"
    )]
    Partitions,
    #[error(transparent)]
    Setting(#[from] SettingRefusal),
    #[error(transparent)]
    Storage(#[from] BrokerError),
}

/// What is kept of a topic on disk.
#[derive(Serialize, Deserialize)]
struct Facts {
    partitions: i32,
    settings: BTreeMap<String, String>,
}

impl Topics {
    /// Reads all topics and their logs back; several logs side by side.
    pub(crate) fn open(dir: PathBuf, environment: Arc<Environment>) -> Result<Self, BrokerError> {
        disk::create_dir(&dir)?;
        let topics = Self {
            dir,
            environment,
            all: RwLock::default(),
            changing: Mutex::default(),
        };
        let mut found = Vec::new();
        for entry in fs::read_dir(&topics.dir).map_err(BrokerError::io("list", &topics.dir))? {
            let path = entry.map_err(BrokerError::io("list", &topics.dir))?.path();
            if let Some(facts) = topics.facts(&path)? {
                found.push((path, facts));
            }
        }
        let all = recover_all(&found, &topics.environment)?;
        *topics.all.write() = Arc::new(all.into_iter().map(|t| (t.name.clone(), Arc::new(t))).collect());
        Ok(topics)
    }

    /// A topic's facts; `None` for what is left of a topic that was being made or deleted, and is removed.
    fn facts(&self, path: &Path) -> Result<Option<Facts>, BrokerError> {
        let file = path.join("topic.json");
        let grave = path.to_string_lossy().ends_with(DELETED);
        if !grave && let Some(bytes) = disk::read_if_present(&file)? {
            let facts = serde_json::from_slice(&bytes).map_err(|error| BrokerError::Metadata {
                path: file,
                reason: error.to_string(),
            })?;
            return Ok(Some(facts));
        }
        let mut inside = fs::read_dir(path)
            .map_err(BrokerError::io("list", path))?
            .flatten();
        if !grave && inside.any(|entry| entry.path().is_dir()) {
            let reason = "it is missing, but the topic has logs".to_owned();
            return Err(BrokerError::Metadata { path: file, reason });
        }
        fs::remove_dir_all(path).map_err(BrokerError::io("remove", path))?;
        Ok(None)
    }

    /// All topics as of now, by name.
    pub(crate) fn all(&self) -> Arc<BTreeMap<String, Arc<Topic>>> {
        Arc::clone(&self.all.read())
    }

    /// One topic.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.all.read().get(name).cloned()
    }

    /// Judges a topic that is to be made, and makes it unless it is only a trial. Blocks.
    pub(crate) fn create(
        &self,
        name: &str,
        partitions: i32,
        settings: BTreeMap<String, String>,
        trial: bool,
    ) -> Result<(), TopicError> {
        let _one_at_a_time = self.changing.lock();
        check_name(name)?;
        if self.get(name).is_some() {
            return Err(TopicError::Exists);
        }
        self.check_count(0, partitions)?;
        let settings = Settings::new(settings, self.environment.segment_bytes)?;
        if trial {
            return Ok(());
        }
        disk::create_dir(&self.dir.join(name))?;
        self.save(name, partitions, &settings)?;
        let topic = self.assemble(name, partitions, Arc::new(settings), &[])?;
        self.replace(name, Some(topic));
        Ok(())
    }

    /// Adds partitions. Blocks.
    pub(crate) fn grow(&self, name: &str, partitions: i32, trial: bool) -> Result<(), TopicError> {
        let _one_at_a_time = self.changing.lock();
        let topic = self.get(name).ok_or(TopicError::Unknown)?;
        self.check_count(topic.partitions.len(), partitions)?;
        if trial {
            return Ok(());
        }
        self.save(name, partitions, &topic.settings)?;
        let grown = self.assemble(name, partitions, Arc::clone(&topic.settings), &topic.partitions)?;
        self.replace(name, Some(grown));
        Ok(())
    }

    /// Changes a topic's settings. Blocks.
    pub(crate) fn configure(
        &self,
        name: &str,
        change: impl FnOnce(&mut BTreeMap<String, String>) -> Result<(), SettingRefusal>,
        trial: bool,
    ) -> Result<(), TopicError> {
        let _one_at_a_time = self.changing.lock();
        let topic = self.get(name).ok_or(TopicError::Unknown)?;
        let mut values = topic.settings.values();
        change(&mut values)?;
        let wanted = Settings::new(values, self.environment.segment_bytes)?;
        if trial {
            return Ok(());
        }
        let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        self.save(name, partitions, &wanted)?;
        topic.settings.become_like(&wanted);
        Ok(())
    }

    /// Removes a topic and its records. Blocks.
    pub(crate) fn delete(&self, name: &str) -> Result<(), TopicError> {
        let _one_at_a_time = self.changing.lock();
        let topic = self.get(name).ok_or(TopicError::Unknown)?;
        let (path, grave) = (self.dir.join(name), self.grave(name));
        if grave.exists() {
            fs::remove_dir_all(&grave).map_err(BrokerError::io("remove", &grave))?;
        }
        fs::rename(&path, &grave).map_err(BrokerError::io("rename", &path))?;
        disk::sync_dir(&self.dir).map_err(BrokerError::io("sync", &self.dir))?;
        self.replace(name, None);
        topic.partitions.iter().for_each(|p| p.delete());
        fs::remove_dir_all(&grave).map_err(BrokerError::io("remove", &grave))?;
        Ok(())
    }

    /// Where a topic goes to be removed: no topic's name contains a comma.
    fn grave(&self, name: &str) -> PathBuf {
        let short: String = name.chars().take(NAME_BYTES - DELETED.len()).collect();
        self.dir.join(format!("{short}{DELETED}"))
    }

    fn save(&self, name: &str, partitions: i32, settings: &Settings) -> Result<(), BrokerError> {
        let path = self.dir.join(name).join("topic.json");
        let facts = Facts {
            partitions,
            settings: settings.values(),
        };
        let bytes = serde_json::to_vec_pretty(&facts).map_err(|error| BrokerError::Metadata {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        disk::write_atomically(&path, &bytes).map_err(BrokerError::io("write", path))
    }

    fn assemble(
        &self,
        name: &str,
        count: i32,
        settings: Arc<Settings>,
        present: &[Arc<Partition>],
    ) -> Result<Topic, BrokerError> {
        let mut partitions = present.to_vec();
        for index in present.len()..usize::try_from(count).unwrap_or(0) {
            let dir = self.dir.join(name).join(index.to_string());
            partitions.push(Partition::open(
                dir,
                Arc::clone(&self.environment),
                Arc::clone(&settings),
            )?);
        }
        Ok(Topic {
            name: name.to_owned(),
            partitions,
            settings,
        })
    }

    fn replace(&self, name: &str, topic: Option<Topic>) {
        let mut next = BTreeMap::clone(&self.all.read());
        match topic {
            Some(topic) => next.insert(name.to_owned(), Arc::new(topic)),
            None => next.remove(name),
        };
        *self.all.write() = Arc::new(next);
    }

    fn check_count(&self, now: usize, wanted: i32) -> Result<(), TopicError> {
        let wanted = usize::try_from(wanted).map_err(|_| TopicError::Partitions)?;
        let others: usize = self.all().values().map(|t| t.partitions.len()).sum();
        match wanted > now && wanted - now <= self.environment.limits.partitions.saturating_sub(others) {
            true => Ok(()),
            false => Err(TopicError::Partitions),
        }
    }

    /// Syncs and saves every log. Blocks.
    pub(crate) fn close(&self) -> Result<(), BrokerError> {
        self.all()
            .values()
            .flat_map(|t| &t.partitions)
            .try_for_each(|p| p.close())
    }
}

const DELETED: &str = ",deleted";

fn check_name(name: &str) -> Result<(), TopicError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let good =
        (1..=NAME_BYTES).contains(&name.len()) && name.chars().all(legal) && name != "." && name != "..";
    if good { Ok(()) } else { Err(TopicError::Name) }
}

/// Reads logs back on a few threads: after a crash each may have some megabytes to scan.
fn recover_all(
    found: &[(PathBuf, Facts)],
    environment: &Arc<Environment>,
) -> Result<Vec<Topic>, BrokerError> {
    let mut jobs = Vec::new();
    let mut settings = HashMap::new();
    for (path, facts) in found {
        let parsed = Settings::new(facts.settings.clone(), environment.segment_bytes).map_err(|error| {
            BrokerError::Metadata {
                path: path.join("topic.json"),
                reason: error.to_string(),
            }
        })?;
        settings.insert(path, Arc::new(parsed));
        jobs.extend((0..facts.partitions).map(|index| (path, index)));
    }
    let threads = environment.limits.flush_threads.clamp(1, 4);
    let share = jobs.len().div_ceil(threads).max(1);
    let open = |&(path, index): &(&PathBuf, i32)| {
        let own = Arc::clone(&settings[path]);
        Partition::open(path.join(index.to_string()), Arc::clone(environment), own)
    };
    let opened: Vec<Result<Vec<_>, BrokerError>> = std::thread::scope(|scope| {
        let running: Vec<_> = jobs
            .chunks(share)
            .map(|chunk| scope.spawn(move || chunk.iter().map(open).collect()))
            .collect();
        running
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect()
    });
    let mut partitions = opened
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .flatten();
    let assemble = |(path, facts): &(PathBuf, Facts)| Topic {
        name: path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        partitions: partitions
            .by_ref()
            .take(usize::try_from(facts.partitions).unwrap_or(0))
            .collect(),
        settings: Arc::clone(&settings[path]),
    };
    Ok(found.iter().map(assemble).collect())
}
