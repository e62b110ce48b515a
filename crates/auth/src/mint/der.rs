//! DER, as far as key files need it (RFC 5280, 5958, 8017, 8410).
//!
//! In: numbers and points of keys. Out: the bytes that PEM wraps. Always: written, never parsed, one search for
//! the seed of an Ed25519 key apart.

/// `SEQUENCE { INTEGER 0, SEQUENCE { OID 1.3.101.112 }, OCTET STRING { OCTET STRING seed } }`
const ED25519_PRIVATE: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
/// `SEQUENCE { OID 1.3.101.112 }`
const ED25519: [u8; 7] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];
/// `SEQUENCE { OID id-ecPublicKey, OID prime256v1 }`
const P256: [u8; 21] = [
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07,
];
/// `SEQUENCE { OID rsaEncryption, NULL }`
const RSA: [u8; 15] = [
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];

/// PKCS#8 of an Ed25519 seed.
pub(super) fn ed25519_private(seed: &[u8; 32]) -> Vec<u8> {
    [&ED25519_PRIVATE[..], seed].concat()
}

/// The seed in a PKCS#8 Ed25519 key of either version.
pub(super) fn ed25519_seed(pkcs8: &[u8]) -> Option<[u8; 32]> {
    let before = &ED25519_PRIVATE[7..];
    let at = pkcs8.windows(before.len()).position(|window| window == before)?;
    pkcs8.get(at + before.len()..)?.first_chunk().copied()
}

/// The public key info of an Ed25519 key.
pub(super) fn ed25519_public(x: &[u8]) -> Vec<u8> {
    public(&ED25519, x)
}

/// The public key info of a P-256 key.
pub(super) fn p256_public(x: &[u8], y: &[u8]) -> Vec<u8> {
    public(&P256, &[&[0x04], x, y].concat())
}

/// The public key info of an RSA key.
pub(super) fn rsa_public(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let numbers = [unsigned(modulus), unsigned(exponent)].concat();
    public(&RSA, &tagged(0x30, &numbers))
}

fn public(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let bits = tagged(0x03, &[&[0x00], key].concat());
    tagged(0x30, &[algorithm, &bits].concat())
}

/// A number that is not negative: a zero byte before a first byte with the highest bit set.
fn unsigned(number: &[u8]) -> Vec<u8> {
    let first = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    let digits = &number[first..];
    let sign: &[u8] = if digits.first().is_none_or(|byte| byte & 0x80 != 0) {
        &[0]
    } else {
        &[]
    };
    tagged(0x02, &[sign, digits].concat())
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let first = length
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(length.len() - 1);
    let length = &length[first..];
    let mut out = vec![tag];
    if content.len() >= 0x80 {
        out.push(0x80 | length.len() as u8);
    }
    out.extend_from_slice(length);
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_short_below_128_and_long_from_there() {
        assert_eq!(tagged(4, &[])[..], [4, 0]);
        assert_eq!(tagged(4, &[9; 127])[..3], [4, 127, 9]);
        assert_eq!(tagged(4, &[9; 128])[..4], [4, 0x81, 128, 9]);
        assert_eq!(tagged(4, &[9; 300])[..5], [4, 0x82, 1, 44, 9]);
    }

    #[test]
    fn numbers_are_never_negative() {
        assert_eq!(unsigned(&[0, 0x7f]), [2, 1, 0x7f]);
        assert_eq!(unsigned(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(unsigned(&[]), [2, 1, 0]);
    }

    #[test]
    fn the_seed_is_found_in_both_versions_of_pkcs8() {
        let seed = [7; 32];
        let old = ed25519_private(&seed);
        assert_eq!(ed25519_seed(&old), Some(seed));
        let new = [
            &[0x30, 0x51, 0x02, 0x01, 0x01],
            &old[5..],
            &[0x81, 0x21, 0x00],
            &[1; 32],
        ]
        .concat();
        assert_eq!(ed25519_seed(&new), Some(seed));
        assert_eq!(ed25519_seed(&old[..40]), None);
    }
}
