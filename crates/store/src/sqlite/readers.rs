//! Readers: a few connections, each for one read at a time.
//!
//! In: a read, as a closure. Out: its answer. Always: there are never more blocking threads than
//! connections; who finds none free waits up to the deadline; a connection whose read panicked is not used
//! again.

use std::{path::PathBuf, sync::Arc};

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{SqliteOptions, failure::store_error, settings};
use crate::StoreError;

/// The connections.
pub(super) struct Readers {
    path: Arc<PathBuf>,
    options: SqliteOptions,
    free: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    /// Opens the first connection; the others open when they are needed.
    pub(super) fn open(path: &Arc<PathBuf>, options: &SqliteOptions) -> Result<Self, StoreError> {
        Ok(Self {
            path: Arc::clone(path),
            options: options.clone(),
            free: Arc::new(Semaphore::new(options.readers.max(1))),
            idle: Arc::new(Mutex::new(vec![settings::open_reader(path, options)?])),
        })
    }

    /// Runs a read in a transaction of its own, so that all it sees is of one moment.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let work = async {
            let open = Arc::clone(&self.free);
            let free = Arc::clone(&open).acquire_owned().await;
            let free = free.map_err(|_| StoreError::Closed)?;
            let (path, options) = (Arc::clone(&self.path), self.options.clone());
            let idle = Arc::clone(&self.idle);
            let task = tokio::task::spawn_blocking(move || {
                let _free = free;
                let taken = idle.lock().pop();
                let mut connection = match taken {
                    Some(connection) => connection,
                    None => settings::open_reader(&path, &options)?,
                };
                let answer = in_transaction(&mut connection, read);
                if !open.is_closed() {
                    idle.lock().push(connection);
                }
                answer.map_err(|error| store_error(&path, &error))
            });
            task.await
                .map_err(|_| StoreError::Unavailable("a read panicked".to_owned()))?
        };
        match tokio::time::timeout(self.options.deadline, work).await {
            Ok(answer) => answer,
            Err(_) => Err(StoreError::Unavailable(
                "a read did not end within its deadline".to_owned(),
            )),
        }
    }

    /// Takes no more reads, and lets go of the connections.
    pub(super) fn close(&self) {
        self.free.close();
        self.idle.lock().clear();
    }
}

fn in_transaction<T>(
    connection: &mut Connection,
    read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = connection.transaction()?;
    let answer = read(&transaction)?;
    transaction.commit()?;
    Ok(answer)
}
