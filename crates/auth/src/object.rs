//! A JSON object in which no name stands twice, as the two JSON parts of a token must be (RFC 7515, 4;
//! RFC 7519, 4): otherwise two readers of one token could see two tenants.
//!
//! In: base64url text. Out: typed members. Always: `null` counts as absent, another type than asked for is an
//! error and never a default.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::{Map, Value};

use crate::AuthError;

/// Largest moment that is taken for one, in Unix seconds: what a double holds exactly.
const LATEST_SECONDS: f64 = 9_007_199_254_740_992.0;

/// A JSON object without repeated names.
#[derive(Debug)]
pub(crate) struct Object(Map<String, Value>);

impl Object {
    /// Decodes one part of a token.
    pub(crate) fn decode(part: &str) -> Result<Self, AuthError> {
        let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| AuthError::Malformed)?;
        serde_json::from_slice(&bytes).map_err(|_| AuthError::Malformed)
    }

    /// Whether the name stands there, with whatever value.
    pub(crate) fn names(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The member; `null` is none.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A text member.
    pub(crate) fn text(&self, name: &'static str) -> Result<Option<&str>, AuthError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(AuthError::ClaimType(name)),
        }
    }

    /// A member that is a moment in Unix seconds; a fraction is cut off.
    pub(crate) fn seconds(&self, name: &'static str) -> Result<Option<u64>, AuthError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let Value::Number(number) = value else {
            return Err(AuthError::ClaimType(name));
        };
        if let Some(seconds) = number.as_u64() {
            return Ok(Some(seconds));
        }
        match number.as_f64() {
            Some(seconds) if (0.0..=LATEST_SECONDS).contains(&seconds) => Ok(Some(seconds as u64)),
            _ => Err(AuthError::ClaimType(name)),
        }
    }

    /// The whole object.
    pub(crate) fn into_value(self) -> Value {
        Value::Object(self.0)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Unique;
        impl<'de> Visitor<'de> for Unique {
            type Value = Object;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object without repeated names")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Object, A::Error> {
                let mut map = Map::new();
                while let Some((name, value)) = members.next_entry::<String, Value>()? {
                    if map.insert(name, value).is_some() {
                        return Err(A::Error::custom("a name stands twice"));
                    }
                }
                Ok(Object(map))
            }
        }
        d.deserialize_map(Unique)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(json: &str) -> Result<Object, AuthError> {
        Object::decode(&URL_SAFE_NO_PAD.encode(json))
    }

    #[test]
    fn a_name_that_stands_twice_is_refused() {
        assert_eq!(object(r#"{"a":1,"a":1}"#).err(), Some(AuthError::Malformed));
        assert_eq!(object(r#"{"a":1,"\u0061":2}"#).err(), Some(AuthError::Malformed));
        assert!(object(r#"{"a":1,"b":{"a":1}}"#).is_ok());
    }

    #[test]
    fn only_numbers_from_zero_up_are_moments() {
        let moment = |json: &str| object(&format!(r#"{{"exp":{json}}}"#)).unwrap().seconds("exp");
        assert_eq!(moment("1700000000"), Ok(Some(1_700_000_000)));
        assert_eq!(moment("1.7e9"), Ok(Some(1_700_000_000)));
        assert_eq!(moment("18446744073709551615"), Ok(Some(u64::MAX)));
        assert_eq!(moment("null"), Ok(None));
        for bad in [r#""1700000000""#, "-1", "-0.5", "1e300", "true", "[1]", "{}"] {
            assert_eq!(moment(bad), Err(AuthError::ClaimType("exp")), "{bad}");
        }
    }

    #[test]
    fn what_is_no_object_is_malformed() {
        for bad in ["", "[]", "1", "\"x\"", "{", r#"{"a":1}x"#, &"[".repeat(4000)] {
            assert_eq!(object(bad).err(), Some(AuthError::Malformed), "{bad}");
        }
    }
}
