//! Queries: parameters of a path and a query, checked all at once.
//!
//! In: the pairs of a query. Out: typed values, or every broken rule with its parameter's name.
//! Always: an empty value counts as none; a parameter stands at most once; unknown ones are passed over.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr};

use axum::extract::Query;
use carillon_schemas::problem::FieldError;
use http::Uri;

use crate::refusal::Refusal;

/// The parameters of one request, and what was found wrong with them.
pub(super) struct Parameters {
    pairs: Vec<(String, String)>,
    errors: Vec<FieldError>,
}

impl Parameters {
    /// Of a request's address.
    ///
    /// # Errors
    /// [`Refusal::Parameters`] when the query cannot be taken apart.
    pub(super) fn of(uri: &Uri) -> Result<Self, Refusal> {
        match Query::<Vec<(String, String)>>::try_from_uri(uri) {
            Ok(Query(pairs)) => Ok(Self {
                pairs,
                errors: Vec::new(),
            }),
            Err(_) => Err(Refusal::parameter("", "the query is not well-formed")),
        }
    }

    /// The text of a parameter.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let mut found = self.pairs.iter().filter(|(n, v)| n == name && !v.is_empty());
        let value = found.next().map(|(_, v)| v.clone());
        if found.next().is_some() {
            self.broken(name, "must stand only once");
        }
        value
    }

    /// A parameter that parses by its own rule.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        let text = self.text(name)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.broken(name, &error.to_string());
                None
            }
        }
    }

    /// A whole number within bounds.
    pub(super) fn number(&mut self, name: &str, bounds: RangeInclusive<u32>) -> Option<u32> {
        let text = self.text(name)?;
        match text.parse() {
            Ok(number) if bounds.contains(&number) => Some(number),
            _ => {
                let rule = format!(
                    "must be a whole number from {} to {}",
                    bounds.start(),
                    bounds.end()
                );
                self.broken(name, &rule);
                None
            }
        }
    }

    /// One of a closed list of names.
    pub(super) fn named<T>(
        &mut self,
        name: &str,
        of: impl FnOnce(&str) -> Option<T>,
        names: &[&str],
    ) -> Option<T> {
        let text = self.text(name)?;
        let found = of(&text);
        if found.is_none() {
            self.broken(name, &format!("must be one of {}", names.join(", ")));
        }
        found
    }

    /// Notes a broken rule.
    pub(super) fn broken(&mut self, name: &str, rule: &str) {
        self.errors.push(FieldError::new(name, rule));
    }

    /// Says what was found wrong, once all parameters were looked at.
    ///
    /// # Errors
    /// [`Refusal::Parameters`] when anything was.
    pub(super) fn finish(self) -> Result<(), Refusal> {
        if self.errors.is_empty() {
            return Ok(());
        }
        Err(Refusal::Parameters(self.errors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(query: &str) -> Parameters {
        Parameters::of(&format!("/x?{query}").parse().unwrap()).unwrap()
    }

    #[test]
    fn an_empty_parameter_counts_as_none_and_a_doubled_one_is_refused() {
        let mut query = of("cursor=&n=5&unknown=1");
        assert_eq!((query.text("cursor"), query.number("n", 1..=9)), (None, Some(5)));
        assert!(query.finish().is_ok());
        let mut query = of("n=5&n=6");
        query.number("n", 1..=9);
        assert!(query.finish().is_err());
    }

    #[test]
    fn every_broken_parameter_is_named() {
        let mut query = of("n=0&since=x");
        query.number("n", 1..=9);
        query.parsed::<u64>("since");
        match query.finish() {
            Err(Refusal::Parameters(errors)) => {
                let paths: Vec<_> = errors.iter().map(|e| e.path.as_str()).collect();
                assert_eq!(paths, ["n", "since"]);
            }
            other => panic!("{other:?}"),
        }
    }
}
