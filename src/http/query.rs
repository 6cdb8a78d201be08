//! Query strings of the API: every key is known, or the request is refused.

use std::str::FromStr;

use axum::{extract::Query as Pairs, http::Uri};

use super::answer::Refusal;

/// The keys and values of one request.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Parses the query of `uri`, which may hold each of `known` once.
    pub(super) fn parse(uri: &Uri, known: &[&str]) -> Result<Self, Refusal> {
        let Pairs(pairs) = Pairs::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| Refusal::invalid("the query is not of the form key=value&key=value"))?;
        let mut unknown: Vec<&str> = pairs
            .iter()
            .map(|(key, _)| key.as_str())
            .filter(|key| !known.contains(key))
            .collect();
        unknown.dedup();
        if !unknown.is_empty() {
            let offered = if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            };
            let message = format!("unknown query key: {}; known here: {offered}", unknown.join(", "));
            return Err(Refusal::invalid(message));
        }
        for (at, (key, _)) in pairs.iter().enumerate() {
            if pairs[..at].iter().any(|(earlier, _)| earlier == key) {
                return Err(Refusal::invalid(format!("query key {key} is given twice")));
            }
        }
        Ok(Self(pairs))
    }

    /// A text; absent when empty.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(name, value)| name == key && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// A switch: `?follow`, `?follow=true`.
    pub(super) fn flag(&self, key: &str) -> Result<bool, Refusal> {
        match self
            .0
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
        {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(_) => Err(Refusal::invalid(format!("query key {key} must be true or false"))),
        }
    }

    /// A value of some type; `form` says what it must look like.
    pub(super) fn value<T: FromStr>(&self, key: &str, form: &str) -> Result<Option<T>, Refusal> {
        let parse = |text: &str| {
            text.parse()
                .map_err(|_| Refusal::invalid(format!("query key {key} must be {form}")))
        };
        self.text(key).map(parse).transpose()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(query: &str, known: &[&str]) -> Result<Query, Refusal> {
        Query::parse(&format!("/x?{query}").parse().unwrap(), known)
    }

    #[test]
    fn unknown_and_repeated_keys_are_named() {
        let said = parse("tial=5&tail=1", &["tail", "follow"])
            .unwrap_err()
            .status
            .message;
        assert_eq!(said, "unknown query key: tial; known here: tail, follow");
        assert!(
            parse("tail=1&tail=2", &["tail"])
                .unwrap_err()
                .status
                .message
                .contains("tail is given twice")
        );
    }

    #[test]
    fn values_are_checked() {
        let query = parse(
            "follow&tail=x&limit_bytes=7&since_time=",
            &["follow", "tail", "limit_bytes", "since_time"],
        )
        .unwrap();
        assert!(query.flag("follow").unwrap());
        assert!(query.flag("tail").is_err());
        let said = query
            .value::<u64>("tail", "a whole number")
            .unwrap_err()
            .status
            .message;
        assert_eq!(said, "query key tail must be a whole number");
        assert_eq!(query.value::<u64>("limit_bytes", "").unwrap(), Some(7));
        assert_eq!(query.text("since_time"), None);
    }
}
