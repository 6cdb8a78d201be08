//! Query strings and path segments.

use std::fmt::{self, Write as _};

/// The query of a URL; shown with its question mark, or as nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(Vec<(&'static str, String)>);

impl Query {
    /// With one more pair.
    pub(crate) fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.0.push((key, value.to_string()));
        self
    }

    /// With the pair, if there is a value.
    pub(crate) fn maybe(self, key: &'static str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, value)) in self.0.iter().enumerate() {
            let mark = if index == 0 { '?' } else { '&' };
            write!(f, "{mark}{key}={}", escaped(value))?;
        }
        Ok(())
    }
}

/// One segment of a path, or a value of a query (RFC 3986: only the unreserved stay as they are).
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte as char);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// The API's path of a pod.
pub(crate) fn pod_path(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{}/pods/{}", escaped(namespace), escaped(name))
}

/// The API's path of a plugin.
pub(crate) fn plugin_path(name: &str) -> String {
    format!("/api/v1/plugins/{}", escaped(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_plain_is_escaped() {
        let query = Query::default()
            .with("follow", true)
            .maybe("tail", None::<u64>)
            .with("since_time", "10:00+02:00");
        assert_eq!(query.to_string(), "?follow=true&since_time=10%3A00%2B02%3A00");
        assert_eq!(Query::default().to_string(), "");
        assert_eq!(pod_path("a/b", "c?"), "/api/v1/namespaces/a%2Fb/pods/c%3F");
    }
}
