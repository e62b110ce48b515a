//! Letters: which of them a job is about, and what becomes of each.
//!
//! In: a letter's row and the job. Out: its fate. Always: pure; a letter that was handled is left as it is; one
//! that was put back in as often as allowed is parked.

use carillon_schemas::dead_letter::{DeadLetterFilter, DeadLetterRow, DeadLetterState, Job, JobKind};

/// How often a letter is put back in at most.
pub(super) const REDRIVES_MOST: u8 = 3;

/// What becomes of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is put back in, or thrown away.
    Move,
    /// It was put back in often enough.
    Park,
    /// It was handled before.
    Skip,
    /// This job moved it before a crash.
    Moved,
    /// This job parked it before a crash.
    Parked,
}

/// What becomes of a letter in a job.
pub(super) fn fate(row: &DeadLetterRow, job: &Job) -> Fate {
    let ours = row.job_id == Some(job.id);
    match (job.kind, row.state) {
        (JobKind::Redrive, DeadLetterState::Redriven) if ours => Fate::Moved,
        (JobKind::Redrive, DeadLetterState::Parked) if ours => Fate::Parked,
        (JobKind::Redrive, DeadLetterState::Waiting) if row.redrive_count >= REDRIVES_MOST => Fate::Park,
        (JobKind::Redrive, DeadLetterState::Waiting) => Fate::Move,
        (JobKind::Discard, DeadLetterState::Discarded) if ours => Fate::Moved,
        (JobKind::Discard, DeadLetterState::Waiting | DeadLetterState::Parked) => Fate::Move,
        _ => Fate::Skip,
    }
}

/// Whether a letter is one of those that were asked for.
pub(super) fn fits(row: &DeadLetterRow, filter: &DeadLetterFilter, created_at: u64) -> bool {
    let class = filter.error_class.as_deref();
    class.is_none_or(|class| row.error_class == class || row.error_code == class)
        && filter.since.is_none_or(|since| row.at >= since)
        && row.at < until(filter, created_at)
}

/// Letters that came after the job was asked for are not its: those that it put back in and that failed again
/// would be put back in again.
pub(super) fn until(filter: &DeadLetterFilter, created_at: u64) -> u64 {
    filter.until.unwrap_or(u64::MAX).min(created_at.saturating_add(1))
}

/// How many were moved or would be: what `max` bounds.
pub(super) fn taken(job: &Job) -> u64 {
    job.matched.saturating_sub(job.parked + job.skipped)
}

#[cfg(test)]
pub(super) mod sample {
    use std::collections::BTreeMap;

    use carillon_schemas::dead_letter::{DeadLetterId, JobState};

    use super::*;

    pub(in super::super) fn row(at: u64, offset: i64) -> DeadLetterRow {
        DeadLetterRow {
            id: DeadLetterId { partition: 0, offset },
            at,
            notification_id: None,
            channel: None,
            error_class: "permanent".to_owned(),
            error_code: "store_refused".to_owned(),
            error_message: String::new(),
            origin: String::new(),
            attempt: 1,
            redrive_count: 0,
            bytes: 1,
            state: DeadLetterState::Waiting,
            job_id: None,
        }
    }

    pub(in super::super) fn job(kind: JobKind) -> Job {
        Job {
            id: uuid::Uuid::from_u128(7),
            tenant_id: "acme".parse().unwrap(),
            kind,
            state: JobState::Running,
            dry_run: false,
            actor: None,
            created_at: 1_000,
            updated_at: 1_000,
            matched: 0,
            moved: 0,
            parked: 0,
            skipped: 0,
            by_code: BTreeMap::new(),
            position: None,
            detail: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_row() -> impl Strategy<Value = DeadLetterRow> {
        (0u8..6, 0usize..4, 0u8..3).prop_map(|(redrive_count, state, job)| DeadLetterRow {
            redrive_count,
            state: DeadLetterState::ALL[state],
            job_id: [
                None,
                Some(uuid::Uuid::from_u128(7)),
                Some(uuid::Uuid::from_u128(8)),
            ][usize::from(job)],
            ..sample::row(1, 1)
        })
    }

    proptest! {
        #[test]
        fn only_what_waits_is_put_back_in_and_only_three_times(row in any_row()) {
            let fate = fate(&row, &sample::job(JobKind::Redrive));
            let waits = row.state == DeadLetterState::Waiting;
            prop_assert_eq!(fate == Fate::Move, waits && row.redrive_count < REDRIVES_MOST);
            prop_assert_eq!(fate == Fate::Park, waits && row.redrive_count >= REDRIVES_MOST);
        }

        #[test]
        fn what_waits_or_is_parked_can_be_thrown_away(row in any_row()) {
            let fate = fate(&row, &sample::job(JobKind::Discard));
            let can = matches!(row.state, DeadLetterState::Waiting | DeadLetterState::Parked);
            prop_assert_eq!(fate == Fate::Move, can);
            prop_assert!(fate != Fate::Park);
        }
    }

    #[test]
    fn a_letter_that_this_job_moved_before_a_crash_is_not_moved_again() {
        let mut row = sample::row(1, 1);
        row.state = DeadLetterState::Redriven;
        row.job_id = Some(uuid::Uuid::from_u128(7));
        assert_eq!(fate(&row, &sample::job(JobKind::Redrive)), Fate::Moved);
        row.job_id = Some(uuid::Uuid::from_u128(8));
        assert_eq!(fate(&row, &sample::job(JobKind::Redrive)), Fate::Skip);
    }

    #[test]
    fn a_filter_is_by_class_or_code_and_time_and_ends_where_the_job_began() {
        let row = |at| sample::row(at, 1);
        let named = |name: &str| DeadLetterFilter {
            error_class: Some(name.to_owned()),
            ..DeadLetterFilter::default()
        };
        assert!(fits(&row(5), &named("permanent"), 1_000));
        assert!(fits(&row(5), &named("store_refused"), 1_000));
        assert!(!fits(&row(5), &named("too_large"), 1_000));
        let times = DeadLetterFilter {
            since: Some(10),
            until: Some(20),
            ..DeadLetterFilter::default()
        };
        let within: Vec<u64> = (0..30).filter(|at| fits(&row(*at), &times, 15)).collect();
        assert_eq!(within, (10..=15).collect::<Vec<_>>());
        assert_eq!(until(&times, 1_000), 20);
    }
}
