//! Discarding: dead letters that nobody needs any more.
//!
//! In: letters. Out: the same, marked. Always: the records stay on the topic for as long as it keeps them.

use carillon_schemas::dead_letter::{DeadLetterRow, DeadLetterState};

use super::{
    Jobs,
    progress::{Halt, Progress},
    walk::Moved,
};

impl Jobs {
    pub(super) async fn discard(
        &self,
        rows: &[&DeadLetterRow],
        progress: &Progress<'_>,
    ) -> Result<Moved, Halt> {
        let marks = rows.iter().map(|row| (*row, DeadLetterState::Discarded));
        self.mark(marks, progress).await?;
        Ok(Moved {
            moved: rows.len() as u64,
            ..Moved::default()
        })
    }
}
