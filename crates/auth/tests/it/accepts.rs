//! What is accepted, so that no refusal elsewhere passes for the wrong reason.

use carillon_auth::{KeySource, Principal};
use carillon_schemas::claims::{Scope, Scopes};
use serde_json::json;

use crate::forge::{NOW, Smith, judge, jwks, plain, plain_with, verifier, verifier_with};

#[test]
fn every_algorithm_verifies_with_a_key_of_its_own() {
    for smith in Smith::all() {
        let principal = verifier([smith.source()]).verify(&smith.token(plain())).unwrap();
        assert_eq!(principal.tenant().as_str(), "tenant-a", "{}", smith.name);
        assert_eq!(principal.subject().as_str(), "u1");
        assert_eq!(principal.expires(), NOW + 3600);
        assert_eq!(principal.jti(), None);
    }
}

#[test]
fn a_bare_token_has_the_configured_default_scopes_but_never_platform() {
    let smith = Smith::hs256();
    let verifier = verifier_with([smith.source()], |config| {
        config.default_scopes = Scopes::of(&[Scope::Publish, Scope::ReadTenant, Scope::Platform]);
    });
    let principal = verifier.verify(&smith.token(plain())).unwrap();
    assert_eq!(principal.scopes().to_string(), "publish read:tenant");
    assert!(principal.may_reach(&"orders.eu.west".parse().unwrap()));
}

#[test]
fn a_scope_claim_takes_the_place_of_the_defaults() {
    let scopes = |text: &str| {
        judge(plain_with("scope", json!(text)))
            .unwrap()
            .scopes()
            .to_string()
    };
    assert_eq!(scopes("listen operate fly"), "listen operate");
    assert_eq!(scopes(""), "");
    assert_eq!(
        judge(plain()).unwrap().scopes().to_string(),
        "publish read listen"
    );
}

#[test]
fn keys_of_all_families_stand_side_by_side() {
    let smiths = Smith::all();
    let verifier = verifier(smiths.iter().map(Smith::source));
    for smith in &smiths {
        assert!(verifier.verify(&smith.token(plain())).is_ok(), "{}", smith.name);
    }
}

#[test]
fn a_key_of_a_set_is_found_by_its_kid_or_tried_without_one() {
    let smiths = [Smith::rs256(), Smith::es256(), Smith::eddsa(), Smith::es256()];
    let kids = ["r", "e", "d", "f"];
    let entries = smiths.iter().zip(kids).map(|(smith, kid)| smith.jwk(Some(kid)));
    let verifier = verifier([KeySource::Jwks(jwks(entries))]);
    for (smith, kid) in smiths.iter().zip(kids) {
        assert!(
            verifier.verify(&smith.with_header("kid", json!(kid))).is_ok(),
            "{kid}"
        );
        assert!(verifier.verify(&smith.token(plain())).is_ok(), "{kid} unnamed");
    }
}

#[test]
fn a_set_may_hold_only_secrets() {
    let smith = Smith::hs256();
    let secret = json!({"kty": "oct", "kid": "dev", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"});
    let verifier = verifier([KeySource::Jwks(jwks([secret]))]);
    assert!(verifier.verify(&smith.with_header("kid", json!("dev"))).is_ok());
    assert!(verifier.verify(&smith.token(plain())).is_ok());
}

#[test]
fn a_set_keeps_quiet_about_keys_for_other_purposes() {
    let smith = Smith::es256();
    let other = |name: &str, value: &str| {
        let mut jwk = smith.jwk(Some(value));
        jwk[name] = json!(value);
        jwk
    };
    let entries = [
        other("use", "enc"),
        other("alg", "RSA-OAEP"),
        json!({"kty": "EC", "crv": "P-384", "x": "", "y": ""}),
        json!({"kty": "OKP", "crv": "X25519", "x": ""}),
        json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": ""}),
        json!({"kty": "RSA", "alg": "RS512", "n": "", "e": ""}),
        smith.jwk(Some("mine")),
    ];
    let verifier = verifier([KeySource::Jwks(jwks(entries))]);
    assert!(verifier.verify(&smith.with_header("kid", json!("mine"))).is_ok());
    assert!(verifier.verify(&smith.with_header("kid", json!("enc"))).is_err());
}

#[test]
fn a_key_that_nobody_named_serves_tokens_that_call_it_anything() {
    let smith = Smith::rs256();
    let verifier = verifier([smith.source()]);
    assert!(
        verifier
            .verify(&smith.with_header("kid", json!("idp-2026")))
            .is_ok()
    );
    assert!(
        verifier
            .verify(&smith.with_header("kid", json!(smith.key.kid())))
            .is_ok()
    );
}

#[test]
fn a_pem_text_may_hold_several_keys_and_talk_between_them() {
    let (one, two) = (Smith::eddsa(), Smith::es256());
    let text = format!(
        "# old\n{}\n# new\n{}",
        one.key.public_pem().unwrap(),
        two.key.public_pem().unwrap()
    );
    let verifier = verifier([KeySource::Pem(text)]);
    assert!(verifier.verify(&one.token(plain())).is_ok());
    assert!(verifier.verify(&two.token(plain())).is_ok());
}

#[test]
fn the_first_present_claim_of_the_list_is_the_tenant() {
    let tenant = |claims| judge(claims).map(|principal: Principal| principal.tenant().to_string());
    let mut claims = plain_with("tid", json!("tenant-b"));
    assert_eq!(tenant(claims.clone()).unwrap(), "tenant-a");
    claims["tenant_id"] = json!(null);
    assert_eq!(tenant(claims.clone()).unwrap(), "tenant-b");
    claims.as_object_mut().unwrap().remove("tid");
    claims["tenantId"] = json!("tenant-c");
    assert_eq!(tenant(claims).unwrap(), "tenant-c");
}

#[test]
fn the_list_of_tenant_claims_is_configured() {
    let smith = Smith::hs256();
    let verifier = verifier_with([smith.source()], |config| {
        config.tenant_claims = vec!["https://example.test/org".into()];
    });
    let token = smith.token(plain_with("https://example.test/org", json!("tenant-z")));
    assert_eq!(verifier.verify(&token).unwrap().tenant().as_str(), "tenant-z");
    assert!(verifier.verify(&smith.token(plain())).is_err());
}

#[test]
fn channel_patterns_bound_what_is_reached() {
    let principal = judge(plain_with("channels", json!(["alerts", "orders.*"]))).unwrap();
    for (channel, reached) in [
        ("alerts", true),
        ("orders.eu", true),
        ("orders.eu.west", false),
        ("orders", false),
        ("default", false),
    ] {
        assert_eq!(
            principal.may_reach(&channel.parse().unwrap()),
            reached,
            "{channel}"
        );
    }
    let none = judge(plain_with("channels", json!([]))).unwrap();
    assert!(!none.may_reach(&"default".parse().unwrap()));
}

#[test]
fn without_authentication_every_scope_but_platform_is_given() {
    let principal = Principal::unauthenticated("tenant-a".parse().unwrap(), "u1".parse().unwrap());
    for scope in Scope::ALL {
        assert_eq!(principal.has(scope), scope != Scope::Platform, "{scope:?}");
    }
    assert_eq!(principal.expires(), u64::MAX);
    assert!(principal.may_reach(&"any.channel".parse().unwrap()));
}
