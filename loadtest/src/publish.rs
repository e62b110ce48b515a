//! Publishing at a rate that does not wait for answers (open loop).
//!
//! In: a rate, a duration, a number of connections. Out: posts, each carrying its intended send time.
//! Always: a post that starts late still carries the time at which it should have started, so that a stall
//! of the server shows in the latencies instead of hiding them.
//!
//! Each connection has a thread that sleeps until its next post is due and then writes: the kernel's timers
//! wake it within some tens of microseconds, where the runtime's tick in whole milliseconds. What the timer
//! added is part of the outcome.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use hdrhistogram::Histogram;

use crate::{
    http::{BlockingConnection, post},
    server::Tenant,
};

/// What the text of a measured notification begins with; nanoseconds since the run's start follow.
pub const STAMP: &str = "t=";

/// How far behind its plan a post may be and still be sent. It bounds a run that the server cannot keep up with.
const BEHIND: Duration = Duration::from_secs(10);

/// An open-loop run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// `host:port` of ingest.
    pub host: String,
    /// Who publishes.
    pub tenants: Vec<Tenant>,
    /// Channels, used in turn. The nth is the nth tenant's, counted round.
    pub channels: Vec<String>,
    /// Posts per second over all connections.
    pub rate: u32,
    /// How long.
    pub length: Duration,
    /// Connections that share the posts, a thread for each.
    pub connections: u32,
    /// Length of the content in bytes.
    pub content: usize,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Posts answered 202.
    pub accepted: u64,
    /// Posts answered otherwise.
    pub refused: u64,
    /// Posts given up because the run was too far behind.
    pub unsent: u64,
    /// The first answer that was no 202.
    pub refusal: Option<String>,
    /// How late a free connection began its post, in nanoseconds: what the timer adds to the latencies.
    pub late: Histogram<u64>,
}

impl Outcome {
    fn new() -> Result<Self> {
        Ok(Self {
            accepted: 0,
            refused: 0,
            unsent: 0,
            refusal: None,
            late: Histogram::new(3)?,
        })
    }

    fn add(&mut self, other: Self) -> Result<()> {
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.unsent += other.unsent;
        self.refusal = self.refusal.take().or(other.refusal);
        self.late.add(other.late)?;
        Ok(())
    }

    /// The outcome, when no post was answered otherwise than 202.
    ///
    /// # Errors
    /// When one was; says what the first such answer was.
    pub fn unrefused(self) -> Result<Self> {
        let refusal = self.refusal.as_deref().unwrap_or_default();
        ensure!(
            self.refused == 0,
            "{} posts were refused, the first with {refusal}",
            self.refused
        );
        Ok(self)
    }
}

/// Runs the plan; `start` is the moment that the stamps count from.
///
/// # Errors
/// When a connection fails.
pub async fn run(plan: &Plan, start: Instant) -> Result<Outcome> {
    ensure!(
        plan.rate > 0 && plan.connections > 0 && !plan.channels.is_empty() && !plan.tenants.is_empty(),
        "rate, connections, channels and tenants must be at least 1"
    );
    let plan = plan.clone();
    tokio::task::spawn_blocking(move || run_threads(&plan, start)).await?
}

fn run_threads(plan: &Plan, start: Instant) -> Result<Outcome> {
    let connections: Vec<_> = (0..plan.connections)
        .map(|_| BlockingConnection::open(&plan.host))
        .collect::<Result<_>>()?;
    let begun = Instant::now();
    let mut total = Outcome::new()?;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..plan.connections)
            .zip(connections)
            .map(|(number, connection)| {
                let publisher = Publisher {
                    plan,
                    number,
                    begun,
                    start,
                };
                scope.spawn(move || publisher.run(connection))
            })
            .collect();
        threads.into_iter().try_for_each(|thread| {
            let outcome = thread.join().map_err(|_| anyhow!("a publisher panicked"))?;
            total.add(outcome?)
        })
    })?;
    Ok(total)
}

/// One connection's share of a run.
struct Publisher<'a> {
    plan: &'a Plan,
    number: u32,
    begun: Instant,
    start: Instant,
}

impl Publisher<'_> {
    fn run(&self, mut connection: BlockingConnection) -> Result<Outcome> {
        let mut outcome = Outcome::new()?;
        let interval = Duration::from_secs(1) / self.plan.rate;
        for nth in (self.number..).step_by(self.plan.connections as usize) {
            let after = interval * nth;
            if after >= self.plan.length {
                break;
            }
            let due = self.begun + after;
            let request = self.request(nth, due.duration_since(self.start));
            if let Some(late) = sleep_until(due) {
                outcome.late.record(late.as_nanos() as u64)?;
            }
            if due.elapsed() > BEHIND {
                outcome.unsent += 1;
                continue;
            }
            let status = connection.send(&request).context("a post")?;
            if status == 202 {
                outcome.accepted += 1;
            } else {
                outcome.refused += 1;
                let body = String::from_utf8_lossy(connection.body()).into_owned();
                outcome.refusal.get_or_insert(format!("{status}: {body}"));
            }
        }
        Ok(outcome)
    }

    fn request(&self, nth: u32, stamp: Duration) -> Vec<u8> {
        let plan = self.plan;
        let number = nth as usize % plan.channels.len();
        let (channel, tenant) = (&plan.channels[number], &plan.tenants[number % plan.tenants.len()]);
        let stamp = format!("{STAMP}{} ", stamp.as_nanos());
        let padding = "x".repeat(plan.content.saturating_sub(stamp.len()));
        let (name, token) = (&tenant.name, &tenant.token);
        let body = format!(r#"{{"tenant_id":"{name}","channel":"{channel}","content":"{stamp}{padding}"}}"#);
        post(&plan.host, "/v1/notifications", Some(token), &body)
    }
}

/// Sleeps until a moment, and says by how much that was overslept; `None` when the moment had passed.
fn sleep_until(due: Instant) -> Option<Duration> {
    let left = due.checked_duration_since(Instant::now())?;
    thread::sleep(left);
    Some(due.elapsed())
}

/// The stamp inside a frame's content, since the run's start.
pub fn stamp_of(frame: &str) -> Option<Duration> {
    let (_, rest) = frame.split_once(STAMP)?;
    let (nanos, _) = rest.split_once(' ')?;
    nanos.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> Tenant {
        Tenant {
            name: name.to_owned(),
            token: format!("token-of-{name}"),
        }
    }

    fn plan() -> Plan {
        Plan {
            host: "127.0.0.1:1".to_owned(),
            tenants: ["x", "y", "z"].map(tenant).to_vec(),
            channels: vec!["a".to_owned(), "b".to_owned()],
            rate: 100,
            length: Duration::from_secs(1),
            connections: 1,
            content: 60,
        }
    }

    #[test]
    fn a_post_carries_its_intended_time_and_has_the_planned_length() {
        let now = Instant::now();
        let plan = plan();
        let publisher = Publisher {
            plan: &plan,
            number: 0,
            begun: now,
            start: now,
        };
        let stamp = Duration::from_nanos(1_234_567);
        let request = String::from_utf8(publisher.request(3, stamp)).unwrap();
        assert_eq!(stamp_of(&request), Some(stamp));
        assert!(request.contains(r#""channel":"b""#), "{request}");
        assert!(
            request.contains(r#""tenant_id":"y""#) && request.contains("token-of-y"),
            "{request}"
        );
        let content = request.split(r#""content":""#).nth(1).unwrap();
        assert_eq!(content.trim_end_matches("\"}").len(), plan.content);
    }

    #[test]
    fn a_text_without_a_stamp_has_none() {
        for text in ["", "t=", "t=12", "t=x 1", "no stamp"] {
            assert_eq!(stamp_of(text), None, "{text}");
        }
    }

    #[test]
    fn a_refused_post_fails_the_run_with_the_answer() {
        let mut outcome = Outcome::new().unwrap();
        outcome.accepted = 9;
        assert_eq!(outcome.clone().unrefused().unwrap().accepted, 9);
        outcome.refused = 2;
        outcome.refusal = Some("503: overloaded".to_owned());
        let error = outcome.unrefused().unwrap_err().to_string();
        assert_eq!(error, "2 posts were refused, the first with 503: overloaded");
    }

    #[tokio::test]
    async fn a_plan_without_posts_is_refused() {
        let mut plan = plan();
        plan.rate = 0;
        assert!(run(&plan, Instant::now()).await.is_err());
    }
}
