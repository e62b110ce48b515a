//! The client against a server that follows a script: what it says, what it does with what it hears.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should say where"
)]

mod listening;
mod operating;
mod publishing;
mod script;
