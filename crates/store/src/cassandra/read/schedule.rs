//! What is due.
//!
//! In: a partition and a moment. Out: the notifications that are due, with their payloads. Always: in the order
//! in which they are due, however long ago; a minute that is past and empty is forgotten, and one into which
//! something is put at that moment is not.

use bytes::Bytes;
use carillon_schemas::TenantId;

use super::{Reader, read_id};
use crate::{
    Due, Scheduled, StoreError,
    cassandra::{
        cluster::Cluster,
        failure::corrupt,
        partition::{self, Shown},
        times::{from_column, latest_wins, minute, time},
    },
};

/// Minutes that are asked for at once.
const MINUTES: i32 = 64;

/// How long after its end an empty minute is forgotten. What is put into it in the second half of this time is
/// kept, so clocks may differ by the first half.
const FORGOTTEN_AFTER_MS: u64 = 10 * 60_000;

/// A row of `scheduled`.
type Place = (i64, String, Vec<u8>);

/// What is due of a partition.
pub(in crate::cassandra) async fn due(
    cluster: &Cluster,
    shown: Shown,
    partition: i32,
    due_ms: u64,
    limit: u32,
) -> Result<Vec<Due>, StoreError> {
    let (limit, newest) = (limit as usize, minute(due_ms));
    let mut places = Vec::new();
    let mut from = 0;
    while places.len() < limit {
        let values = (partition, from, newest, MINUTES);
        let statement = &cluster.statements.minutes;
        let minutes: Vec<(i32,)> = cluster.rows("scheduled_minutes", statement, values).await?;
        for (at,) in &minutes {
            let wanted = limit - places.len();
            if wanted == 0 {
                break;
            }
            let found = of_minute(cluster, partition, *at, due_ms, wanted).await?;
            if found.is_empty() {
                forget(cluster, &shown, partition, *at).await?;
            }
            places.extend(found);
        }
        let Some((last,)) = minutes.last().filter(|_| minutes.len() == MINUTES as usize) else {
            break;
        };
        from = last.saturating_add(1);
    }
    let each = places.into_iter().map(|place| whole(cluster, &shown, place));
    cluster.answers(each).await
}

async fn of_minute(
    cluster: &Cluster,
    partition: i32,
    minute: i32,
    due_ms: u64,
    wanted: usize,
) -> Result<Vec<Scheduled>, StoreError> {
    let limit = i32::try_from(wanted).unwrap_or(i32::MAX);
    let values = (partition, minute, time(due_ms), limit);
    let rows: Vec<Place> = cluster.rows("scheduled", &cluster.statements.due, values).await?;
    let places = rows.into_iter().map(|(due_at, tenant, id)| {
        let tenant: TenantId = tenant.parse().map_err(|error| corrupt("scheduled", &error))?;
        Ok(Scheduled {
            partition,
            due_at_ms: from_column(due_at),
            tenant,
            id: read_id(id)?,
        })
    });
    places.collect()
}

/// Forgets a minute that was found empty, unless something may just be put into it.
async fn forget(cluster: &Cluster, shown: &Shown, partition: i32, minute: i32) -> Result<(), StoreError> {
    let end = (i64::from(minute) + 1).unsigned_abs() * 60_000;
    if end + FORGOTTEN_AFTER_MS > shown.now_ms {
        return Ok(());
    }
    let written = latest_wins(end + FORGOTTEN_AFTER_MS / 2);
    let values = (written, partition, minute);
    let statement = &cluster.statements.forget_minute;
    cluster.execute(statement, values).await.map(|_| ())
}

/// A place with its payload and what is known of it.
async fn whole(cluster: &Cluster, shown: &Shown, place: Scheduled) -> Result<Due, StoreError> {
    let reader = Reader {
        cluster,
        tenant: &place.tenant,
        shown: *shown,
    };
    let rows = reader.rows(place.id).await?;
    let head = partition::head(rows.iter().map(partition::NotificationRow::fact), shown)?;
    let bytes = match head {
        Some(_) => partition::payload_bytes(rows),
        None => None,
    };
    Ok(Due {
        bytes: bytes.map(Bytes::from),
        head,
        place,
    })
}
