//! The embedded lane: one `carillon up`, struck as a whole.
//!
//! In: settings, faults. Out: its address. Always: it comes back on its ports and its directory.

use std::path::PathBuf;

use carillon_bus::BusConfig;
use carillon_fixtures::Signal;
use carillon_schemas::topics::Topics;
use carillon_testkit::{
    chaos::{Action, Fault, Kind},
    installation::{Installation, Running},
    stack::tiers_line,
};

use crate::{cluster::channel_limit, ground::SCOPES, settings::Settings};

/// An installation that runs, but while it is struck.
pub(crate) struct EmbeddedGround {
    running: Option<Running>,
    installation: Installation,
}

impl EmbeddedGround {
    pub(crate) async fn start(settings: &Settings) -> Self {
        let installation = Installation::new(env!("CARGO_BIN_EXE_carillon"), &[]);
        let mut lines = format!("[topics]\n{}", tiers_line(&Settings::ladder()));
        if settings.has(Kind::TooLarge) {
            lines.push_str(&format!("[router]\n{}", channel_limit()));
        }
        installation.configure(&lines);
        let ground = Self {
            running: Some(installation.start()),
            installation,
        };
        ground.ready().await;
        ground
    }

    pub(crate) fn url(&self) -> String {
        self.installation.url()
    }

    pub(crate) fn token(&self, tenant: &str) -> String {
        let data = self.installation.data_dir().display().to_string();
        let user = carillon_testkit::chaos::kinds::USER;
        let who = [
            "--data-dir",
            &data,
            "--tenant",
            tenant,
            "--sub",
            user,
            "--scope",
            SCOPES,
        ];
        let token = self.installation.run(&[&["token", "mint"], &who[..]].concat());
        token.trim().to_owned()
    }

    pub(crate) fn bus(&self) -> BusConfig {
        let mut bus = BusConfig::new(self.installation.kafka());
        bus.topics = Topics::with_ladder("carillon.", &Settings::ladder());
        bus
    }

    pub(crate) async fn begin(&mut self, fault: &Fault) -> Option<String> {
        if fault.action == Action::Pause {
            self.signal(Signal::Stop);
            return None;
        }
        let running = self.running.take()?;
        if fault.action == Action::Kill {
            running.kill();
            return None;
        }
        let code = tokio::task::spawn_blocking(|| running.terminate()).await.unwrap();
        (code != Some(0)).then(|| format!("up ended with {code:?}"))
    }

    pub(crate) async fn undo(&mut self, fault: &Fault) {
        if fault.action == Action::Pause {
            return self.signal(Signal::Continue);
        }
        self.running = Some(self.installation.start());
        self.ready().await;
    }

    fn signal(&self, signal: Signal) {
        if let Some(running) = &self.running {
            running.signal(signal);
        }
    }

    pub(crate) async fn ready(&self) {
        self.installation.ready().await;
    }

    pub(crate) fn logs(&self) -> Vec<PathBuf> {
        vec![self.installation.dir().to_owned()]
    }

    pub(crate) async fn stop(mut self) -> Vec<String> {
        let Some(running) = self.running.take() else {
            return Vec::new();
        };
        let code = tokio::task::spawn_blocking(|| running.terminate()).await.unwrap();
        let bad = (code != Some(0)).then(|| format!("up ended with {code:?}"));
        bad.into_iter().collect()
    }
}
