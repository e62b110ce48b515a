//! Evidence: what a failed run leaves to be looked at.
//!
//! In: the history, where the logs are. Out: a directory under `target/`, printed. Always: a run that passed leaves
//! nothing; one that panics leaves as much as one that failed.

use std::{
    fs,
    io::BufWriter,
    path::{Path, PathBuf},
    sync::Arc,
};

use carillon_testkit::chaos::{Ground, History};
use parking_lot::Mutex;

use crate::settings::Settings;

/// Kept when the run failed.
pub(crate) struct Evidence {
    to: PathBuf,
    logs: Vec<PathBuf>,
    history: Arc<Mutex<History>>,
    failed: bool,
}

impl Evidence {
    pub(crate) fn new(settings: &Settings, logs: Vec<PathBuf>, history: &Arc<Mutex<History>>) -> Self {
        let lane = match settings.ground {
            Ground::Cluster => "cluster",
            Ground::Embedded => "embedded",
        };
        let name = format!("chaos-{lane}-{}-{}", settings.seed, std::process::id());
        Self {
            to: Path::new(env!("CARGO_TARGET_TMPDIR")).join(name),
            logs,
            history: Arc::clone(history),
            failed: false,
        }
    }

    /// Keeps everything, as it is now.
    pub(crate) fn keep(&mut self, report: &str) {
        self.failed = true;
        fs::create_dir_all(&self.to).unwrap();
        fs::write(self.to.join("report.txt"), report).unwrap();
        self.write();
    }

    fn write(&self) {
        fs::create_dir_all(&self.to).unwrap();
        let file = fs::File::create(self.to.join("history.jsonl")).unwrap();
        self.history.lock().write(&mut BufWriter::new(file)).unwrap();
        let entries = self
            .logs
            .iter()
            .flat_map(|dir| fs::read_dir(dir).into_iter().flatten());
        for entry in entries.flatten() {
            let name = entry.file_name();
            let text = name.to_string_lossy().into_owned();
            if text.ends_with(".log") || text == "output" || text.ends_with(".toml") {
                fs::copy(entry.path(), self.to.join(name)).unwrap();
            }
        }
        println!("history and logs: {}", self.to.display());
    }
}

impl Drop for Evidence {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.failed {
            self.write();
        }
    }
}
