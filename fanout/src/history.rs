//! History: ranges of the deliveries topic, for those who come with an older cursor.
//!
//! In: a shard and two offsets. Out: a page of deliveries, decoded once.
//! Always: those who ask for the same place at the same time share one read; pages are bounded, and so is
//! how many are held.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use carillon_bus::{BusError, RangePage, RangeReader};
use carillon_schemas::{CollapseKey, Stream, TenantId};
use parking_lot::Mutex;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use crate::{
    FanoutConfig,
    metrics::RoleMetrics,
    receipts::{Identity, Tally},
    record::{open, tenant_of},
    resume::Latest,
};

/// Dead entries are swept when there are more than this.
const SWEEP_ABOVE: usize = 64;

/// One delivery of the past.
pub(crate) struct Entry {
    /// Its place.
    pub(crate) offset: i64,
    /// Whose it is.
    pub(crate) tenant: TenantId,
    /// Its stream.
    pub(crate) stream: Stream,
    /// The rest.
    pub(crate) past: Past,
}

/// What a session that catches up gets, or does not.
#[derive(Clone)]
pub(crate) struct Past {
    /// The delivery's bytes.
    pub(crate) delivery: Bytes,
    /// Not to be delivered at or after this moment, Unix milliseconds.
    pub(crate) expires_at: Option<u64>,
    /// A newer one of its stream with this key takes its place.
    pub(crate) collapse_key: Option<CollapseKey>,
    /// Who took it.
    pub(crate) tally: Arc<Tally>,
}

/// What a read found, of every tenant of the shard.
#[derive(Default)]
pub(crate) struct Page {
    /// In offset order; records that reach nobody are left out.
    pub(crate) entries: Vec<Entry>,
    /// Where to go on.
    pub(crate) next: i64,
    /// The oldest offset that could be read.
    pub(crate) earliest: i64,
    /// What the store said about the collapse keys in here, by stream.
    latest: Mutex<HashMap<(TenantId, Stream), SharedLatest>>,
}

impl Page {
    /// Where the store's answer about a stream's keys is kept for those who share this page.
    pub(crate) fn latest_of(&self, tenant: &TenantId, stream: &Stream) -> SharedLatest {
        let mut latest = self.latest.lock();
        let of = (tenant.clone(), stream.clone());
        Arc::clone(latest.entry(of).or_default())
    }
}

/// The store's answer about a stream's keys, shared by those who hold the page.
type SharedLatest = Arc<OnceCell<Latest>>;

/// Where a page begins: shard and offset.
type At = (u16, i64);

/// A page, shared while somebody holds it.
pub(crate) type SharedPage = Arc<OnceCell<Page>>;

/// Reads history.
pub(crate) struct History {
    reader: RangeReader,
    figures: Arc<RoleMetrics>,
    page_bytes: usize,
    deadline: Duration,
    turns: Semaphore,
    pages: Mutex<HashMap<At, Weak<OnceCell<Page>>>>,
}

impl History {
    /// Reads through this reader.
    pub(crate) fn new(reader: RangeReader, config: &FanoutConfig, figures: Arc<RoleMetrics>) -> Self {
        Self {
            reader,
            figures,
            page_bytes: config.resume_page_bytes,
            deadline: config.resume_deadline,
            turns: Semaphore::new(config.resume_concurrency),
            pages: Mutex::default(),
        }
    }

    /// A turn: whoever holds a page has one. `None` never happens while the node lives.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }

    /// The records from `from`, up to `to` or as many as a page holds.
    ///
    /// # Errors
    /// When Kafka does not answer in time.
    pub(crate) async fn page(&self, shard: u16, from: i64, to: i64) -> Result<SharedPage, BusError> {
        let cell = self.cell((shard, from));
        cell.get_or_try_init(|| self.read(shard, from, to)).await?;
        Ok(cell)
    }

    fn cell(&self, key: At) -> SharedPage {
        let mut pages = self.pages.lock();
        if let Some(cell) = pages.get(&key).and_then(Weak::upgrade) {
            return cell;
        }
        if pages.len() > SWEEP_ABOVE {
            pages.retain(|_, cell| cell.strong_count() > 0);
        }
        let cell = SharedPage::default();
        pages.insert(key, Arc::downgrade(&cell));
        cell
    }

    async fn read(&self, shard: u16, from: i64, to: i64) -> Result<Page, BusError> {
        self.figures.range_reads.inc();
        let read = self
            .reader
            .read(i32::from(shard), from, to, self.page_bytes, self.deadline);
        read.await.map(decode)
    }
}

fn decode(page: RangePage) -> Page {
    let entries = page.records.iter().filter_map(|record| {
        let tenant = tenant_of(record).ok()?;
        let opened = open(record, &tenant).ok()?;
        let tally = Tally::new(Identity {
            tenant: tenant.clone(),
            id: opened.id,
            which: opened.which,
        });
        Some(Entry {
            offset: record.offset,
            tenant,
            stream: opened.stream,
            past: Past {
                delivery: opened.value.clone(),
                expires_at: opened.expires_at,
                collapse_key: opened.collapse_key,
                tally,
            },
        })
    });
    Page {
        entries: entries.collect(),
        next: page.next,
        earliest: page.earliest,
        latest: Mutex::default(),
    }
}
