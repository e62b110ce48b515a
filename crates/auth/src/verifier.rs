//! The verifier (signatures first, bodies follow).
use carillon_chassis::clock::Clock;

use crate::{AuthConfig, AuthConfigError, AuthError, Principal};

/// Longest accepted token in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Turns tokens into principals. `Send + Sync`: share it as an `Arc`.
#[derive(Debug)]
pub struct Verifier {}

impl Verifier {
    /// A verifier of this configuration.
    ///
    /// # Errors
    /// [`AuthConfigError`] when a key cannot be used or the parts contradict each other.
    pub fn new(_config: AuthConfig, _clock: Clock) -> Result<Self, AuthConfigError> {
        unimplemented!()
    }

    /// The principal that this token speaks for. Remembered by the token's hash until it ends.
    ///
    /// # Errors
    /// [`AuthError`] says which rule the token breaks.
    pub fn verify(&self, _token: &str) -> Result<Principal, AuthError> {
        unimplemented!()
    }
}
