//! The product as a whole: its walls, and its roles together.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should say where")]

mod house;
mod walls;
