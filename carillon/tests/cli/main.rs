//! The command line as its users meet it: the real binary, its exit codes, its output.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should say where"
)]

mod configuration;
mod help;
mod operating;
mod roles;
mod run;
mod schemas;
mod servers;
mod tokens;
mod topics;
mod up;
