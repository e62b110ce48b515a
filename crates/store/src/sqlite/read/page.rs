//! A page: which of a query's rows it holds, and where the next one begins.
//!
//! In: rows in the order of their places. Out: those that are wanted, and the place after which the next page begins,
//! if there is one. Always: the rows that it looks at, those that it holds and their bytes are bounded.

use carillon_schemas::limits;
use rusqlite::{Row, Rows};

use crate::{PageCursor, kept};

/// Rows that a page looks at, at most, for each row that it may hold.
const SCAN_PER_ROW: usize = 20;

/// Reads a page of at most `limit` rows. `read` gives the place of each row, and the row when it is wanted; `weigh`
/// what it weighs, in bytes.
pub(super) fn page<T>(
    mut found: Rows<'_>,
    limit: u32,
    weigh: impl Fn(&T) -> usize,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<(PageCursor, Option<T>)>,
) -> rusqlite::Result<(Vec<T>, Option<PageCursor>)> {
    let limit = limit.clamp(1, limits::PAGE_ROWS) as usize;
    let (mut rows, mut last) = (Vec::new(), None);
    let (mut scanned, mut bytes) = (0, 0);
    while let Some(row) = found.next()? {
        if rows.len() == limit || scanned == limit * SCAN_PER_ROW || bytes >= kept::PAGE_BYTES {
            return Ok((rows, last));
        }
        scanned += 1;
        let (place, wanted) = read(row)?;
        last = Some(place);
        bytes += wanted.as_ref().map_or(0, &weigh);
        rows.extend(wanted);
    }
    Ok((rows, None))
}
