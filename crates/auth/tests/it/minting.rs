//! Minted tokens, and keys as they are written to files.

use carillon_auth::{
    AuthError, KeyError, KeySource, inspect,
    mint::{MintError, SigningKey},
};
use carillon_schemas::claims::Claims;
use p256::pkcs8::DecodePublicKey as _;
use serde_json::json;

use crate::forge::{NOW, SECRET, Smith, jwks, plain, verifier};

fn claims() -> Claims {
    serde_json::from_value(plain()).unwrap()
}

#[test]
fn a_minted_token_verifies_with_what_the_key_publishes() {
    for smith in Smith::all() {
        let token = smith.key.mint(&claims()).unwrap();
        assert!(
            verifier([smith.source()]).verify(&token).is_ok(),
            "{}",
            smith.name
        );
        if let Some(jwk) = smith.key.public_jwk() {
            assert!(
                verifier([KeySource::Jwks(jwks([jwk.clone()]))])
                    .verify(&token)
                    .is_ok()
            );
        }
        let seen = inspect(&token).unwrap();
        assert_eq!(seen.header["alg"], smith.name);
        assert_eq!(
            seen.header.get("kid").and_then(|kid| kid.as_str()),
            smith.key.kid()
        );
        assert_eq!(seen.claims, plain());
    }
}

#[test]
fn every_claim_that_is_minted_is_heeded() {
    let smith = Smith::eddsa();
    let claims = Claims {
        scope: Some("listen".into()),
        iss: Some("https://idp.test".into()),
        aud: Some("carillon".into()),
        jti: Some("t-1".into()),
        channels: Some(vec!["orders.*".into()]),
        ..claims()
    };
    let verifier = crate::forge::verifier_with([smith.source()], |config| {
        config.issuer = claims.iss.clone();
        config.audience = claims.aud.clone();
    });
    let principal = verifier.verify(&smith.key.mint(&claims).unwrap()).unwrap();
    assert_eq!(principal.scopes().to_string(), "listen");
    assert_eq!(principal.jti(), Some("t-1"));
    assert!(!principal.may_reach(&"alerts".parse().unwrap()));
    assert_eq!(principal.expires(), NOW + 3600);
}

#[test]
fn a_generated_key_survives_being_written_and_read() {
    let key = SigningKey::generate_ed25519().unwrap();
    let again = SigningKey::from_pem(key.to_pem().unwrap()).unwrap();
    assert_eq!(key.kid(), again.kid());
    assert_eq!(key.public_pem(), again.public_pem());
    assert_eq!(key.mint(&claims()).unwrap(), again.mint(&claims()).unwrap());
    assert_ne!(key.kid(), SigningKey::generate_ed25519().unwrap().kid());
}

#[test]
fn other_software_reads_the_public_keys_that_we_write() {
    let (rsa, ec) = (Smith::rs256(), Smith::es256());
    assert!(rsa::RsaPublicKey::from_public_key_pem(rsa.key.public_pem().unwrap()).is_ok());
    assert!(p256::PublicKey::from_public_key_pem(ec.key.public_pem().unwrap()).is_ok());
}

#[test]
fn rsa_keys_are_read_in_both_their_forms() {
    use rsa::{pkcs1::EncodeRsaPrivateKey, pkcs1::EncodeRsaPublicKey, pkcs8::DecodePrivateKey};
    let smith = Smith::rs256();
    let key = rsa::RsaPrivateKey::from_pkcs8_pem(smith.key.to_pem().unwrap()).unwrap();
    let old = SigningKey::from_pem(&key.to_pkcs1_pem(Default::default()).unwrap()).unwrap();
    assert_eq!(old.kid(), smith.key.kid());
    let public = key.to_public_key().to_pkcs1_pem(Default::default()).unwrap();
    assert!(
        verifier([KeySource::Pem(public)])
            .verify(&old.mint(&claims()).unwrap())
            .is_ok()
    );
}

#[test]
fn what_is_no_private_key_signs_nothing() {
    let smith = Smith::eddsa();
    let private = smith.key.to_pem().unwrap();
    for bad in [
        "",
        "not a key",
        smith.key.public_pem().unwrap(),
        &private.replace("PRIVATE", "ENCRYPTED PRIVATE"),
        &private.replace("PRIVATE", "EC PRIVATE"),
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
    ] {
        assert!(
            matches!(SigningKey::from_pem(bad), Err(MintError::NotAPrivateKey)),
            "{bad}"
        );
    }
    let short = SigningKey::from_hs256_secret(&SECRET[..31]);
    assert!(matches!(short, Err(MintError::Key(KeyError::SecretTooShort(31)))));
}

#[test]
fn a_shared_secret_publishes_nothing() {
    let key = SigningKey::from_hs256_secret(&SECRET).unwrap();
    assert!(key.to_pem().is_none() && key.public_pem().is_none());
    assert!(key.kid().is_none() && key.public_jwk().is_none());
}

#[test]
fn a_printed_key_shows_no_secret() {
    let smith = Smith::eddsa();
    let body = smith.key.to_pem().unwrap().lines().nth(1).unwrap().to_owned();
    assert!(!format!("{:?}", smith.key).contains(&body));
}

#[test]
fn inspection_shows_what_is_not_to_be_believed() {
    let smith = Smith::hs256();
    let forged = smith.forge(json!({"alg": "none", "crit": ["x"]}), json!({"sub": 7}));
    let seen = inspect(&format!("{forged}\n")).unwrap();
    assert_eq!(
        (&seen.header["alg"], &seen.claims["sub"]),
        (&json!("none"), &json!(7))
    );
    assert_eq!(inspect(""), Err(AuthError::Missing));
    assert_eq!(inspect("a.b.c"), Err(AuthError::Malformed));
}
