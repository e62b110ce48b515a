//! What is refused before a claim is read: headers, keys, signatures.

use carillon_auth::{AuthConfig, AuthConfigError, AuthError, KeyError, KeySource, MAX_TOKEN_BYTES, Verifier};
use serde_json::{Value, json};

use crate::forge::{SECRET, Smith, clock, jwks, plain, plain_with, verifier};

fn refusal(keys: impl IntoIterator<Item = KeySource>, token: &str) -> AuthError {
    verifier(keys).verify(token).unwrap_err()
}

fn unusable(source: KeySource) -> KeyError {
    let config = AuthConfig {
        keys: vec![source],
        ..AuthConfig::default()
    };
    match Verifier::new(config, clock()) {
        Err(AuthConfigError::Key(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_token_signed_by_somebody_else_is_refused() {
    for (mine, other) in [
        (
            Smith::hs256(),
            Smith::with_secret(b"another secret of thirty-two bytes"),
        ),
        (Smith::es256(), Smith::es256()),
        (Smith::eddsa(), Smith::eddsa()),
    ] {
        assert_eq!(
            refusal([mine.source()], &other.token(plain())),
            AuthError::Signature
        );
    }
}

#[test]
fn claims_or_a_header_changed_after_signing_are_refused() {
    for smith in Smith::all() {
        let parts = |token: String| token.split('.').map(String::from).collect::<Vec<_>>();
        let good = parts(smith.token(plain()));
        let claims = parts(smith.token(plain_with("tenant_id", json!("tenant-b"))));
        let header = parts(smith.with_header("typ", json!("at+jwt")));
        for forged in [
            format!("{}.{}.{}", good[0], claims[1], good[2]),
            format!("{}.{}.{}", header[0], good[1], good[2]),
            format!("{}.{}.", good[0], good[1]),
            format!("{}.{}.{}A", good[0], good[1], good[2]),
            format!("{}.{}.{}=", good[0], good[1], good[2]),
        ] {
            assert_eq!(
                refusal([smith.source()], &forged),
                AuthError::Signature,
                "{}",
                smith.name
            );
        }
    }
}

#[test]
fn the_algorithm_none_is_refused_however_it_is_written() {
    let smith = Smith::hs256();
    for name in ["none", "None", "NONE", "nOnE", ""] {
        let signed = smith.forge(json!({"alg": name}), plain());
        let (unsigned, _) = signed.rsplit_once('.').unwrap();
        for token in [&signed, &format!("{unsigned}."), &format!("{unsigned}.e30")] {
            assert_eq!(refusal([smith.source()], token), AuthError::Algorithm, "{name}");
        }
    }
}

#[test]
fn an_algorithm_that_we_do_not_use_is_refused() {
    let smith = Smith::hs256();
    for name in [
        "HS384", "HS512", "RS384", "RS512", "PS256", "ES384", "ES512", "hs256", "HS256 ",
    ] {
        let token = smith.forge(json!({"alg": name}), plain());
        assert_eq!(refusal([smith.source()], &token), AuthError::Algorithm, "{name}");
    }
    for header in [
        json!({}),
        json!({"alg": null}),
        json!({"alg": 256}),
        json!({"alg": ["HS256"]}),
    ] {
        let token = smith.forge(header, plain());
        assert_eq!(refusal([smith.source()], &token), AuthError::Algorithm);
    }
}

#[test]
fn a_public_key_is_never_taken_for_a_shared_secret() {
    for owner in [Smith::rs256(), Smith::es256(), Smith::eddsa()] {
        let pem = owner.key.public_pem().unwrap();
        let jwk = owner.jwk(None).to_string();
        for secret in [pem, pem.trim(), &jwk] {
            let thief = Smith::with_secret(secret.as_bytes());
            let token = thief.token(plain());
            assert_eq!(refusal([owner.source()], &token), AuthError::UnknownKey);
            let named = thief.with_header("kid", json!(owner.key.kid()));
            assert_eq!(refusal([owner.source()], &named), AuthError::KeyAlgorithm);
            let beside = [owner.source(), Smith::hs256().source()];
            assert_eq!(refusal(beside, &token), AuthError::Signature);
        }
    }
}

#[test]
fn the_algorithm_is_that_of_the_key_and_not_of_the_header() {
    let smiths = [Smith::rs256(), Smith::es256(), Smith::eddsa()];
    for smith in &smiths {
        let set = || KeySource::Jwks(jwks([smith.jwk(Some("k1"))]));
        for other in ["HS256", "RS256", "ES256", "EdDSA"] {
            if other == smith.name {
                continue;
            }
            let named = smith.forge(json!({"alg": other, "kid": "k1"}), plain());
            assert_eq!(refusal([set()], &named), AuthError::KeyAlgorithm, "{other}");
            let unnamed = smith.forge(json!({"alg": other}), plain());
            assert_eq!(refusal([set()], &unnamed), AuthError::UnknownKey, "{other}");
        }
    }
}

#[test]
fn any_crit_header_is_refused() {
    let smith = Smith::hs256();
    for value in [json!(["exp"]), json!(["b64"]), json!([]), json!(null), json!("x")] {
        let token = smith.with_header("crit", value);
        assert_eq!(refusal([smith.source()], &token), AuthError::Critical);
    }
}

#[test]
fn keys_and_addresses_in_a_header_are_ignored() {
    for (owner, thief) in [
        (Smith::rs256(), Smith::es256()),
        (Smith::es256(), Smith::es256()),
        (Smith::eddsa(), Smith::eddsa()),
    ] {
        for (name, value) in [
            ("jwk", thief.jwk(None)),
            ("jku", json!("https://example.test/jwks.json")),
            ("x5u", json!("https://example.test/chain.pem")),
            ("x5c", json!(["MIIB"])),
        ] {
            let stolen = thief.with_header(name, value.clone());
            assert!(verifier([owner.source()]).verify(&stolen).is_err(), "{name}");
            let good = owner.with_header(name, value);
            assert!(verifier([owner.source()]).verify(&good).is_ok(), "{name}");
            // Not even looked at: a value of the wrong type changes nothing.
            let odd = owner.with_header(name, json!(7));
            assert!(verifier([owner.source()]).verify(&odd).is_ok(), "{name}");
        }
    }
}

#[test]
fn a_kid_of_other_characters_or_too_long_is_refused() {
    let smith = Smith::hs256();
    let long = "k".repeat(129);
    for kid in [
        "",
        "../../etc/passwd\0",
        "a b",
        "k'; --",
        "ü",
        "k\n",
        long.as_str(),
    ] {
        let token = smith.with_header("kid", json!(kid));
        assert_eq!(refusal([smith.source()], &token), AuthError::KeyId, "{kid:?}");
    }
    for kid in [json!(1), json!(["a"]), json!({}), json!(true)] {
        assert_eq!(
            refusal([smith.source()], &smith.with_header("kid", kid)),
            AuthError::KeyId
        );
    }
}

#[test]
fn an_unknown_kid_is_refused_and_no_named_key_is_tried_in_its_place() {
    let smith = Smith::eddsa();
    let set = KeySource::Jwks(jwks([smith.jwk(Some("k1"))]));
    let token = smith.with_header("kid", json!("k2"));
    assert_eq!(refusal([set], &token), AuthError::UnknownKey);
}

#[test]
fn a_token_that_is_missing_too_long_or_no_jwt_is_told_so() {
    let smith = Smith::hs256();
    let refusal = |token: &str| refusal([smith.source()], token);
    assert_eq!(refusal(""), AuthError::Missing);
    let long = smith.token(plain_with("pad", json!("x".repeat(MAX_TOKEN_BYTES))));
    assert_eq!(refusal(&long), AuthError::TooLong);
    let good = smith.token(plain());
    let spaced = format!(" {good}");
    let padded = good.replacen('.', "=.", 1);
    let five = format!("{good}.a.b");
    for bad in [
        "a",
        "a.b",
        "..",
        "a.b.c",
        "Bearer",
        &spaced,
        &padded,
        &five,
        "\u{0}.\u{0}.\u{0}",
    ] {
        assert_eq!(refusal(bad), AuthError::Malformed, "{bad:?}");
    }
    for (header, claims) in [
        ("[]", "{}"),
        ("{", "{}"),
        (r#"{"alg":"HS256"}"#, "[]"),
        (r#"{"alg":"HS256"}"#, ""),
    ] {
        assert_eq!(refusal(&smith.forge_text(header, claims)), AuthError::Malformed);
    }
}

#[test]
fn a_name_that_stands_twice_is_refused() {
    let smith = Smith::hs256();
    let claims = plain().to_string();
    let twice = claims.replacen('{', r#"{"tenant_id":"tenant-b","#, 1);
    let header = r#"{"alg":"HS256","alg":"HS256"}"#;
    for token in [
        smith.forge_text(r#"{"alg":"HS256"}"#, &twice),
        smith.forge_text(header, &claims),
    ] {
        assert_eq!(refusal([smith.source()], &token), AuthError::Malformed);
    }
}

#[test]
fn a_short_or_public_secret_makes_no_verifier() {
    let short = KeySource::Hs256Secret(SECRET[..31].to_vec());
    assert!(matches!(unusable(short), KeyError::SecretTooShort(31)));
    let pem = Smith::eddsa().key.public_pem().unwrap().as_bytes().to_vec();
    assert!(matches!(
        unusable(KeySource::Hs256Secret(pem)),
        KeyError::SecretIsPem
    ));
    let short = json!({"kty": "oct", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZQ"});
    assert!(matches!(
        unusable(KeySource::Jwks(jwks([short]))),
        KeyError::SecretTooShort(31)
    ));
}

#[test]
fn a_key_that_cannot_be_used_safely_makes_no_verifier() {
    let pem = |text: &str| unusable(KeySource::Pem(text.to_owned()));
    let smith = Smith::rs256();
    let private = smith.key.to_pem().unwrap();
    assert!(matches!(pem(""), KeyError::NoPem));
    assert!(matches!(pem("-----BEGIN PUBLIC KEY-----"), KeyError::NoPem));
    assert!(matches!(pem(private), KeyError::PrivateKey));
    assert!(matches!(
        pem(&private.replace("PRIVATE KEY", "CERTIFICATE")),
        KeyError::NotAPublicKey
    ));
    assert!(matches!(
        pem(&private.replace("PRIVATE", "PUBLIC")),
        KeyError::Unsupported | KeyError::RsaSize(_)
    ));
    let damaged = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----";
    assert!(matches!(pem(damaged), KeyError::Unsupported));
}

#[test]
fn a_set_that_cannot_be_used_safely_makes_no_verifier() {
    let set = |entries: Vec<Value>| unusable(KeySource::Jwks(jwks(entries)));
    let changed = |smith: &Smith, name: &str, value: Value| {
        let mut jwk = smith.jwk(Some("k"));
        jwk[name] = value;
        jwk
    };
    let (rsa, ec, ed) = (Smith::rs256(), Smith::es256(), Smith::eddsa());
    let secret = json!({"kty": "oct", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"});
    for text in [
        "",
        "[]",
        "{}",
        r#"{"keys":{}}"#,
        r#"{"keys":[1]}"#,
        r#"{"keys":[{}]}"#,
    ] {
        assert!(
            matches!(unusable(KeySource::Jwks(text.into())), KeyError::NotAJwks),
            "{text}"
        );
    }
    assert!(matches!(set(vec![]), KeyError::Empty));
    assert!(matches!(
        set(vec![changed(&ec, "use", json!("enc"))]),
        KeyError::Empty
    ));
    assert!(matches!(
        set(vec![changed(&ec, "key_ops", json!(["sign"]))]),
        KeyError::Empty
    ));
    assert!(matches!(
        set(vec![changed(&ed, "d", json!("AAAA"))]),
        KeyError::PrivateKey
    ));
    assert!(matches!(
        set(vec![rsa.jwk(None), secret]),
        KeyError::MixedFamilies
    ));
    let other = Smith::es256().jwk(Some("k"));
    assert!(matches!(
        set(vec![ec.jwk(Some("k")), other]),
        KeyError::DuplicateKid
    ));
    assert!(matches!(set(vec![ec.jwk(Some("a b"))]), KeyError::KeyId));
    assert!(matches!(
        set(vec![changed(&ec, "kid", json!(1))]),
        KeyError::KeyId
    ));
    assert!(matches!(
        set(vec![changed(&ec, "x", json!("AAAA"))]),
        KeyError::Unsupported
    ));
    assert!(matches!(
        set(vec![changed(&ed, "x", json!("AAAA"))]),
        KeyError::Unsupported
    ));
    assert!(matches!(
        set(vec![changed(&rsa, "n", json!("////"))]),
        KeyError::Unsupported
    ));
    assert!(matches!(
        set(vec![changed(&rsa, "n", json!("AQAB"))]),
        KeyError::RsaSize(17)
    ));
    assert!(matches!(
        set(vec![changed(&rsa, "e", json!("AQAA"))]),
        KeyError::Unsupported
    ));
    assert!(matches!(
        set(vec![changed(&rsa, "e", json!("AQ"))]),
        KeyError::Unsupported
    ));
    let many = (0..33)
        .map(|n| Smith::eddsa().jwk(Some(&n.to_string())))
        .collect();
    assert!(matches!(set(many), KeyError::TooMany(32)));
}

#[test]
fn no_refusal_repeats_what_the_token_said() {
    let smith = Smith::hs256();
    let canary = "canary-7f3a";
    let verifier = verifier([smith.source()]);
    for token in [
        smith.token(plain_with("tenant_id", json!(format!("{canary}.x")))),
        smith.token(plain_with("sub", json!(format!("{canary} x")))),
        smith.token(plain_with("aud", json!(canary))),
        smith.token(plain_with("channels", json!([canary, "**"]))),
        smith.with_header("kid", json!(format!("{canary} x"))),
        smith.forge(json!({"alg": canary}), plain()),
        format!("{canary}.{canary}.{canary}"),
    ] {
        let refusal = verifier.verify(&token).unwrap_err();
        let shown = format!("{refusal} {refusal:?} {verifier:?}");
        assert!(!shown.contains(canary) && !shown.contains(&token), "{shown}");
    }
    assert!(!format!("{verifier:?} {:?} {:?}", smith.source(), smith.key).contains("0123456789abcdef"));
}
