//! Jobs: dead letters back in or away, stored notifications again.
//!
//! In: a command. Out: what it asks for, and a row that says how it stands. Always: the same job twice has no
//! second effect; a job that was stopped goes on at its position, which is saved once a second; it moves no more
//! a second than it was told; trouble of the store or of Kafka is waited out in place.

mod discard;
mod letters;
mod pace;
mod position;
mod progress;
mod raw;
mod redrive;
mod replay;
mod send;
mod walk;

use std::sync::Arc;

use carillon_bus::{Producer, RangeReader};
use carillon_chassis::clock::Clock;
use carillon_schemas::{
    audit::{AuditEntry, AuditKind},
    command::{Command, Order},
    dead_letter::{Job, JobKind, JobState},
};
use carillon_store::NotificationStore;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    dispatch::Shards,
    hold::Holds,
    trail::{Deed, Trail},
};
use progress::{Halt, Progress};

/// Whether what a class or code of errors stands for is in trouble now; of `None`, whether anything is.
pub(crate) type BreakerOpen = Box<dyn Fn(Option<&str>) -> bool + Send + Sync>;

/// The room.
pub(crate) struct Jobs {
    pub(crate) store: Arc<dyn NotificationStore>,
    pub(crate) producer: Producer,
    /// Reads the dead-letter topic.
    pub(crate) letters: RangeReader,
    /// The topic that dead letters go back in by.
    pub(crate) redrive: Arc<str>,
    pub(crate) shards: Shards,
    /// Generation of the deliveries topic.
    pub(crate) generation: u16,
    pub(crate) holds: Arc<Holds>,
    pub(crate) trail: Arc<Trail>,
    pub(crate) clock: Clock,
    pub(crate) breaker_open: BreakerOpen,
}

/// How a job ended here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Its command is through.
    Through,
    /// It goes on elsewhere, or later.
    Stopped,
}

impl Ended {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Through => "through",
            Self::Stopped => "stopped",
        }
    }
}

impl Jobs {
    /// Carries a job out, from the beginning or from where it stands, until it is through or stopped. May be
    /// dropped at any time and begun again.
    pub(crate) async fn run(&self, command: &Command, stop: &CancellationToken) -> Ended {
        let Some(job) = self.asked(command) else {
            return Ended::Through;
        };
        let mut progress = Progress::new(self, job, stop);
        let ended = match self.carry_out(command, &mut progress).await {
            Err(Halt::Refused(reason)) => self.refuse_running(&mut progress, reason).await,
            other => other,
        };
        match ended {
            Ok(()) => Ended::Through,
            Err(Halt::Stopped) => {
                progress.save_once().await;
                Ended::Stopped
            }
            Err(Halt::Refused(reason)) => {
                error!(tenant = %command.tenant_id, job = %command.id, error = reason, "the store refuses a job, left behind");
                Ended::Through
            }
        }
    }

    /// Refuses a job that was not begun.
    pub(crate) async fn refuse(&self, command: &Command, reason: &str) {
        let Some(job) = self.asked(command) else { return };
        let stop = CancellationToken::new();
        let mut progress = Progress::new(self, job, &stop);
        let begun = match progress.begin().await {
            Ok(true) => self.refuse_running(&mut progress, reason.to_owned()).await,
            other => other.map(|_| ()),
        };
        if let Err(halt) = begun {
            error!(tenant = %command.tenant_id, job = %command.id, error = ?halt, "a job could not be refused, left behind");
        }
    }

    /// The row of a job that nobody began yet.
    fn asked(&self, command: &Command) -> Option<Job> {
        let now_ms = self.clock.unix_ms();
        let (kind, dry_run) = match &command.order {
            Order::Redrive(request) => (JobKind::Redrive, request.dry_run),
            Order::Discard(request) => (JobKind::Discard, request.dry_run),
            Order::Replay(_) => (JobKind::Replay, false),
            Order::Cancel { .. } => return None,
        };
        // What comes after it was asked for does not belong to it, a redriven letter that came back least of all.
        let created_at = command.at.min(now_ms);
        Some(Job {
            id: command.id,
            tenant_id: command.tenant_id.clone(),
            kind,
            state: JobState::Running,
            dry_run,
            actor: command.actor.clone(),
            created_at,
            updated_at: now_ms,
            matched: 0,
            moved: 0,
            parked: 0,
            skipped: 0,
            by_code: Default::default(),
            position: None,
            detail: None,
        })
    }

    async fn carry_out(&self, command: &Command, progress: &mut Progress<'_>) -> Result<(), Halt> {
        if !progress.begin().await? {
            return Ok(());
        }
        let job = &progress.job;
        info!(tenant = %job.tenant_id, job = %job.id, kind = ?job.kind, dry_run = job.dry_run, position = job.position, "job begun");
        let class = match &command.order {
            Order::Redrive(request) if !request.dry_run => Some(request.filter.error_class.as_deref()),
            _ => None,
        };
        // One that was begun is not given up: it waits for what is in trouble where it needs it.
        if progress.job.position.is_none()
            && let Some(class) = class
            && (self.breaker_open)(class)
        {
            return Err(Halt::Refused(
                "what these letters failed for is still in trouble: /ready of the router names it".to_owned(),
            ));
        }
        let begun = self.deed(&progress.job, Step::Begun, asked_in_words(&command.order));
        progress
            .store(|| self.store.audit(std::slice::from_ref(&begun)))
            .await?;
        match &command.order {
            Order::Redrive(request) | Order::Discard(request) => self.walk(request, progress).await?,
            Order::Replay(request) => self.replay(request, progress).await?,
            Order::Cancel { .. } => {}
        }
        self.end(progress, JobState::Done).await
    }

    async fn refuse_running(&self, progress: &mut Progress<'_>, reason: String) -> Result<(), Halt> {
        let job = &progress.job;
        warn!(tenant = %job.tenant_id, job = %job.id, error = reason, "job refused");
        progress.job.detail = Some(reason);
        self.end(progress, JobState::Refused).await
    }

    /// Its entry first: a crash between the two tells it again under the same id.
    async fn end(&self, progress: &mut Progress<'_>, state: JobState) -> Result<(), Halt> {
        progress.job.state = state;
        let job = &progress.job;
        let counts = format!(
            "matched {}, moved {}, parked {}, skipped {}",
            job.matched, job.moved, job.parked, job.skipped
        );
        let step = if state == JobState::Done {
            Step::Ended
        } else {
            Step::Refused
        };
        let words = job.detail.clone().unwrap_or(counts);
        let entry = self.deed(job, step, words);
        progress
            .store(|| self.store.audit(std::slice::from_ref(&entry)))
            .await?;
        progress.save().await?;
        let job = &progress.job;
        info!(
            tenant = %job.tenant_id, job = %job.id, state = ?job.state, matched = job.matched, moved = job.moved,
            parked = job.parked, skipped = job.skipped, "job ended"
        );
        Ok(())
    }

    fn deed(&self, job: &Job, step: Step, words: String) -> AuditEntry {
        let at_ms = match step {
            Step::Begun => job.created_at,
            Step::Ended | Step::Refused => self.clock.unix_ms(),
        };
        self.trail.entry(Deed {
            tenant: &job.tenant_id,
            of: job.id,
            at_ms,
            kind: match job.kind {
                JobKind::Redrive | JobKind::Discard => AuditKind::Redrive,
                JobKind::Replay => AuditKind::Replay,
            },
            code: step.code(job.kind),
            actor: job.actor.as_deref(),
            subject: job.id.to_string(),
            detail: match (job.dry_run, words.is_empty()) {
                (true, true) => "dry run".to_owned(),
                (true, false) => format!("dry run: {words}"),
                (false, _) => words,
            },
        })
    }
}

/// What an entry tells of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Begun,
    Ended,
    Refused,
}

impl Step {
    fn code(self, kind: JobKind) -> &'static str {
        match (kind, self) {
            (JobKind::Redrive, Self::Begun) => "redrive_begun",
            (JobKind::Redrive, Self::Ended) => "redrive_ended",
            (JobKind::Redrive, Self::Refused) => "redrive_refused",
            (JobKind::Discard, Self::Begun) => "discard_begun",
            (JobKind::Discard, Self::Ended) => "discard_ended",
            (JobKind::Discard, Self::Refused) => "discard_refused",
            (JobKind::Replay, Self::Begun) => "replay_begun",
            (JobKind::Replay, Self::Ended) => "replay_ended",
            (JobKind::Replay, Self::Refused) => "replay_refused",
        }
    }
}

fn asked_in_words(order: &Order) -> String {
    let mut words = Vec::new();
    let mut say = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            words.push(format!("{name} {value}"));
        }
    };
    match order {
        Order::Redrive(request) | Order::Discard(request) => {
            let filter = &request.filter;
            say("class", filter.error_class.clone());
            say("since", filter.since.map(|at| at.to_string()));
            say("until", filter.until.map(|at| at.to_string()));
            let named = (!filter.ids.is_empty()).then(|| filter.ids.len().to_string());
            say("named", named);
            say("max", request.max.map(|max| max.to_string()));
        }
        Order::Replay(request) => {
            say("since", Some(request.since.to_string()));
            say("until", Some(request.until.to_string()));
            say("channel", request.channel.as_ref().map(ToString::to_string));
        }
        Order::Cancel { .. } => {}
    }
    words.join(", ")
}
