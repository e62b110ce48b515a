//! From a token to a principal: who acts, for which tenant, and what they may do.
//!
//! In: a bearer token's text and the configured keys. Out: a [`Principal`], or one of a closed list of refusals.
//! Always: the algorithm comes from the key and never from the token; a [`Principal`] can only be made by a
//! [`Verifier`], or openly by [`Principal::unauthenticated`]; no token text stands in an error or a log.

mod access;
mod bearer;
mod cache;
mod channels;
mod config;
mod error;
mod inspect;
mod keys;
pub mod mint;
mod object;
mod principal;
mod rules;
mod token;
mod verifier;

pub use access::Access;
pub use bearer::bearer;
pub use config::{AuthConfig, KeySource};
pub use error::{AuthConfigError, AuthError, KeyError};
pub use inspect::{Inspection, inspect};
pub use principal::Principal;
pub use token::MAX_TOKEN_BYTES;
pub use verifier::Verifier;
