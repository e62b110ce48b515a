//! Positions: where a job goes on.
//!
//! In: a place in a walk. Out: its text in the job's row, and back. Always: a text that is no position is the
//! beginning: what was done is marked, and is not done again.

use carillon_schemas::{NotificationId, dead_letter::DeadLetterId};
use carillon_store::PageCursor;
use uuid::Uuid;

/// A place in a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    /// In the page that begins here, behind this letter.
    Page {
        cursor: Option<PageCursor>,
        after: Option<DeadLetterId>,
    },
    /// So many of the letters that were named are through.
    Named(usize),
}

impl Position {
    /// Where every walk over pages begins.
    pub(super) const BEGIN: Self = Self::Page {
        cursor: None,
        after: None,
    };

    /// Behind a page.
    pub(super) fn page(cursor: PageCursor) -> Self {
        Self::Page {
            cursor: Some(cursor),
            after: None,
        }
    }

    pub(super) fn to_text(self) -> String {
        match self {
            Self::Named(count) => format!("named:{count}"),
            Self::Page { cursor, after } => {
                let cursor = cursor.map_or_else(String::new, |cursor| {
                    let id = Uuid::from_bytes(*cursor.id.as_bytes());
                    format!("{}.{}", cursor.at_ms, id.simple())
                });
                let after = after.map_or_else(String::new, |after| after.to_string());
                format!("page:{cursor}:{after}")
            }
        }
    }

    pub(super) fn from_text(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        if kind == "named" {
            return Some(Self::Named(rest.parse().ok()?));
        }
        let (cursor, after) = rest.split_once(':').filter(|_| kind == "page")?;
        let cursor = match cursor {
            "" => None,
            text => {
                let (at_ms, id) = text.split_once('.')?;
                Some(PageCursor {
                    at_ms: at_ms.parse().ok()?,
                    id: NotificationId::from_bytes(id.parse::<Uuid>().ok()?.into_bytes()),
                })
            }
        };
        let after = match after {
            "" => None,
            text => Some(text.parse().ok()?),
        };
        Some(Self::Page { cursor, after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_position_reads_back_what_it_writes(
            cursor: Option<(u64, [u8; 16])>, after in prop::option::of((0i32.., 0i64..)), named: usize,
        ) {
            let cursor = cursor.map(|(at_ms, id)| PageCursor { at_ms, id: NotificationId::from_bytes(id) });
            let after = after.map(|(partition, offset)| DeadLetterId { partition, offset });
            for position in [Position::Page { cursor, after }, Position::Named(named)] {
                prop_assert_eq!(Position::from_text(&position.to_text()), Some(position));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}") {
            let _ = Position::from_text(&text);
        }
    }
}
