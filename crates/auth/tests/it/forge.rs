//! A forge: keys made on the spot, and tokens with whatever header and claims a test wants.

use std::sync::{Arc, LazyLock};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use carillon_auth::{AuthConfig, AuthError, KeySource, Principal, Verifier, mint::SigningKey};
use carillon_chassis::clock::Clock;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use rsa::{pkcs8::EncodePrivateKey, rand_core::OsRng};
use serde_json::{Value, json};

/// The moment at which every test begins, in Unix seconds.
pub(crate) const NOW: u64 = 1_800_000_000;
/// The shared secret of the tests.
pub(crate) const SECRET: [u8; 32] = *b"0123456789abcdef0123456789abcdef";

static RSA: LazyLock<Smith> = LazyLock::new(|| {
    let key = rsa::RsaPrivateKey::new(&mut OsRng, 2048).unwrap();
    Smith::of_pem(&key.to_pkcs8_pem(Default::default()).unwrap(), "RS256")
});

/// Somebody who can sign with one key, and write whatever they like above it.
#[derive(Clone)]
pub(crate) struct Smith {
    pub(crate) name: &'static str,
    pub(crate) key: Arc<SigningKey>,
    algorithm: Algorithm,
    encoding: EncodingKey,
}

impl Smith {
    pub(crate) fn rs256() -> Self {
        RSA.clone()
    }

    pub(crate) fn es256() -> Self {
        let key = p256::SecretKey::random(&mut OsRng);
        Self::of_pem(&key.to_pkcs8_pem(Default::default()).unwrap(), "ES256")
    }

    pub(crate) fn eddsa() -> Self {
        let key = SigningKey::generate_ed25519().unwrap();
        Self::of_pem(key.to_pem().unwrap(), "EdDSA")
    }

    pub(crate) fn hs256() -> Self {
        Self::with_secret(&SECRET)
    }

    pub(crate) fn with_secret(secret: &[u8]) -> Self {
        let long = [secret, &SECRET].concat();
        Self {
            name: "HS256",
            key: Arc::new(
                SigningKey::from_hs256_secret(if secret.len() < 32 { &long } else { secret }).unwrap(),
            ),
            algorithm: Algorithm::HS256,
            encoding: EncodingKey::from_secret(secret),
        }
    }

    /// One of each kind.
    pub(crate) fn all() -> [Self; 4] {
        [Self::hs256(), Self::rs256(), Self::es256(), Self::eddsa()]
    }

    fn of_pem(pem: &str, name: &'static str) -> Self {
        let bytes = pem.as_bytes();
        let (algorithm, encoding) = match name {
            "RS256" => (Algorithm::RS256, EncodingKey::from_rsa_pem(bytes)),
            "ES256" => (Algorithm::ES256, EncodingKey::from_ec_pem(bytes)),
            _ => (Algorithm::EdDSA, EncodingKey::from_ed_pem(bytes)),
        };
        Self {
            name,
            key: Arc::new(SigningKey::from_pem(pem).unwrap()),
            algorithm,
            encoding: encoding.unwrap(),
        }
    }

    /// What a verifier is told of this key.
    pub(crate) fn source(&self) -> KeySource {
        match self.key.public_pem() {
            Some(pem) => KeySource::Pem(pem.to_owned()),
            None => KeySource::Hs256Secret(SECRET.to_vec()),
        }
    }

    /// The key as a JWKS entry with this `kid`, or none.
    pub(crate) fn jwk(&self, kid: Option<&str>) -> Value {
        let mut jwk = self.key.public_jwk().unwrap().clone();
        match kid {
            Some(kid) => jwk["kid"] = json!(kid),
            None => drop(jwk.as_object_mut().unwrap().remove("kid")),
        }
        jwk
    }

    /// A token with this header and these claims, both taken as they are.
    pub(crate) fn forge_text(&self, header: &str, claims: &str) -> String {
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let signature = crypto::sign(signed.as_bytes(), &self.encoding, self.algorithm).unwrap();
        format!("{signed}.{signature}")
    }

    /// A token with this header and these claims.
    pub(crate) fn forge(&self, header: Value, claims: Value) -> String {
        self.forge_text(&header.to_string(), &claims.to_string())
    }

    /// A token with a plain header and these claims.
    pub(crate) fn token(&self, claims: Value) -> String {
        self.forge(json!({"alg": self.name, "typ": "JWT"}), claims)
    }

    /// A token with plain claims and this header member beside `alg`.
    pub(crate) fn with_header(&self, name: &str, value: Value) -> String {
        let mut header = json!({"alg": self.name});
        header[name] = value;
        self.forge(header, plain())
    }
}

/// The claims that a stranger's token has, an hour long.
pub(crate) fn plain() -> Value {
    json!({"tenant_id": "tenant-a", "sub": "u1", "iat": NOW, "nbf": NOW, "exp": NOW + 3600})
}

/// Plain claims with one more, or another value for one. `null` takes it away.
pub(crate) fn plain_with(name: &str, value: Value) -> Value {
    let mut claims = plain();
    if value.is_null() {
        claims.as_object_mut().unwrap().remove(name);
    } else {
        claims[name] = value;
    }
    claims
}

/// A clock that stands at [`NOW`].
pub(crate) fn clock() -> Clock {
    Clock::manual(NOW * 1000)
}

/// A verifier that knows these keys.
pub(crate) fn verifier(keys: impl IntoIterator<Item = KeySource>) -> Verifier {
    verifier_with(keys, |_| {})
}

/// A verifier that knows these keys and is configured further.
pub(crate) fn verifier_with(
    keys: impl IntoIterator<Item = KeySource>,
    change: impl FnOnce(&mut AuthConfig),
) -> Verifier {
    let mut config = AuthConfig {
        keys: keys.into_iter().collect(),
        ..AuthConfig::default()
    };
    change(&mut config);
    Verifier::new(config, clock()).unwrap()
}

/// What a verifier with the shared secret says to these claims.
pub(crate) fn judge(claims: Value) -> Result<Principal, AuthError> {
    let smith = Smith::hs256();
    verifier([smith.source()]).verify(&smith.token(claims))
}

/// A JWKS text of these entries.
pub(crate) fn jwks(entries: impl IntoIterator<Item = Value>) -> String {
    json!({"keys": entries.into_iter().collect::<Vec<_>>()}).to_string()
}
