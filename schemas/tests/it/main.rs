//! The contracts against their golden files, and the generated schemas against the committed ones.

mod golden;
mod json_schema;
