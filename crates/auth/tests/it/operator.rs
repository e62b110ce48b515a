//! The operator's issuer: the only one whose tokens reach over all tenants, with keys that serve it alone.

use carillon_auth::{AuthConfig, AuthConfigError, AuthError, Verifier};
use carillon_schemas::claims::{Scope, Scopes};
use serde_json::{Value, json};

use crate::forge::{Smith, clock, plain, plain_with, verifier_with};

const OPERATOR: &str = "https://operator.test";

fn claims(iss: Option<&str>) -> Value {
    let mut claims = plain_with("scope", json!("platform operate"));
    claims["iss"] = json!(iss);
    claims
}

fn with_operator(everybody: &Smith, operator: &Smith) -> Verifier {
    verifier_with([everybody.source()], |config| {
        config.operator_issuer = Some(OPERATOR.into());
        config.operator_keys = vec![operator.source()];
    })
}

#[test]
fn platform_is_kept_in_tokens_of_the_operator() {
    let (everybody, operator) = (Smith::eddsa(), Smith::eddsa());
    let verifier = with_operator(&everybody, &operator);
    let principal = verifier.verify(&operator.token(claims(Some(OPERATOR)))).unwrap();
    assert!(principal.has(Scope::Platform) && principal.has(Scope::Operate));
}

#[test]
fn platform_is_no_default_even_for_the_operator() {
    let operator = Smith::eddsa();
    let verifier = verifier_with([Smith::hs256().source()], |config| {
        config.operator_issuer = Some(OPERATOR.into());
        config.operator_keys = vec![operator.source()];
        config.default_scopes = Scopes::of(&[Scope::Operate, Scope::Platform]);
    });
    let mut bare = plain();
    bare["iss"] = json!(OPERATOR);
    let principal = verifier.verify(&operator.token(bare)).unwrap();
    assert_eq!(principal.scopes().to_string(), "operate");
}

#[test]
fn platform_is_dropped_from_everybody_elses_tokens() {
    let (everybody, operator) = (Smith::eddsa(), Smith::eddsa());
    let verifier = with_operator(&everybody, &operator);
    for iss in [None, Some("https://idp.test"), Some("https://operator.test/")] {
        let principal = verifier.verify(&everybody.token(claims(iss))).unwrap();
        assert!(!principal.has(Scope::Platform), "{iss:?}");
        assert!(principal.has(Scope::Operate));
    }
    let without = verifier_with([everybody.source()], |_| {});
    let principal = without.verify(&everybody.token(claims(Some(OPERATOR)))).unwrap();
    assert!(!principal.has(Scope::Platform));
}

#[test]
fn neither_side_can_sign_for_the_other() {
    let (everybody, operator) = (Smith::eddsa(), Smith::eddsa());
    let verifier = with_operator(&everybody, &operator);
    let as_operator = everybody.token(claims(Some(OPERATOR)));
    assert_eq!(verifier.verify(&as_operator), Err(AuthError::Signature));
    for iss in [None, Some("https://idp.test")] {
        assert_eq!(
            verifier.verify(&operator.token(claims(iss))),
            Err(AuthError::Signature)
        );
    }
}

#[test]
fn the_operator_is_accepted_beside_a_configured_issuer() {
    let (everybody, operator) = (Smith::eddsa(), Smith::eddsa());
    let verifier = verifier_with([everybody.source()], |config| {
        config.issuer = Some("https://idp.test".into());
        config.operator_issuer = Some(OPERATOR.into());
        config.operator_keys = vec![operator.source()];
    });
    assert!(verifier.verify(&operator.token(claims(Some(OPERATOR)))).is_ok());
    assert!(
        verifier
            .verify(&everybody.token(claims(Some("https://idp.test"))))
            .is_ok()
    );
    let stranger = everybody.token(claims(Some("https://other.test")));
    assert_eq!(verifier.verify(&stranger), Err(AuthError::Issuer));
}

#[test]
fn an_operator_without_its_own_key_or_name_is_refused() {
    let make = |issuer: Option<&str>, operator: Option<&str>, keys: usize| {
        let config = AuthConfig {
            keys: vec![Smith::hs256().source()],
            issuer: issuer.map(String::from),
            operator_issuer: operator.map(String::from),
            operator_keys: vec![Smith::eddsa().source(); keys],
            ..AuthConfig::default()
        };
        Verifier::new(config, clock()).err()
    };
    assert!(matches!(
        make(None, Some(OPERATOR), 0),
        Some(AuthConfigError::OperatorWithoutKeys)
    ));
    assert!(matches!(
        make(None, None, 1),
        Some(AuthConfigError::OperatorWithoutIssuer)
    ));
    assert!(matches!(
        make(Some(OPERATOR), Some(OPERATOR), 1),
        Some(AuthConfigError::OperatorIsEverybody)
    ));
}
