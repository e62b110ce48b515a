//! The handshake's rules, one by one.
//!
//! In: request heads. Out: what they are taken for. Always: no socket is needed to know.

use proptest::prelude::*;

use super::*;

const GOOD: [(&str, &str); 4] = [
    ("upgrade", "websocket"),
    ("connection", "keep-alive, Upgrade"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

fn head(changes: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in GOOD.iter().chain(changes) {
        headers.insert(*name, value.parse().unwrap());
    }
    headers
}

fn query(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs
        .iter()
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .collect()
}

#[test]
fn a_request_that_is_no_handshake_is_told_why() {
    assert!(check(&head(&[])).is_ok());
    for (change, why) in [
        (("upgrade", "h2c"), NotAHandshake::NoUpgrade),
        (("connection", "close"), NotAHandshake::NoUpgrade),
        (("sec-websocket-version", "8"), NotAHandshake::Version),
        (("sec-websocket-key", "short"), NotAHandshake::Key),
        (("sec-websocket-key", "!!!!"), NotAHandshake::Key),
        (("sec-websocket-key", ""), NotAHandshake::Key),
        (
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZTE="),
            NotAHandshake::Key,
        ),
    ] {
        assert_eq!(check(&head(&[change])), Err(why), "{change:?}");
    }
}

#[test]
fn our_protocol_is_chosen_among_those_offered_and_never_the_token() {
    let offered = |value| {
        check(&head(&[("sec-websocket-protocol", value)]))
            .unwrap()
            .protocol
    };
    assert_eq!(offered("carillon.v1, bearer.abc"), Protocol::Ours);
    assert_eq!(offered("graphql-ws"), Protocol::None);
    assert_eq!(offered("bearer.abc"), Protocol::None);
    let unsupported = Protocol::Unsupported(HeaderValue::from_static("carillon.v2"));
    assert_eq!(offered("bearer.abc, carillon.v2"), unsupported);
    assert_eq!(check(&head(&[])).unwrap().protocol, Protocol::None);
}

#[test]
fn a_credential_is_found_wherever_it_may_stand() {
    let none = query(&[]);
    let found = |headers: &HeaderMap, query: &HashMap<_, _>| {
        let found = credential(headers, query, true);
        (found.way, found.token)
    };
    let header = head(&[("authorization", "Bearer abc")]);
    assert_eq!(
        found(&header, &query(&[("access_token", "x")])),
        (Way::Header, Some("abc".into()))
    );
    let basic = head(&[("authorization", "Basic abc")]);
    assert_eq!(found(&basic, &none), (Way::Header, None));
    let offered = head(&[("sec-websocket-protocol", "carillon.v1, bearer.abc")]);
    assert_eq!(found(&offered, &none), (Way::Browser, Some("abc".into())));
    let in_query = query(&[("access_token", "abc")]);
    assert_eq!(found(&head(&[]), &in_query), (Way::Browser, Some("abc".into())));
    assert_eq!(credential(&head(&[]), &in_query, false).token, None);
    assert_eq!(
        found(&head(&[]), &query(&[("ticket", "t")])),
        (Way::Browser, None)
    );
    assert_eq!(found(&head(&[]), &none), (Way::Header, None));
    assert_eq!(
        found(&head(&[("origin", "https://a")]), &none),
        (Way::Browser, None)
    );
}

#[test]
fn only_listed_origins_pass_and_null_never() {
    let allowed = ["https://app.example.com".to_owned()];
    let from = |origin| origin_allowed(&head(&[("origin", origin)]), &allowed);
    assert!(origin_allowed(&head(&[]), &allowed));
    assert!(from("https://app.example.com"));
    for bad in [
        "https://evil.example.com",
        "https://app.example.com.evil.net",
        "null",
        "",
    ] {
        assert!(!from(bad), "{bad}");
    }
    assert!(origin_allowed(
        &head(&[("origin", "https://x")]),
        &["*".to_owned()]
    ));
    assert!(!origin_allowed(&head(&[("origin", "null")]), &["*".to_owned()]));
}

proptest! {
    #[test]
    fn no_head_makes_the_check_panic(key in "\\PC{0,40}", protocol in "\\PC{0,40}") {
        let mut headers = head(&[]);
        for (name, value) in [("sec-websocket-key", key), ("sec-websocket-protocol", protocol)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        let _ = check(&headers);
        let _ = credential(&headers, &HashMap::new(), true);
    }
}
