//! The schema of the SQLite file.
use std::path::Path;

use crate::{
    StoreError,
    config::{Checked, Migrated},
};

pub(crate) fn migrate_file(_: &Path) -> Result<Migrated, StoreError> {
    unimplemented!()
}

pub(crate) fn check_file(_: &Path) -> Result<Checked, StoreError> {
    unimplemented!()
}
