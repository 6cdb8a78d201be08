//! Heads of HTTP messages: how much they count, and what of them is meant for the next hop alone.

use std::collections::HashSet;

use bytes::Bytes;

use super::{Data, HttpHeader, HttpRequest, HttpResponse};

/// What a header field counts beyond its name and value (as in RFC 9113 section 6.5.2).
const FIELD: usize = 32;

/// Fields of one connection (RFC 9110 section 7.6.1), those of a proxy's own authentication, and what each hop answers
/// by itself.
const HOP_BY_HOP: [&str; 12] = [
    "connection",
    "proxy-connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-authentication-info",
    "expect",
];

impl HttpHeader {
    /// A field; its name in lower case.
    pub fn new(name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        let mut name = name.into();
        name.make_ascii_lowercase();
        Self {
            name,
            value: value.into(),
        }
    }

    /// What it counts in a head.
    fn counts(&self) -> usize {
        self.name.len() + self.value.len() + FIELD
    }
}

impl HttpRequest {
    /// What this head counts.
    pub fn counts(&self) -> usize {
        self.method.len() + self.path.len() + count(&self.headers)
    }
}

impl HttpResponse {
    /// What this head counts.
    pub fn counts(&self) -> usize {
        count(&self.headers)
    }
}

impl Data {
    /// Bytes that it counts: those of the body, and its head.
    pub fn counts(&self) -> usize {
        self.data.len() + self.head.as_ref().map_or(0, HttpResponse::counts)
    }
}

fn count(headers: &[HttpHeader]) -> usize {
    headers.iter().map(HttpHeader::counts).sum()
}

/// The fields that travel on: without those of one connection, also those that `Connection` names.
pub fn end_to_end(headers: Vec<HttpHeader>) -> Vec<HttpHeader> {
    let named: HashSet<String> = headers
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case("connection"))
        .flat_map(|field| field.value.split(|byte| *byte == b','))
        .map(|name| String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase())
        .collect();
    let travels = |field: &HttpHeader| {
        let name = field.name.to_ascii_lowercase();
        !HOP_BY_HOP.contains(&name.as_str()) && !named.contains(&name)
    };
    headers.into_iter().filter(travels).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_one_connection_and_those_that_it_names_do_not_travel_on() {
        let fields = [
            ("accept", "text/plain", true),
            ("Connection", "close, X-Local ,", false),
            ("connection", "x-other", false),
            ("x-local", "1", false),
            ("X-Other", "2", false),
            ("x-otherwise", "3", true),
            ("Keep-Alive", "timeout=5", false),
            ("TE", "trailers", false),
            ("trailer", "expires", false),
            ("transfer-encoding", "chunked", false),
            ("upgrade", "websocket", false),
            ("proxy-authorization", "Basic x", false),
            ("expect", "100-continue", false),
            ("content-length", "3", true),
        ];
        let sent = fields.map(|(name, value, _)| HttpHeader {
            name: name.to_owned(),
            value: Bytes::from_static(value.as_bytes()),
        });
        let left: Vec<String> = end_to_end(sent.into())
            .into_iter()
            .map(|field| field.name)
            .collect();
        let expected: Vec<&str> = fields
            .iter()
            .filter(|field| field.2)
            .map(|field| field.0)
            .collect();
        assert_eq!(left, expected);
    }

    #[test]
    fn a_head_counts_its_fields_also_the_empty_ones() {
        let head = HttpResponse {
            status: 200,
            headers: vec![HttpHeader::new("A", "bc"), HttpHeader::default()],
        };
        assert_eq!(head.counts(), 3 + 32 + 32);
        let data = Data {
            data: Bytes::from_static(b"1234"),
            head: Some(head),
            ..Data::default()
        };
        assert_eq!((data.counts(), Data::default().counts()), (71, 0));
    }
}
