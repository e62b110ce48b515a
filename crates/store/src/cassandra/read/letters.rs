//! Dead letters, jobs and audit trails, as they are shown.
//!
//! In: a query, or a name. Out: a page, or a row. Always: a letter without its row, of which a mark alone is
//! there, is not there.

use carillon_schemas::{
    NotificationId,
    audit::AuditEntry,
    dead_letter::{DeadLetterId, DeadLetterRow, Job},
};
use uuid::Uuid;

use super::{Reader, read_id};
use crate::{
    AuditQuery, AuditResult, DeadLettersQuery, DeadLettersResult, PageCursor, StoreError,
    cassandra::{
        failure::corrupt,
        logs::{Log, Way, mark_of},
        partition::Shown,
        times::{from_column, hour, time},
    },
    kept,
};

/// A row of `dead_letters`: its place, the letter and its mark.
type LetterRow = (i64, i32, i64, Option<String>, Option<Vec<u8>>);

/// A row of `audit`: its place, its kind and the entry.
type EntryRow = (i64, Vec<u8>, String, String);

impl Reader<'_> {
    pub(in crate::cassandra) async fn dead_letters(
        &self,
        query: &DeadLettersQuery,
    ) -> Result<DeadLettersResult, StoreError> {
        let way = Way::of_log(query.oldest_first, query.cursor, query.since_ms, query.until_ms);
        let statements = &self.cluster.statements;
        let statement = match query.oldest_first {
            true => &statements.letters_oldest,
            false => &statements.letters,
        };
        let fetch = |hour, from: PageCursor, chunk| async move {
            let (partition, position) = kept::letter_place(from.id);
            let at = time(from.at_ms);
            let values = (self.tenant.as_str(), hour, at, partition, position, chunk);
            let rows: Vec<LetterRow> = self.cluster.rows("dead_letters", statement, values).await?;
            Ok(rows.into_iter().map(|row| (letter_place(&row), row)).collect())
        };
        let shown = self.letters_shown();
        let keep = |row: LetterRow| {
            let letter = letter(row, &shown)?;
            Ok(letter.filter(|letter| wanted(letter, query)))
        };
        let (rows, next) = self.page(Log::DeadLetters, way, query.limit, fetch, keep).await?;
        Ok(DeadLettersResult { rows, next })
    }

    pub(in crate::cassandra) async fn dead_letter(
        &self,
        id: DeadLetterId,
    ) -> Result<Option<DeadLetterRow>, StoreError> {
        let statements = &self.cluster.statements;
        let values = (self.tenant.as_str(), id.partition, id.offset);
        let place = self
            .cluster
            .rows("dead_letter_places", &statements.place_of_letter, values);
        let Some((at,)) = place.await?.into_iter().next() else {
            return Ok(None);
        };
        let hour = hour(from_column(at));
        let values = (self.tenant.as_str(), hour, at, id.partition, id.offset);
        let rows: Vec<LetterRow> = self
            .cluster
            .rows("dead_letters", &statements.one_letter, values)
            .await?;
        let row = rows.into_iter().next();
        row.map_or(Ok(None), |row| letter(row, &self.letters_shown()))
    }

    fn letters_shown(&self) -> Shown {
        let least = u64::try_from(kept::DEAD_LETTERS.as_millis()).unwrap_or(u64::MAX);
        Shown {
            now_ms: self.shown.now_ms,
            retention_ms: self.shown.retention_ms.max(least),
        }
    }

    pub(in crate::cassandra) async fn job(&self, id: Uuid) -> Result<Option<Job>, StoreError> {
        let values = (self.tenant.as_str(), &id.as_bytes()[..]);
        let statement = &self.cluster.statements.job;
        let rows: Vec<(Option<String>, Option<String>)> =
            self.cluster.rows("jobs", statement, values).await?;
        let texts = rows
            .into_iter()
            .flat_map(|(began, saved)| [began, saved])
            .flatten();
        let jobs = texts.map(|text| serde_json::from_str(&text).map_err(|error| corrupt("jobs", &error)));
        let jobs = jobs.collect::<Result<Vec<Job>, _>>()?;
        let stands = jobs.into_iter().max_by_key(kept::job_version);
        Ok(stands.filter(|job| self.shown.at(time(job.updated_at))))
    }

    pub(in crate::cassandra) async fn audit_trail(
        &self,
        query: &AuditQuery,
    ) -> Result<AuditResult, StoreError> {
        let way = Way::of_log(false, query.cursor, query.since_ms, query.until_ms);
        let statement = &self.cluster.statements.entries;
        let fetch = |hour, from: PageCursor, chunk| async move {
            let id = &from.id.as_bytes()[..];
            let values = (self.tenant.as_str(), hour, time(from.at_ms), id, chunk);
            let rows: Vec<EntryRow> = self.cluster.rows("audit", statement, values).await?;
            let placed = rows.into_iter().map(|row| {
                let at_ms = from_column(row.0);
                let id = read_id(row.1.clone())?;
                Ok((PageCursor { at_ms, id }, row))
            });
            placed.collect()
        };
        let keep = |(at, _, kind, entry): EntryRow| {
            let wanted = query.kind.is_none_or(|wanted| wanted.as_str() == kind);
            if !wanted || !self.shown.at(at) {
                return Ok(None);
            }
            let entry = serde_json::from_str::<AuditEntry>(&entry);
            entry.map(Some).map_err(|error| corrupt("audit", &error))
        };
        let (entries, next) = self.page(Log::Audit, way, query.limit, fetch, keep).await?;
        Ok(AuditResult { entries, next })
    }
}

fn letter_place((at, partition, offset, ..): &LetterRow) -> PageCursor {
    let id: NotificationId = kept::letter_id(DeadLetterId {
        partition: *partition,
        offset: *offset,
    });
    PageCursor {
        at_ms: from_column(*at),
        id,
    }
}

/// A letter as it was told, with what was done with it last.
fn letter(row: LetterRow, shown: &Shown) -> Result<Option<DeadLetterRow>, StoreError> {
    let (at, _, _, Some(letter), mark) = row else {
        return Ok(None);
    };
    if !shown.at(at) {
        return Ok(None);
    }
    let mut letter: DeadLetterRow =
        serde_json::from_str(&letter).map_err(|error| corrupt("dead_letters", &error))?;
    if let Some(mark) = mark {
        let (state, job) = mark_of(&mark)?;
        (letter.state, letter.job_id) = (state, Some(job));
    }
    Ok(Some(letter))
}

fn wanted(letter: &DeadLetterRow, query: &DeadLettersQuery) -> bool {
    let of_class = |class: &String| *class == letter.error_class || *class == letter.error_code;
    query.class.as_ref().is_none_or(of_class) && query.state.is_none_or(|state| state == letter.state)
}
