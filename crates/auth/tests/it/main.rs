//! Every rule for tokens, tried from outside: what is accepted, and for each rule what is refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod accepts;
mod claims;
mod files;
mod forge;
mod garbage;
mod minting;
mod operator;
mod remembers;
mod signatures;
