//! The contracts against their golden files, and the generated schemas against the committed ones.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod golden;
mod json_schema;
