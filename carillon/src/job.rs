//! Jobs as the command line watches them: from the 202 to the end.
//!
//! In: a job that was asked for. Out: how it stands, again and again, and how it ended. Always: a refused job fails
//! the command; to stop watching stops no job.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, IsTerminal, Write},
    time::Duration,
};

use anyhow::{Result, bail};
use carillon_client::{Api, ClientError};
use carillon_schemas::{
    dead_letter::{Job, JobKind, JobState},
    problem::ProblemCode,
};
use tokio::time::Instant;

use crate::{
    client::explain,
    output::{self, Format, plain},
};

/// How often a job is looked at.
const EVERY: Duration = Duration::from_millis(500);
/// How long a server may fail to say how a job stands.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether a job is watched.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct WatchArgs {
    /// Do not wait for the end of the job; it goes on by itself.
    #[arg(long)]
    no_wait: bool,
}

impl WatchArgs {
    /// Watches a job to its end and shows it.
    ///
    /// # Errors
    /// A job that ends refused, and a server that does not say for a minute how it stands.
    pub(crate) async fn watch(self, api: &Api, asked: Job, format: Format) -> Result<()> {
        if self.no_wait {
            return match format {
                Format::Json => output::json(&asked),
                Format::Text => output::line(format_args!("{} {} runs", name(asked.kind), asked.id)),
            };
        }
        let job = to_its_end(api, asked).await?;
        match format {
            Format::Json => output::json(&job)?,
            Format::Text => show(&job)?,
        }
        if job.state == JobState::Refused {
            let why = job.detail.as_deref().unwrap_or("no reason was given");
            bail!("the {} was refused: {}", name(job.kind), plain(why));
        }
        Ok(())
    }
}

async fn to_its_end(api: &Api, mut job: Job) -> Result<Job> {
    let mut progress = Progress::default();
    let mut heard = Instant::now();
    while job.state == JobState::Running {
        tokio::time::sleep(EVERY).await;
        match api.job(&job.tenant_id, job.kind, job.id).await {
            Ok(now) => {
                heard = Instant::now();
                job = now;
                progress.tell(&job);
            }
            Err(error) if may_pass(&error) && heard.elapsed() < PATIENCE => {}
            Err(error) if is_absent(&error) => bail!(
                "no router has taken the {} {} for {} s: is a router running?",
                name(job.kind),
                job.id,
                PATIENCE.as_secs()
            ),
            Err(error) => return Err(explain(error)),
        }
    }
    progress.end();
    Ok(job)
}

fn may_pass(error: &ClientError) -> bool {
    error.is_temporary() || is_absent(error)
}

/// The job is not in the store yet.
fn is_absent(error: &ClientError) -> bool {
    let absent = [ProblemCode::NotYetVisible, ProblemCode::NotFound];
    error
        .problem()
        .is_some_and(|problem| absent.contains(&problem.code))
}

/// One line that is written over, on terminals only.
#[derive(Default)]
struct Progress {
    told: bool,
}

impl Progress {
    fn tell(&mut self, job: &Job) {
        let mut err = io::stderr().lock();
        if err.is_terminal() {
            self.told = true;
            let waits = job.detail.as_deref().map(|why| format!(" ({})", plain(why)));
            let waits = waits.unwrap_or_default();
            // Nobody can be told that standard error is gone.
            write!(err, "\r\u{1b}[K{} {}{waits}", name(job.kind), counts(job)).unwrap_or_default();
            err.flush().unwrap_or_default();
        }
    }

    fn end(&self) {
        if self.told {
            write!(io::stderr().lock(), "\r\u{1b}[K").unwrap_or_default();
        }
    }
}

fn show(job: &Job) -> Result<()> {
    let state = match job.state {
        JobState::Running => "runs",
        JobState::Done if job.dry_run => "counted, nothing moved",
        JobState::Done => "done",
        JobState::Refused => "refused",
    };
    output::line(format_args!(
        "{} {} {state}: {}",
        name(job.kind),
        job.id,
        counts(job)
    ))?;
    by_code(&job.by_code)
}

fn by_code(codes: &BTreeMap<String, u64>) -> Result<()> {
    let mut rows: Vec<_> = codes.iter().collect();
    rows.sort_by_key(|(code, count)| (std::cmp::Reverse(**count), (*code).clone()));
    rows.into_iter()
        .try_for_each(|(code, count)| output::line(format_args!("{count:>8}  {}", plain(code))))
}

/// What became of how many.
fn counts(job: &Job) -> String {
    let moved = match job.kind {
        JobKind::Redrive => "put back in",
        JobKind::Discard => "thrown away",
        JobKind::Replay => "dispatched again",
    };
    let mut text = format!("{} matched, {} {moved}", job.matched, job.moved);
    for (count, what) in [(job.parked, "parked"), (job.skipped, "left out")] {
        if count > 0 {
            write!(text, ", {count} {what}").unwrap_or_default();
        }
    }
    text
}

fn name(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Redrive => "redrive",
        JobKind::Discard => "discard",
        JobKind::Replay => "replay",
    }
}
