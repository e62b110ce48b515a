//! Producer ids: a number for every idempotent producer, never given twice.
//!
//! In: a request for one. Out: the next number. Always: a block of numbers is on disk as used before the first
//! of it is given out, so that a crash skips some and repeats none.

use std::path::PathBuf;

use parking_lot::Mutex;

use crate::{disk, error::BrokerError};

const BLOCK: i64 = 1_000;

/// Gives out producer ids.
pub(crate) struct ProducerIds {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    next: i64,
    /// Ids below this one may be given out.
    reserved: i64,
}

impl ProducerIds {
    /// Goes on behind every block that was ever reserved.
    pub(crate) fn open(path: PathBuf) -> Result<Self, BrokerError> {
        let next = match disk::read_if_present(&path)? {
            None => 0,
            Some(bytes) => {
                String::from_utf8_lossy(&bytes)
                    .trim()
                    .parse()
                    .map_err(|_| BrokerError::Metadata {
                        path: path.clone(),
                        reason: "it holds one number".to_owned(),
                    })?
            }
        };
        Ok(Self {
            path,
            state: Mutex::new(State { next, reserved: next }),
        })
    }

    /// The next id. Blocks once in a thousand times.
    pub(crate) fn next(&self) -> Result<i64, BrokerError> {
        let mut state = self.state.lock();
        if state.next == state.reserved {
            let reserved = state.reserved + BLOCK;
            disk::write_atomically(&self.path, reserved.to_string().as_bytes())
                .map_err(BrokerError::io("write", &self.path))?;
            state.reserved = reserved;
        }
        state.next += 1;
        Ok(state.next - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_is_given_twice_over_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let mut last = -1;
        for _ in 0..3 {
            let ids = ProducerIds::open(dir.path().join("producer-ids")).unwrap();
            for _ in 0..1_500 {
                let id = ids.next().unwrap();
                assert!(id > last);
                last = id;
            }
        }
    }
}
