//! The records of dead letters, from the dead-letter topic.
//!
//! In: letters by name. Out: their records, where the topic still has them. Always: a record that is not what the
//! index says (another tenant's, another notification: the topic was made anew) counts as gone.

use std::{collections::HashMap, time::Duration};

use carillon_bus::Record;
use carillon_schemas::{
    TenantId,
    dead_letter::{DeadLetterId, DeadLetterRow},
    headers,
};

use super::{
    Jobs,
    progress::{Halt, Progress},
};
use crate::hold::Dependency;

/// Letters with fewer records of others between them than this are read at once.
const GAP: i64 = 16;
/// Most bytes of one read; one record may be larger.
const BYTES: usize = 4 * 1024 * 1024;
/// How long one read may take.
const DEADLINE: Duration = Duration::from_secs(5);

impl Jobs {
    /// The records of letters, in their order; `None` where there is none any more.
    pub(super) async fn raw(
        &self,
        rows: &[&DeadLetterRow],
        progress: &Progress<'_>,
    ) -> Result<Vec<Option<Record>>, Halt> {
        let mut found = HashMap::new();
        for (partition, from, to) in ranges(rows.iter().map(|row| row.id)) {
            self.range(partition, from, to, &mut found, progress).await?;
        }
        let tenant = &progress.job.tenant_id;
        let of = |row: &&DeadLetterRow| found.remove(&row.id).filter(|record| is_of(record, row, tenant));
        Ok(rows.iter().map(of).collect())
    }

    async fn range(
        &self,
        partition: i32,
        mut from: i64,
        to: i64,
        found: &mut HashMap<DeadLetterId, Record>,
        progress: &Progress<'_>,
    ) -> Result<(), Halt> {
        let mut attempts = progress.attempts();
        while from < to {
            match self.letters.read(partition, from, to, BYTES, DEADLINE).await {
                Ok(page) => {
                    // The partition ends before them.
                    let ended = page.next <= from;
                    from = page.next;
                    for record in page.records {
                        let offset = record.offset;
                        found.insert(DeadLetterId { partition, offset }, record);
                    }
                    if ended {
                        return Ok(());
                    }
                }
                Err(error) => {
                    progress
                        .wait(&mut attempts, Dependency::Kafka, &error.to_string())
                        .await?;
                }
            }
        }
        Ok(())
    }
}

/// Partition, first offset and the one behind the last, of reads that have every letter.
fn ranges(letters: impl Iterator<Item = DeadLetterId>) -> Vec<(i32, i64, i64)> {
    let mut letters: Vec<_> = letters.collect();
    letters.sort_unstable();
    let mut ranges: Vec<(i32, i64, i64)> = Vec::new();
    for DeadLetterId { partition, offset } in letters {
        match ranges.last_mut() {
            Some((last, _, to)) if *last == partition && offset <= to.saturating_add(GAP) => {
                *to = (*to).max(offset.saturating_add(1));
            }
            _ => ranges.push((partition, offset, offset.saturating_add(1))),
        }
    }
    ranges
}

fn is_of(record: &Record, row: &DeadLetterRow, tenant: &TenantId) -> bool {
    let same_id = match (row.notification_id, record.headers.text(headers::ID)) {
        (Some(id), Some(text)) => text.parse() == Ok(id),
        _ => true,
    };
    same_id && record.headers.text(headers::TENANT) == Some(tenant.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{jobs::letters::sample as letters, work::sample};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_letter_is_in_one_range_and_ranges_are_no_wider_than_they_must(
            places in prop::collection::vec((0i32..3, 0i64..200), 0..40),
        ) {
            let ids: Vec<_> = places.iter().map(|&(partition, offset)| DeadLetterId { partition, offset }).collect();
            let ranges = ranges(ids.iter().copied());
            for id in &ids {
                let has = |&&(p, from, to): &&(i32, i64, i64)| p == id.partition && (from..to).contains(&id.offset);
                prop_assert_eq!(ranges.iter().filter(has).count(), 1);
            }
            let width: i64 = ranges.iter().map(|(_, from, to)| to - from).sum();
            prop_assert!(width <= ids.len() as i64 * (GAP + 1));
        }
    }

    #[test]
    fn a_record_of_another_tenant_or_notification_is_not_the_letter() {
        let tenant: TenantId = "acme".parse().unwrap();
        let mut record = sample::record("acme", 1);
        let mut row = letters::row(1, 1);
        assert!(is_of(&record, &row, &tenant));
        row.notification_id = Some("019a0000-0000-7000-8000-000000000001".parse().unwrap());
        assert!(is_of(&record, &row, &tenant));
        record
            .headers
            .set(headers::ID, "019a0000-0000-7000-8000-000000000002");
        assert!(!is_of(&record, &row, &tenant));
        assert!(!is_of(&sample::record("globex", 1), &letters::row(1, 1), &tenant));
    }
}
