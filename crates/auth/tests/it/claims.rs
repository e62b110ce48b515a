//! What is refused although the signature holds: one test for each rule.

use std::time::Duration;

use carillon_auth::{AuthConfigError, AuthError, Verifier};
use serde_json::{Value, json};

use crate::forge::{NOW, Smith, clock, judge, plain, plain_with, verifier_with};

fn refusal(name: &str, value: Value) -> AuthError {
    judge(plain_with(name, value)).unwrap_err()
}

fn accepted(name: &str, value: Value) -> bool {
    judge(plain_with(name, value)).is_ok()
}

#[test]
fn a_token_without_expiry_subject_or_tenant_is_refused() {
    assert_eq!(refusal("exp", json!(null)), AuthError::MissingClaim("exp"));
    assert_eq!(refusal("sub", json!(null)), AuthError::MissingClaim("sub"));
    assert_eq!(
        refusal("tenant_id", json!(null)),
        AuthError::MissingClaim("tenant")
    );
}

#[test]
fn a_null_claim_is_as_good_as_none() {
    let null = |name: &str| {
        let mut claims = plain();
        claims[name] = Value::Null;
        judge(claims)
    };
    assert_eq!(null("exp").unwrap_err(), AuthError::MissingClaim("exp"));
    assert_eq!(null("sub").unwrap_err(), AuthError::MissingClaim("sub"));
    assert!(null("scope").is_ok() && null("aud").is_ok() && null("jti").is_ok());
}

#[test]
fn moments_written_as_text_are_refused() {
    for name in ["exp", "nbf", "iat"] {
        for bad in [
            json!(NOW.to_string()),
            json!("soon"),
            json!(true),
            json!([NOW]),
            json!(-1),
        ] {
            assert_eq!(refusal(name, bad), AuthError::ClaimType(name), "{name}");
        }
    }
}

#[test]
fn a_token_ends_at_exp_and_the_leeway_after_it() {
    let ends = |moment: u64| {
        let times = json!({"tenant_id": "a", "sub": "u", "iat": NOW - 60, "exp": moment});
        judge(times)
    };
    assert!(ends(NOW - 4).is_ok());
    assert!(ends(NOW - 5).unwrap_err().is_expired());
    assert!(ends(NOW - 59).unwrap_err().is_expired());
    assert!(ends(0).unwrap_err().is_expired());
}

#[test]
fn a_token_from_the_future_is_refused() {
    assert!(accepted("nbf", json!(NOW + 5)));
    assert_eq!(refusal("nbf", json!(NOW + 6)), AuthError::NotYetValid);
    assert!(accepted("iat", json!(NOW + 5)));
    assert_eq!(refusal("iat", json!(NOW + 6)), AuthError::IssuedInFuture);
    assert_eq!(refusal("nbf", json!(u64::MAX)), AuthError::NotYetValid);
}

#[test]
fn a_token_lives_at_most_a_day() {
    let lives = |times: Value| {
        let mut claims = json!({"tenant_id": "a", "sub": "u"});
        claims
            .as_object_mut()
            .unwrap()
            .extend(times.as_object().unwrap().clone());
        judge(claims).err()
    };
    let day = 24 * 3600;
    let too_long = Some(AuthError::LifetimeTooLong);
    assert_eq!(lives(json!({"iat": NOW, "exp": NOW + day})), None);
    assert_eq!(lives(json!({"iat": NOW, "exp": NOW + day + 1})), too_long);
    assert_eq!(lives(json!({"iat": NOW - day, "exp": NOW + 1})), too_long);
    assert_eq!(
        lives(json!({"iat": NOW - day, "nbf": NOW, "exp": NOW + day})),
        too_long
    );
    assert_eq!(lives(json!({"nbf": NOW, "exp": NOW + day + 1})), too_long);
    assert_eq!(lives(json!({"exp": NOW + day})), None);
    assert_eq!(lives(json!({"exp": NOW + day + 1})), too_long);
    assert_eq!(lives(json!({"exp": u64::MAX})), too_long);
    assert_eq!(lives(json!({"iat": NOW, "exp": 1e15})), too_long);
}

#[test]
fn leeway_and_lifetime_are_configured() {
    let smith = Smith::hs256();
    let verifier = verifier_with([smith.source()], |config| {
        config.leeway = Duration::from_secs(60);
        config.max_lifetime = Duration::from_secs(600);
    });
    let token =
        |iat: u64, exp: u64| smith.token(json!({"tenant_id": "a", "sub": "u", "iat": iat, "exp": exp}));
    assert!(verifier.verify(&token(NOW - 300, NOW - 59)).is_ok());
    assert!(verifier.verify(&token(NOW - 300, NOW - 60)).is_err());
    assert!(verifier.verify(&token(NOW, NOW + 600)).is_ok());
    assert!(verifier.verify(&token(NOW, NOW + 601)).is_err());
}

#[test]
fn a_configured_issuer_is_required() {
    let smith = Smith::hs256();
    let verifier = verifier_with([smith.source()], |config| {
        config.issuer = Some("https://idp.test".into())
    });
    let with = |iss: Value| verifier.verify(&smith.token(plain_with("iss", iss))).err();
    assert_eq!(with(json!("https://idp.test")), None);
    assert_eq!(with(json!(null)), Some(AuthError::MissingClaim("iss")));
    for other in ["https://idp.test/", "https://IDP.test", "", "https://evil.test"] {
        assert_eq!(with(json!(other)), Some(AuthError::Issuer), "{other}");
    }
    assert_eq!(
        with(json!(["https://idp.test"])),
        Some(AuthError::ClaimType("iss"))
    );
}

#[test]
fn a_configured_audience_is_required() {
    let smith = Smith::hs256();
    let verifier = verifier_with([smith.source()], |config| {
        config.audience = Some("carillon".into())
    });
    let with = |aud: Value| verifier.verify(&smith.token(plain_with("aud", aud))).err();
    assert_eq!(with(json!("carillon")), None);
    assert_eq!(with(json!(["other", "carillon"])), None);
    assert_eq!(with(json!(null)), Some(AuthError::MissingClaim("aud")));
    assert_eq!(with(json!("other")), Some(AuthError::Audience));
    assert_eq!(with(json!(["other"])), Some(AuthError::Audience));
    assert_eq!(with(json!([])), Some(AuthError::Audience));
    assert_eq!(with(json!("")), Some(AuthError::Audience));
    assert_eq!(with(json!(["carillon", 7])), Some(AuthError::ClaimType("aud")));
    assert_eq!(with(json!({"carillon": 1})), Some(AuthError::ClaimType("aud")));
}

#[test]
fn a_token_for_some_audience_is_refused_where_none_is_configured() {
    assert_eq!(refusal("aud", json!("another-service")), AuthError::Audience);
    assert_eq!(refusal("aud", json!(["another-service"])), AuthError::Audience);
}

#[test]
fn a_tenant_claim_that_is_no_tenant_id_is_refused() {
    for bad in [
        "",
        "Tenant-A",
        "a.b",
        "a/b",
        "-a",
        "tenant a",
        "tenant\u{0}",
        &"a".repeat(64),
    ] {
        assert!(
            matches!(refusal("tenant_id", json!(bad)), AuthError::Tenant(_)),
            "{bad:?}"
        );
    }
    for bad in [
        json!(7),
        json!(["tenant-a"]),
        json!({"id": "tenant-a"}),
        json!(true),
    ] {
        assert_eq!(refusal("tenant_id", bad), AuthError::ClaimType("tenant"));
    }
}

#[test]
fn a_bad_tenant_claim_is_not_made_good_by_the_next_one() {
    let mut claims = plain_with("tid", json!("tenant-b"));
    claims["tenant_id"] = json!("NOT A TENANT");
    assert!(matches!(judge(claims), Err(AuthError::Tenant(_))));
}

#[test]
fn a_subject_that_is_no_user_id_is_refused() {
    for bad in ["", "two words", "line\n", "nul\u{0}", &"u".repeat(129)] {
        assert!(
            matches!(refusal("sub", json!(bad)), AuthError::Subject(_)),
            "{bad:?}"
        );
    }
    assert_eq!(refusal("sub", json!(7)), AuthError::ClaimType("sub"));
}

#[test]
fn other_claims_of_the_wrong_type_refuse_the_token() {
    assert_eq!(
        refusal("scope", json!(["publish"])),
        AuthError::ClaimType("scope")
    );
    assert_eq!(refusal("jti", json!(7)), AuthError::ClaimType("jti"));
    assert_eq!(refusal("iss", json!(7)), AuthError::ClaimType("iss"));
    for bad in [
        json!("orders.*"),
        json!({}),
        json!([7]),
        json!(["a", "**"]),
        json!(vec!["a"; 101]),
    ] {
        assert_eq!(refusal("channels", bad), AuthError::Channels);
    }
    assert!(accepted("channels", json!(vec!["a"; 100])));
}

#[test]
fn a_configuration_that_trusts_nobody_or_finds_no_tenant_is_refused() {
    let make = |change: fn(&mut carillon_auth::AuthConfig)| {
        let mut config = carillon_auth::AuthConfig {
            keys: vec![Smith::hs256().source()],
            ..Default::default()
        };
        change(&mut config);
        Verifier::new(config, clock()).err()
    };
    assert!(make(|_| {}).is_none());
    assert!(matches!(make(|c| c.keys.clear()), Some(AuthConfigError::NoKeys)));
    assert!(matches!(
        make(|c| c.tenant_claims.clear()),
        Some(AuthConfigError::NoTenantClaim)
    ));
}
