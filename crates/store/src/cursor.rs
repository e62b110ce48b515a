//! Page cursors: where the next page of a tenant's deliveries begins.
//!
//! In: a position and its tenant, or a client's text. Out: the other one.
//! Always: a text opens only for the tenant that it was sealed for (HMAC-SHA256, RFC 2104).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use carillon_schemas::{NotificationId, TenantId};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A position in a tenant's deliveries: the last row of a page. It has no text form of its own; only
/// [`PageKey`] writes and reads one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageCursor {
    /// The row's `accepted_at`, Unix milliseconds.
    pub at_ms: u64,
    /// The row's notification.
    pub id: NotificationId,
}

/// The text is no cursor that we handed out to this tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a page cursor of this tenant")]
pub struct PageCursorError;

/// The secret that binds page cursors to their tenant; the roles of a cluster share it.
#[derive(Clone)]
pub struct PageKey(Hmac<Sha256>);

const POSITION: usize = 8 + 16;
const TAG: usize = 16;
const PURPOSE: &[u8] = b"carillon page cursor 1\0";

impl PageKey {
    /// A key of any length; use at least 32 random bytes.
    pub fn new(secret: &[u8]) -> Self {
        match Hmac::new_from_slice(secret) {
            Ok(mac) => Self(mac),
            Err(_) => unreachable!("HMAC takes keys of every length"),
        }
    }

    /// The text of a position for its tenant: 54 characters of base64url.
    pub fn seal(&self, tenant: &TenantId, cursor: &PageCursor) -> String {
        let mut bytes = [0u8; POSITION + TAG];
        bytes[..8].copy_from_slice(&cursor.at_ms.to_be_bytes());
        bytes[8..POSITION].copy_from_slice(cursor.id.as_bytes());
        let tag = self.mac(tenant, &bytes[..POSITION]).finalize().into_bytes();
        bytes[POSITION..].copy_from_slice(&tag[..TAG]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The position behind a text.
    ///
    /// # Errors
    /// [`PageCursorError`] when it was not sealed with this key for this tenant.
    pub fn open(&self, tenant: &TenantId, text: &str) -> Result<PageCursor, PageCursorError> {
        let mut bytes = [0u8; POSITION + TAG + 2];
        let len = URL_SAFE_NO_PAD
            .decode_slice(text, &mut bytes)
            .map_err(|_| PageCursorError)?;
        if len != POSITION + TAG {
            return Err(PageCursorError);
        }
        let (position, tag) = bytes[..len].split_at(POSITION);
        self.mac(tenant, position)
            .verify_truncated_left(tag)
            .map_err(|_| PageCursorError)?;
        let (at, id) = position.split_at(8);
        Ok(PageCursor {
            at_ms: u64::from_be_bytes(at.try_into().map_err(|_| PageCursorError)?),
            id: NotificationId::from_bytes(id.try_into().map_err(|_| PageCursorError)?),
        })
    }

    fn mac(&self, tenant: &TenantId, position: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(PURPOSE);
        mac.update(position);
        mac.update(tenant.as_str().as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tenant(text: &str) -> TenantId {
        text.parse().unwrap()
    }

    proptest! {
        #[test]
        fn a_sealed_cursor_opens_for_its_tenant_and_its_key_only(at_ms: u64, id: [u8; 16], secret: [u8; 32]) {
            let cursor = PageCursor { at_ms, id: NotificationId::from_bytes(id) };
            let key = PageKey::new(&secret);
            let text = key.seal(&tenant("a"), &cursor);
            prop_assert_eq!(key.open(&tenant("a"), &text), Ok(cursor));
            prop_assert_eq!(key.open(&tenant("b"), &text), Err(PageCursorError));
            prop_assert_eq!(PageKey::new(b"another").open(&tenant("a"), &text), Err(PageCursorError));
        }

        #[test]
        fn a_changed_character_spoils_a_cursor(at in 0usize..54, to in "[A-Za-z0-9_-]") {
            let key = PageKey::new(b"secret");
            let cursor = PageCursor { at_ms: 7, id: NotificationId::from_bytes([9; 16]) };
            let text = key.seal(&tenant("a"), &cursor);
            let mut changed = text.clone();
            changed.replace_range(at..=at, &to);
            prop_assert!(changed == text || key.open(&tenant("a"), &changed).is_err());
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,80}") {
            prop_assert!(PageKey::new(b"secret").open(&tenant("a"), &text).is_err());
        }
    }
}
