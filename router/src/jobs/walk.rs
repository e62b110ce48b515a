//! The walk over dead letters, oldest first.
//!
//! In: a filter and a position. Out: each letter that fits, once, in steps of the job's pace. Always: counts and
//! position are saved together; what lies between the saved position and a crash is looked at again, and its
//! mark says what was done.

use std::collections::HashSet;

use carillon_schemas::dead_letter::{
    DeadLetterId, DeadLetterRow, DeadLetterState, Job, JobKind, RedriveRequest,
};
use carillon_store::{DeadLetterMark, DeadLettersQuery};
use tokio::time::Instant;

use super::{
    Jobs,
    letters::{Fate, fate, fits, taken, until},
    pace::Pace,
    position::Position,
    progress::{Halt, Progress},
};

/// Letters by name that are looked up before the position moves on.
const NAMED_AT_ONCE: usize = 100;

/// What a step did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) moved: u64,
    pub(super) parked: u64,
    /// No longer on the topic, or not what the index says.
    pub(super) skipped: u64,
}

/// Letters, each with where the walk stands behind it.
struct Page {
    rows: Vec<(DeadLetterRow, Position)>,
    next: Option<Position>,
}

/// What a step is to do.
#[derive(Default)]
struct Step<'a> {
    go: Vec<&'a DeadLetterRow>,
    park: Vec<&'a DeadLetterRow>,
    /// As many were taken as were asked for.
    full: bool,
}

impl Jobs {
    /// Every letter that fits.
    pub(super) async fn walk(
        &self,
        request: &RedriveRequest,
        progress: &mut Progress<'_>,
    ) -> Result<(), Halt> {
        let mut pace = Pace::new(request.rate_per_second, Instant::now());
        let begin = match request.filter.ids.is_empty() {
            true => Position::BEGIN,
            false => Position::Named(0),
        };
        let mut position = progress.position().unwrap_or(begin);
        loop {
            let page = self.page(request, position, &pace, progress).await?;
            let most = if progress.job.dry_run {
                usize::MAX
            } else {
                pace.step()
            };
            for rows in page.rows.chunks(most) {
                let full = self.step(request, rows, &mut pace, progress).await?;
                if let Some((_, behind)) = rows.last() {
                    progress.at(*behind).await?;
                }
                if full {
                    return Ok(());
                }
                progress.until(pace.next()).await?;
            }
            let Some(next) = page.next else { return Ok(()) };
            progress.at(next).await?;
            position = next;
        }
    }

    /// The letters from a position on.
    async fn page(
        &self,
        request: &RedriveRequest,
        position: Position,
        pace: &Pace,
        progress: &Progress<'_>,
    ) -> Result<Page, Halt> {
        let (cursor, after) = match position {
            Position::Named(from) => return self.named(request, from, progress).await,
            Position::Page { cursor, after } => (cursor, after),
        };
        let job = &progress.job;
        let query = DeadLettersQuery {
            limit: pace.page(),
            cursor,
            oldest_first: true,
            class: request.filter.error_class.clone(),
            state: None,
            since_ms: request.filter.since,
            until_ms: Some(until(&request.filter, job.created_at)),
        };
        let found = progress
            .store(|| self.store.dead_letters(&job.tenant_id, &query))
            .await?;
        let behind = |row: DeadLetterRow| {
            let after = Some(row.id);
            (row, Position::Page { cursor, after })
        };
        Ok(Page {
            rows: rest(found.rows, after).into_iter().map(behind).collect(),
            next: found.next.map(Position::page),
        })
    }

    async fn named(
        &self,
        request: &RedriveRequest,
        from: usize,
        progress: &Progress<'_>,
    ) -> Result<Page, Halt> {
        let ids = once_each(&request.filter.ids);
        let to = ids.len().min(from.saturating_add(NAMED_AT_ONCE));
        let mut rows = Vec::new();
        for (at, id) in ids.iter().enumerate().take(to).skip(from) {
            let tenant = &progress.job.tenant_id;
            let found = progress.store(|| self.store.dead_letter(tenant, *id)).await?;
            rows.extend(found.map(|row| (row, Position::Named(at + 1))));
        }
        Ok(Page {
            rows,
            next: (to < ids.len()).then_some(Position::Named(to)),
        })
    }

    /// One step, counted when it is done. Says whether as many were taken as were asked for.
    async fn step(
        &self,
        request: &RedriveRequest,
        rows: &[(DeadLetterRow, Position)],
        pace: &mut Pace,
        progress: &mut Progress<'_>,
    ) -> Result<bool, Halt> {
        let mut job = progress.job.clone();
        let step = count(request, rows, &mut job);
        if !job.dry_run {
            let moved = match job.kind {
                JobKind::Discard => self.discard(&step.go, progress).await?,
                _ => self.redrive_letters(&step.go, &step.park, progress).await?,
            };
            job.moved += moved.moved;
            job.parked += moved.parked;
            job.skipped += moved.skipped;
            pace.moved(step.go.len(), Instant::now());
        }
        progress.job = job;
        Ok(step.full)
    }

    /// Marks letters as done with by this job.
    pub(super) async fn mark(
        &self,
        letters: impl IntoIterator<Item = (&DeadLetterRow, DeadLetterState)>,
        progress: &Progress<'_>,
    ) -> Result<(), Halt> {
        let job = &progress.job;
        let marked_at_ms = self.clock.unix_ms();
        let marks: Vec<_> = letters
            .into_iter()
            .map(|(row, state)| DeadLetterMark {
                id: row.id,
                at_ms: row.at,
                state,
                job: job.id,
                marked_at_ms,
            })
            .collect();
        if marks.is_empty() {
            return Ok(());
        }
        progress
            .store(|| self.store.mark_dead_letters(&job.tenant_id, &marks))
            .await
    }
}

/// What a step is to do with these; counts what needs nothing more.
fn count<'a>(request: &RedriveRequest, rows: &'a [(DeadLetterRow, Position)], job: &mut Job) -> Step<'a> {
    let mut step = Step::default();
    // Of those that are to go, none is counted as left out yet.
    for (row, _) in rows {
        if !fits(row, &request.filter, job.created_at) {
            continue;
        }
        let fate = fate(row, job);
        if fate == Fate::Move
            && request
                .max
                .is_some_and(|max| taken(job) >= max + step.park.len() as u64)
        {
            step.full = true;
            break;
        }
        job.matched += 1;
        *job.by_code.entry(row.error_code.clone()).or_default() += 1;
        match fate {
            Fate::Move => step.go.push(row),
            Fate::Park if job.dry_run => job.parked += 1,
            Fate::Park => step.park.push(row),
            Fate::Skip => job.skipped += 1,
            Fate::Moved => job.moved += 1,
            Fate::Parked => job.parked += 1,
        }
    }
    step
}

/// What stands behind a letter that the walk came to; everything, when that one is gone.
fn rest(mut rows: Vec<DeadLetterRow>, after: Option<DeadLetterId>) -> Vec<DeadLetterRow> {
    if let Some(at) = rows.iter().position(|row| Some(row.id) == after) {
        rows.drain(..=at);
    }
    rows
}

/// The names without repetitions, in their order.
fn once_each(ids: &[DeadLetterId]) -> Vec<DeadLetterId> {
    let mut seen = HashSet::new();
    ids.iter().copied().filter(|id| seen.insert(*id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::letters::sample;
    use proptest::prelude::*;

    fn rows(states: &[(DeadLetterState, u8)]) -> Vec<(DeadLetterRow, Position)> {
        let row = |(at, (state, redrive_count)): (usize, &(DeadLetterState, u8))| {
            let mut row = sample::row(at as u64, at as i64);
            (row.state, row.redrive_count) = (*state, *redrive_count);
            (row, Position::BEGIN)
        };
        states.iter().enumerate().map(row).collect()
    }

    proptest! {
        #[test]
        fn a_dry_run_counts_what_a_real_run_moves(
            states in prop::collection::vec((0usize..4, 0u8..5), 0..40), max in prop::option::of(0u64..10), step in 1usize..7,
        ) {
            let states: Vec<_> = states.into_iter().map(|(at, n)| (DeadLetterState::ALL[at], n)).collect();
            let rows = rows(&states);
            let request = RedriveRequest { max, ..RedriveRequest::default() };
            let mut dry = sample::job(JobKind::Redrive);
            dry.dry_run = true;
            count(&request, &rows, &mut dry);
            let mut real = sample::job(JobKind::Redrive);
            for rows in rows.chunks(step) {
                let step = count(&request, rows, &mut real);
                real.moved += step.go.len() as u64;
                real.parked += step.park.len() as u64;
                if step.full { break }
            }
            prop_assert_eq!((dry.matched, dry.parked, dry.skipped), (real.matched, real.parked, real.skipped));
            prop_assert_eq!(real.matched, real.moved + real.parked + real.skipped);
            prop_assert_eq!(dry.matched - dry.parked - dry.skipped, real.moved);
            prop_assert_eq!(real.by_code.values().sum::<u64>(), real.matched);
            prop_assert!(max.is_none_or(|max| real.moved <= max));
        }
    }

    #[test]
    fn a_walk_goes_on_behind_the_letter_it_came_to_and_again_when_that_is_gone() {
        let rows: Vec<_> = (0..4).map(|at| sample::row(at, at as i64)).collect();
        assert_eq!(rest(rows.clone(), Some(rows[1].id)), rows[2..]);
        assert_eq!(rest(rows.clone(), None), rows);
        let gone = DeadLetterId {
            partition: 9,
            offset: 9,
        };
        assert_eq!(rest(rows.clone(), Some(gone)), rows);
    }

    #[test]
    fn a_letter_that_is_named_twice_is_meant_once() {
        let [a, b] = [1, 2].map(|offset| DeadLetterId { partition: 0, offset });
        assert_eq!(once_each(&[b, a, b, a]), [b, a]);
    }
}
