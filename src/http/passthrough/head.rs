//! Heads of requests and answers: what of them travels on (pure).

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, request::Parts};

use crate::{
    code::{Code, reason},
    http::answer::Refusal,
    limits,
    wire::{HttpHeader, HttpRequest, HttpResponse, Status, http::end_to_end},
};

/// What this hub calls itself on the way (RFC 9110 section 7.6.3). Its own errors do not have it.
const VIA: HeaderValue = HeaderValue::from_static("1.1 towline");
/// Fields of a request that say who the caller is, or was said to be.
const OF_THE_CALLER: [&str; 3] = ["host", "forwarded", "x-real-ip"];
/// Credentials of the caller, meant for this hub or for somebody else behind it.
const CREDENTIALS: [&str; 2] = ["authorization", "cookie"];
/// Fields of an answer that would speak for this hub's own address in a browser.
const OF_THE_ORIGIN: [&str; 6] = [
    "alt-svc",
    "clear-site-data",
    "public-key-pins",
    "service-worker-allowed",
    "strict-transport-security",
    "set-cookie2",
];

/// Who is asked, and for what.
pub(super) fn asked(parts: &Parts, has_body: bool, forward: bool) -> Result<(&str, HttpRequest), Refusal> {
    let refuse = |http, message: &str| Err(Refusal::new(http, Code::Unimplemented, message));
    if [Method::CONNECT, Method::TRACE].contains(&parts.method) {
        return refuse(
            StatusCode::METHOD_NOT_ALLOWED,
            "CONNECT and TRACE are not passed on",
        );
    }
    // h2c is an offer that every server may pass over.
    let upgrades = parts.headers.get_all(header::UPGRADE).iter();
    if upgrades
        .into_iter()
        .any(|to| !to.as_bytes().eq_ignore_ascii_case(b"h2c"))
    {
        return refuse(
            StatusCode::NOT_IMPLEMENTED,
            "Upgrade (WebSocket and others) is not passed on: only requests and answers are",
        );
    }
    let (plugin, path) = target(&parts.uri);
    let fields = parts.headers.iter().map(|(name, value)| HttpHeader {
        name: name.as_str().to_owned(),
        value: axum::body::Bytes::copy_from_slice(value.as_bytes()),
    });
    let mut headers = end_to_end(fields.collect());
    headers.retain(|field| {
        let name = field.name.as_str();
        let of_caller = OF_THE_CALLER.contains(&name) || name.starts_with("x-forwarded-");
        !of_caller && (forward || !CREDENTIALS.contains(&name))
    });
    headers.push(HttpHeader::new("via", VIA.as_bytes().to_vec()));
    let head = HttpRequest {
        method: parts.method.as_str().to_owned(),
        path,
        headers,
        has_body,
    };
    if head.counts() > limits::HTTP_PASSED_HEAD {
        let message = format!(
            "the request's path and header fields are over the limit of {} bytes",
            limits::HTTP_PASSED_HEAD
        );
        let http = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Err(Refusal::new(http, Code::InvalidArgument, message));
    }
    Ok((plugin, head))
}

/// The plugin's name, and the path that it is asked for, as it was written: what an escape stands for is decided by who
/// answers.
fn target(uri: &Uri) -> (&str, String) {
    let mut parts = uri.path().splitn(5, '/').skip(2);
    let plugin = parts.next().unwrap_or_default();
    let rest = parts.nth(1).unwrap_or_default();
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    (plugin, format!("/{rest}{query}"))
}

/// The head of the plugin's answer, fit for this caller.
pub(super) fn told(
    head: HttpResponse,
    method: &Method,
    forward: bool,
) -> Result<(StatusCode, HeaderMap), Refusal> {
    let broken = |text: String| {
        Refusal::from(Status::new(
            Code::Internal,
            reason::PLUGIN_ERROR,
            format!("the plugin's answer cannot be passed on: {text}"),
        ))
    };
    let status = u16::try_from(head.status)
        .ok()
        .filter(|status| (200..=599).contains(status))
        .and_then(|status| StatusCode::from_u16(status).ok());
    let status = status.ok_or_else(|| broken(format!("its status is {}", head.status)))?;
    if head.counts() > limits::HTTP_ANSWER_HEAD {
        let most = limits::HTTP_ANSWER_HEAD;
        return Err(broken(format!("its head is over the limit of {most} bytes")));
    }
    let mut headers = HeaderMap::with_capacity(head.headers.len() + 4);
    for field in end_to_end(head.headers) {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(field.value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(broken(format!("its field {:?} cannot be sent", field.name)));
        };
        if !OF_THE_ORIGIN.contains(&name.as_str()) && (forward || name != header::SET_COOKIE) {
            headers.append(name, value);
        }
    }
    let lengths: Vec<_> = headers.get_all(header::CONTENT_LENGTH).iter().collect();
    let is_length = |value: &HeaderValue| {
        let digits = value
            .to_str()
            .is_ok_and(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        digits && value.to_str().is_ok_and(|text| text.parse::<u64>().is_ok())
    };
    if lengths.len() > 1 || !lengths.into_iter().all(is_length) {
        return Err(broken("its content-length is not one number".to_owned()));
    }
    // Of an answer that has no body only that to HEAD may say how long it would be.
    if !has_body(method, status) && method != Method::HEAD {
        headers.remove(header::CONTENT_LENGTH);
    }
    headers.append(header::VIA, VIA);
    // In a browser it is a document without rights: it must not drive the hub as a page of the hub's own.
    headers.append(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("sandbox"),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers
        .entry("x-accel-buffering")
        .or_insert(HeaderValue::from_static("no"));
    Ok((status, headers))
}

/// Whether an answer of this status has one.
pub(super) fn has_body(method: &Method, status: StatusCode) -> bool {
    let without = [
        StatusCode::NO_CONTENT,
        StatusCode::RESET_CONTENT,
        StatusCode::NOT_MODIFIED,
    ];
    method != Method::HEAD && !without.contains(&status)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parts(method: &str, uri: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = axum::http::Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn answer(status: u32, fields: &[(&str, &str)]) -> HttpResponse {
        let field = |(name, value): &(&str, &str)| HttpHeader::new(*name, value.as_bytes().to_vec());
        HttpResponse {
            status,
            headers: fields.iter().map(field).collect(),
        }
    }

    #[test]
    fn the_path_travels_as_it_was_written() {
        for (asked, plugin, path) in [
            ("/plugins/p1/http", "p1", "/"),
            ("/plugins/p1/http/", "p1", "/"),
            ("/plugins/p1/http/system-info", "p1", "/system-info"),
            (
                "/plugins/p1/http/a/../%2e%2e/b?c=%2F&d",
                "p1",
                "/a/../%2e%2e/b?c=%2F&d",
            ),
            ("/plugins/p1/http//create", "p1", "//create"),
            ("/plugins/p%31/http/x", "p%31", "/x"),
        ] {
            let uri = asked.parse().unwrap();
            assert_eq!(target(&uri), (plugin, path.to_owned()), "{asked}");
        }
    }

    #[test]
    fn what_is_of_one_connection_or_the_callers_own_stays_here() {
        let fields = [
            ("accept", true),
            ("authorization", false),
            ("cookie", false),
            ("host", false),
            ("forwarded", false),
            ("x-forwarded-for", false),
            ("x-forwarded-anything", false),
            ("x-real-ip", false),
            ("te", false),
            ("x-named", false),
            ("content-length", true),
            ("x-other", true),
        ];
        let mut sent: Vec<_> = fields.map(|(name, _)| (name, "7")).to_vec();
        sent.push(("connection", "x-named"));
        let parts = parts("POST", "/plugins/p/http/x", &sent);
        let names = |forward| -> Vec<String> {
            let (_, head) = asked(&parts, true, forward).unwrap();
            head.headers.into_iter().map(|field| field.name).collect()
        };
        let expected = |forward: bool| -> Vec<&str> {
            let goes = |(name, goes): &(&'static str, bool)| *goes || (forward && CREDENTIALS.contains(name));
            let mut names: Vec<_> = fields
                .iter()
                .filter(|field| goes(field))
                .map(|field| field.0)
                .collect();
            names.push("via");
            names
        };
        assert_eq!(names(false), expected(false));
        assert_eq!(names(true), expected(true));
    }

    #[test]
    fn what_is_no_request_and_answer_is_refused() {
        let refused = |method: &str, fields: &[(&str, &str)]| {
            let parts = parts(method, "/plugins/p/http/x", fields);
            asked(&parts, false, false)
                .err()
                .map(|refusal| refusal.http.as_u16())
        };
        assert_eq!(refused("TRACE", &[]), Some(405));
        let websocket = [("connection", "Upgrade"), ("upgrade", "websocket")];
        assert_eq!(refused("GET", &websocket), Some(501));
        assert_eq!(refused("GET", &[("upgrade", "h2c")]), None);
        assert_eq!(refused("PROPFIND", &[]), None);
        let long = "x".repeat(limits::HTTP_PASSED_HEAD);
        assert_eq!(refused("GET", &[("x-long", &long)]), Some(431));
    }

    #[test]
    fn an_answer_is_a_strangers_document_and_sets_nothing_for_the_hubs_own_address() {
        let head = answer(
            200,
            &[
                ("content-type", "text/html"),
                ("content-length", "12"),
                ("content-security-policy", "default-src *"),
                ("connection", "keep-alive, x-hop"),
                ("x-hop", "1"),
                ("transfer-encoding", "chunked"),
                ("set-cookie", "a=b"),
                ("strict-transport-security", "max-age=1"),
                ("alt-svc", "h3=\":1\""),
                ("clear-site-data", "\"*\""),
                ("location", "https://example.org/else"),
            ],
        );
        let (status, headers) = told(head.clone(), &Method::GET, false).unwrap();
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let expected = [
            "content-length",
            "content-security-policy",
            "content-type",
            "location",
            "via",
            "x-accel-buffering",
            "x-content-type-options",
        ];
        assert_eq!((status.as_u16(), names.as_slice()), (200, expected.as_slice()));
        let policies: Vec<_> = headers.get_all("content-security-policy").iter().collect();
        assert_eq!(policies, ["default-src *", "sandbox"], "all of them count");
        let (_, headers) = told(head, &Method::GET, true).unwrap();
        assert_eq!(headers["set-cookie"], "a=b");
    }

    #[test]
    fn an_answer_that_is_none_is_502_and_not_passed_on() {
        let long = "x".repeat(limits::HTTP_ANSWER_HEAD);
        for (status, fields) in [
            (101, &[][..]),
            (99, &[]),
            (600, &[]),
            (70_000, &[]),
            (200, &[("a b", "c")]),
            (200, &[("a", "b\r\nc: d")]),
            (200, &[("content-length", "5"), ("content-length", "6")]),
            (200, &[("content-length", "+5")]),
            (200, &[("x", long.as_str())]),
        ] {
            let refusal = told(answer(status, fields), &Method::GET, false).unwrap_err();
            assert_eq!(refusal.http, 502, "{status} {}", refusal.status);
        }
    }

    #[test]
    fn only_an_answer_to_head_says_the_length_of_a_body_that_it_has_not() {
        let length = |method: Method, status| {
            let head = answer(status, &[("content-length", "5")]);
            told(head, &method, false)
                .unwrap()
                .1
                .contains_key("content-length")
        };
        assert!(length(Method::HEAD, 200) && length(Method::GET, 200));
        assert!(!length(Method::GET, 204) && !length(Method::GET, 304));
    }
}
