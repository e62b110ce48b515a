//! Progress: a job's row, and waiting on its behalf.
//!
//! In: what was done. Out: the row in the store, at least once a second. Always: a row that is saved later is the
//! later one, whatever the clock does; no wait outlasts the order to stop.

use std::time::Duration;

use carillon_schemas::dead_letter::{Job, JobState};
use carillon_store::StoreError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{Jobs, position::Position};
use crate::hold::{Attempts, Dependency, Site};

/// How often a position is saved.
const SAVE_EVERY: Duration = Duration::from_millis(900);

/// Why a job does not go on.
#[derive(Debug)]
pub(super) enum Halt {
    /// It is to stop here.
    Stopped,
    /// It never will work.
    Refused(String),
}

/// A job that runs.
pub(super) struct Progress<'a> {
    jobs: &'a Jobs,
    stop: &'a CancellationToken,
    pub(super) job: Job,
    saved: Instant,
    begun: bool,
}

impl<'a> Progress<'a> {
    pub(super) fn new(jobs: &'a Jobs, job: Job, stop: &'a CancellationToken) -> Self {
        Self {
            jobs,
            stop,
            job,
            saved: Instant::now(),
            begun: false,
        }
    }

    /// Takes up the row that stands, or makes it. Says whether something is left to do.
    pub(super) async fn begin(&mut self) -> Result<bool, Halt> {
        let asked = &self.job;
        let stands = self.store(|| self.jobs.store.begin_job(asked)).await?;
        if stands.kind != self.job.kind {
            warn!(tenant = %stands.tenant_id, job = %stands.id, "another kind of job has this id, left as it is");
            return Ok(false);
        }
        self.job = stands;
        self.begun = self.job.state == JobState::Running;
        Ok(self.begun)
    }

    /// Asks the store, for as long as it takes.
    pub(super) async fn store<T, F>(&self, call: impl Fn() -> F) -> Result<T, Halt>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let mut attempts = self.attempts();
        loop {
            match call().await {
                Ok(answer) => return Ok(answer),
                Err(StoreError::Refused(reason)) => return Err(Halt::Refused(reason)),
                Err(error) => {
                    self.wait(&mut attempts, Dependency::Store, &error.to_string())
                        .await?;
                }
            }
        }
    }

    /// Attempts at something on the job's behalf.
    pub(super) fn attempts(&self) -> Attempts<'a> {
        self.jobs.holds.attempts(Site::Commands)
    }

    /// An attempt failed because of this.
    pub(super) async fn wait(
        &self,
        attempts: &mut Attempts<'_>,
        dependency: Dependency,
        reason: &str,
    ) -> Result<(), Halt> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Halt::Stopped),
            () = attempts.wait(dependency, reason) => Ok(()),
        }
    }

    /// Waits for a moment.
    pub(super) async fn until(&self, moment: Instant) -> Result<(), Halt> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Halt::Stopped),
            () = tokio::time::sleep_until(moment) => Ok(()),
        }
    }

    /// Where it began, or goes on.
    pub(super) fn position(&self) -> Option<Position> {
        Position::from_text(self.job.position.as_deref()?)
    }

    /// It has come so far. Saved when it is time.
    pub(super) async fn at(&mut self, position: Position) -> Result<(), Halt> {
        self.job.position = Some(position.to_text());
        if self.saved.elapsed() >= SAVE_EVERY {
            self.save().await?;
        }
        Ok(())
    }

    pub(super) async fn save(&mut self) -> Result<(), Halt> {
        self.touch();
        let job = &self.job;
        self.store(|| self.jobs.store.save_job(job)).await?;
        self.saved = Instant::now();
        Ok(())
    }

    /// On the way out: what is not saved is done again and has no second effect.
    pub(super) async fn save_once(&mut self) {
        if !self.begun {
            return;
        }
        self.touch();
        if let Err(error) = self.jobs.store.save_job(&self.job).await {
            debug!(job = %self.job.id, error = %error, "a job stopped without saving its position");
        }
    }

    fn touch(&mut self) {
        let now_ms = self.jobs.clock.unix_ms();
        self.job.updated_at = now_ms.max(self.job.updated_at + 1);
    }
}
