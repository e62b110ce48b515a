//! No text makes anything here panic, and none but a rightly signed one makes a principal.

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use carillon_auth::{AuthConfig, KeySource, Verifier, bearer, inspect, mint::SigningKey};
use proptest::{prelude::*, sample::Index};
use serde_json::{Map, Value, json};

use crate::forge::{NOW, Smith, clock, jwks, plain, verifier};

struct Fixture {
    smiths: [Smith; 4],
    verifier: Verifier,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let smiths = Smith::all();
    let verifier = verifier(smiths.iter().map(Smith::source));
    Fixture { smiths, verifier }
});

const NAMES: [&str; 18] = [
    "alg",
    "kid",
    "crit",
    "typ",
    "jwk",
    "jku",
    "x5c",
    "b64",
    "exp",
    "nbf",
    "iat",
    "sub",
    "tenant_id",
    "tid",
    "iss",
    "aud",
    "scope",
    "channels",
];

/// Any JSON, with what stands in tokens more likely than chance has it.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        (0..8u64).prop_map(|n| json!(NOW - 4 + n)),
        prop::sample::select(vec![
            "HS256", "RS256", "ES256", "EdDSA", "none", "tenant-a", "u1", "orders.*", "*", ""
        ])
        .prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,4}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = Map<String, Value>> {
    let name = prop_oneof![4 => prop::sample::select(NAMES.to_vec()).prop_map(String::from), 1 => ".{0,8}"];
    prop::collection::btree_map(name, value(), 0..8).prop_map(|map| map.into_iter().collect())
}

/// Whatever an unsigned text is, it is refused and printable.
fn refused(token: &str) {
    let refusal = FIXTURE.verifier.verify(token).unwrap_err();
    assert!(!refusal.to_string().is_empty() && !refusal.reason().is_empty());
}

proptest! {
    #[test]
    fn any_text_is_refused(text in "\\PC{0,200}") {
        refused(&text);
        let _ = (inspect(&text), bearer(&text));
    }

    #[test]
    fn any_bytes_that_are_text_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        refused(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn three_parts_of_anything_are_refused(parts in prop::collection::vec("[A-Za-z0-9_=-]{0,80}", 3)) {
        refused(&parts.join("."));
    }

    #[test]
    fn any_json_under_any_signature_is_refused(
        header in object(),
        claims in object(),
        signature in prop::collection::vec(any::<u8>(), 0..300),
        which in 0..4usize,
        named in any::<bool>(),
    ) {
        let smith = &FIXTURE.smiths[which];
        let mut header = header;
        if named {
            header.insert("alg".into(), json!(smith.name));
            header.remove("crit");
            header.insert("kid".into(), json!(smith.key.kid()));
        }
        let part = |map: Map<String, Value>| URL_SAFE_NO_PAD.encode(Value::Object(map).to_string());
        refused(&format!("{}.{}.{}", part(header), part(claims), URL_SAFE_NO_PAD.encode(&signature)));
    }

    #[test]
    fn signatures_of_the_right_length_are_refused(
        bytes in prop::collection::vec(any::<u8>(), 256),
        edge in prop::option::of(prop::sample::select(vec![0x00u8, 0xff])),
        which in 0..4usize,
    ) {
        let smith = &FIXTURE.smiths[which];
        let length = [32, 256, 64, 64][which];
        let bytes = edge.map_or(bytes, |byte| vec![byte; 256]);
        let token = smith.token(plain());
        let (signed, _) = token.rsplit_once('.').unwrap();
        refused(&format!("{signed}.{}", URL_SAFE_NO_PAD.encode(&bytes[..length])));
    }

    #[test]
    fn a_good_token_with_one_character_changed_is_refused(
        at in any::<Index>(),
        to in prop::sample::select(b"ABCxyz019-_.=".to_vec()),
        which in 0..4usize,
    ) {
        let token = FIXTURE.smiths[which].token(plain());
        let mut bytes = token.clone().into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        refused(&String::from_utf8(bytes).unwrap());
    }

    #[test]
    fn a_good_token_cut_or_repeated_anywhere_is_refused(at in any::<Index>(), which in 0..4usize) {
        let token = FIXTURE.smiths[which].token(plain());
        let at = at.index(token.len());
        refused(&token[..at]);
        if at > 0 {
            refused(&token[at..]);
        }
        refused(&format!("{}{token}", &token[..=at]));
    }

    #[test]
    fn signed_claims_of_any_kind_make_a_principal_only_within_the_rules(claims in object(), whole in any::<bool>()) {
        let mut all = if whole { plain().as_object().unwrap().clone() } else { Map::new() };
        all.extend(claims);
        let token = FIXTURE.smiths[0].token(Value::Object(all.clone()));
        if let Ok(principal) = FIXTURE.verifier.verify(&token) {
            prop_assert!(principal.expires() + 5 > NOW && principal.expires() <= NOW + 24 * 3600 + 5);
            prop_assert_eq!(all["sub"].as_str(), Some(principal.subject().as_str()));
            let tenant = ["tenant_id", "tid", "tenantId"].into_iter().find_map(|name| all.get(name).filter(|v| !v.is_null()));
            prop_assert_eq!(tenant.and_then(Value::as_str), Some(principal.tenant().as_str()));
            prop_assert!(all.get("aud").is_none_or(Value::is_null));
        }
    }

    #[test]
    fn no_key_text_makes_the_reader_panic(
        at in any::<Index>(),
        bytes in prop::collection::vec(any::<u8>(), 0..6),
        which in 1..4usize,
    ) {
        let key = &FIXTURE.smiths[which].key;
        let spoil = |text: &str| {
            let mut spoilt = text.as_bytes().to_vec();
            let from = at.index(spoilt.len());
            let to = (from + bytes.len()).min(spoilt.len());
            spoilt.splice(from..to, bytes.iter().map(|byte| b"AQgw/+8-\n \"{}[,:"[usize::from(byte % 16)]));
            String::from_utf8(spoilt).unwrap()
        };
        let _ = SigningKey::from_pem(&spoil(key.to_pem().unwrap()));
        let set = spoil(&jwks([key.public_jwk().unwrap().clone()]));
        for source in [KeySource::Pem(spoil(key.public_pem().unwrap())), KeySource::Jwks(set)] {
            let config = AuthConfig { keys: vec![source], ..AuthConfig::default() };
            let _ = Verifier::new(config, clock());
        }
    }
}
