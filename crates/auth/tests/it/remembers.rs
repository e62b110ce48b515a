//! Remembered tokens: the second time is like the first.

use std::{sync::Arc, thread, time::Duration};

use carillon_auth::{Access, AuthConfig, AuthError, Verifier};
use serde_json::json;

use crate::forge::{Smith, clock, plain, plain_with, verifier};

#[test]
fn a_remembered_token_still_ends() {
    let (smith, clock) = (Smith::hs256(), clock());
    let config = AuthConfig {
        keys: vec![smith.source()],
        ..AuthConfig::default()
    };
    let verifier = Verifier::new(config, clock.clone()).unwrap();
    let token = smith.token(plain());
    let first = verifier.verify(&token).unwrap();
    clock.advance(Duration::from_secs(3604));
    assert_eq!(verifier.verify(&token), Ok(first));
    clock.advance(Duration::from_secs(1));
    assert_eq!(verifier.verify(&token), Err(AuthError::Expired));
    assert_eq!(verifier.verify(&token), Err(AuthError::Expired));
}

#[test]
fn a_token_that_differs_in_one_character_is_not_the_remembered_one() {
    for smith in Smith::all() {
        let verifier = verifier([smith.source()]);
        let token = smith.token(plain());
        assert!(verifier.verify(&token).is_ok());
        let last = if token.ends_with('A') { "Q" } else { "A" };
        let other = format!("{}{last}", &token[..token.len() - 1]);
        assert_eq!(
            verifier.verify(&other),
            Err(AuthError::Signature),
            "{}",
            smith.name
        );
        assert!(verifier.verify(&token).is_ok());
    }
}

#[test]
fn many_threads_with_many_tokens_get_the_right_principals() {
    let smith = Smith::hs256();
    let Access::Tokens(verifier) = Access::Tokens(Arc::new(verifier([smith.source()]))) else {
        unreachable!()
    };
    thread::scope(|scope| {
        for t in 0..4 {
            let (verifier, smith) = (Arc::clone(&verifier), &smith);
            scope.spawn(move || {
                for n in 0..2_000 {
                    let user = format!("u-{t}-{}", n % 500);
                    let token = smith.token(plain_with("sub", json!(user)));
                    assert_eq!(verifier.verify(&token).unwrap().subject().as_str(), user);
                }
            });
        }
    });
}
