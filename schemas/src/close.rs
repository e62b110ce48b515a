//! Close codes of a WebSocket: the range itself says whether to come back.
//!
//! In: why a session ends. Out: the code and its reason text.
//! Always: 4000–4499 means reconnect (with the last cursors), 4500–4999 means do not.

/// Why the server closes a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CloseCode {
    /// The node is going away.
    Draining = 4000,
    /// Another node owns this tenant's sessions.
    Moved = 4001,
    /// The token's `exp` passed.
    TokenExpired = 4002,
    /// The peer reads too slowly.
    SlowConsumer = 4003,
    /// No pong came in time.
    NoPong = 4004,
    /// Too many inbound frames.
    TooManyFrames = 4005,
    /// The credential is missing, wrong or expired at connect.
    BadCredential = 4500,
    /// The session asked for another tenant's things.
    Forbidden = 4501,
    /// Broken frames, or too many malformed messages.
    ProtocolViolation = 4502,
    /// The tenant is suspended.
    TenantSuspended = 4503,
    /// The client asked for a protocol version that is not spoken here.
    UnsupportedVersion = 4504,
}

impl CloseCode {
    /// Every code.
    pub const ALL: [Self; 11] = [
        Self::Draining,
        Self::Moved,
        Self::TokenExpired,
        Self::SlowConsumer,
        Self::NoPong,
        Self::TooManyFrames,
        Self::BadCredential,
        Self::Forbidden,
        Self::ProtocolViolation,
        Self::TenantSuspended,
        Self::UnsupportedVersion,
    ];

    /// The number on the wire.
    pub fn number(self) -> u16 {
        self as u16
    }

    /// The reason text beside it.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Moved => "moved",
            Self::TokenExpired => "token expired",
            Self::SlowConsumer => "slow consumer",
            Self::NoPong => "no pong",
            Self::TooManyFrames => "too many frames",
            Self::BadCredential => "bad credential",
            Self::Forbidden => "forbidden",
            Self::ProtocolViolation => "protocol violation",
            Self::TenantSuspended => "tenant suspended",
            Self::UnsupportedVersion => "unsupported version",
        }
    }
}

/// Whether a client that was closed with this number should come back.
///
/// Numbers outside 4500–4999 (also those of RFC 6455 itself) mean yes.
pub fn should_reconnect(number: u16) -> bool {
    !(4500..5000).contains(&number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_says_whether_to_come_back() {
        for code in CloseCode::ALL {
            assert_eq!(should_reconnect(code.number()), code.number() < 4500, "{code:?}");
        }
        assert!(should_reconnect(1006));
    }
}
