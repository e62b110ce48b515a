//! The cluster as the store asks it: so many statements at once, and no call beyond its deadline.
//!
//! In: statements with their values. Out: rows. Always: what is on its way is bounded; what waits for room waits
//! no longer than its caller's deadline; after closing, nothing begins.

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};
use scylla::{
    client::session::Session,
    deserialize::row::DeserializeRow,
    response::{PagingState, query_result::QueryResult},
    serialize::row::SerializeRow,
    statement::{
        batch::{Batch, BatchStatement, BatchType},
        prepared::PreparedStatement,
    },
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

use super::{
    failure::{corrupt, store_error},
    meters::Meters,
    statements::Statements,
};
use crate::StoreError;

/// A session with its statements and bounds.
pub(super) struct Cluster {
    pub(super) session: Session,
    pub(super) statements: Statements,
    pub(super) meters: Meters,
    /// Statements on their way. None free: wait, up to the caller's deadline.
    pub(super) room: Arc<Semaphore>,
    /// How many statements one call has on their way, so that it leaves room to others.
    pub(super) lanes: usize,
}

impl Cluster {
    /// Sends a statement and gives its answer's first page.
    pub(super) async fn execute(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<QueryResult, StoreError> {
        self.page(statement, &values, PagingState::start())
            .await
            .map(|(answer, _)| answer)
    }

    async fn page(
        &self,
        statement: &PreparedStatement,
        values: &impl SerializeRow,
        from: PagingState,
    ) -> Result<(QueryResult, Option<PagingState>), StoreError> {
        let _on_its_way = self.enter().await?;
        let answer = self.session.execute_single_page(statement, values, from).await;
        let (answer, next) = answer.map_err(|error| store_error(&error))?;
        Ok((answer, next.into_paging_control_flow().continue_value()))
    }

    /// Every row that a statement finds, page by page. For what is bounded: a partition of a notification, or
    /// a statement with a limit.
    pub(super) async fn rows<R>(
        &self,
        table: &str,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<Vec<R>, StoreError>
    where
        R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
    {
        let mut found = Vec::new();
        let mut from = Some(PagingState::start());
        while let Some(at) = from {
            let (answer, next) = self.page(statement, &values, at).await?;
            let rows = answer
                .into_rows_result()
                .map_err(|error| corrupt(table, &error))?;
            for row in rows.rows::<R>().map_err(|error| corrupt(table, &error))? {
                found.push(row.map_err(|error| corrupt(table, &error))?);
            }
            from = next;
        }
        Ok(found)
    }

    /// Writes rows of one partition: alone, or together as an unlogged batch, which is one write to it.
    pub(super) async fn write_partition<R: SerializeRow>(
        &self,
        statement: &PreparedStatement,
        rows: &[R],
    ) -> Result<(), StoreError> {
        if let [row] = rows {
            return self.execute(statement, row).await.map(|_| ());
        }
        let _on_its_way = self.enter().await?;
        let statements = vec![BatchStatement::from(statement.clone()); rows.len()];
        let mut batch = Batch::new_with_statements(BatchType::Unlogged, statements);
        batch.set_is_idempotent(true);
        let written = self.session.batch(&batch, rows).await;
        written.map(|_| ()).map_err(|error| store_error(&error))
    }

    /// Writes two rows of one partition by two statements, together.
    pub(super) async fn write_both(
        &self,
        (first, a): (&PreparedStatement, impl SerializeRow),
        (second, b): (&PreparedStatement, impl SerializeRow),
    ) -> Result<(), StoreError> {
        let _on_its_way = self.enter().await?;
        let statements = [first, second].map(|statement| BatchStatement::from(statement.clone()));
        let mut batch = Batch::new_with_statements(BatchType::Unlogged, statements.to_vec());
        batch.set_is_idempotent(true);
        let written = self.session.batch(&batch, (a, b)).await;
        written.map(|_| ()).map_err(|error| store_error(&error))
    }

    /// Does all of it, several at once; ends with the first that fails, without what it had not begun.
    pub(super) async fn all<F>(&self, each: impl Iterator<Item = F>) -> Result<(), StoreError>
    where
        F: Future<Output = Result<(), StoreError>>,
    {
        stream::iter(each.map(Ok))
            .try_for_each_concurrent(self.lanes, |work| work)
            .await
    }

    /// The same, with answers in their order.
    pub(super) async fn answers<T, F>(&self, each: impl Iterator<Item = F>) -> Result<Vec<T>, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        stream::iter(each).buffered(self.lanes).try_collect().await
    }

    async fn enter(&self) -> Result<OnItsWay<'_>, StoreError> {
        let permit = match self.room.try_acquire() {
            Ok(permit) => permit,
            Err(_) => {
                let _waiting = Counted::new(&self.meters.waiting);
                self.room.acquire().await.map_err(|_| StoreError::Closed)?
            }
        };
        Ok(OnItsWay {
            began: Instant::now(),
            meters: &self.meters,
            _counted: Counted::new(&self.meters.in_flight),
            _permit: permit,
        })
    }
}

/// A call's end, at the latest.
pub(super) async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(deadline, call).await {
        Ok(answer) => answer,
        Err(_) => Err(StoreError::Unavailable(format!(
            "no answer within {deadline:?}; what was written of it is safe to repeat"
        ))),
    }
}

/// A statement on its way. Ends when its future does, cancelled or not.
struct OnItsWay<'a> {
    began: Instant,
    meters: &'a Meters,
    _counted: Counted<'a>,
    _permit: SemaphorePermit<'a>,
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        self.meters
            .statement_seconds
            .observe(self.began.elapsed().as_secs_f64());
    }
}

/// One more on a gauge, for as long as it lives.
struct Counted<'a>(&'a carillon_chassis::metrics::IntGauge);

impl<'a> Counted<'a> {
    fn new(gauge: &'a carillon_chassis::metrics::IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
