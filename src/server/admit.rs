//! What a request may not be, whoever sends it.
//!
//! The header `Host` is checked against DNS rebinding: a page in a browser can point its own name at 127.0.0.1 and then
//! speak to who listens there as its own origin. What it cannot do is send another `Host` than that name.

use std::net::IpAddr;

use hyper::{HeaderMap, StatusCode, Uri, header};

use super::{Refusal, one_line};
use crate::{code::Code, limits};

/// Turns a target down that is longer than any that is meant.
pub(crate) fn check_target(uri: &Uri) -> Result<(), Refusal> {
    let target = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target <= limits::HTTP_MAX_TARGET {
        return Ok(());
    }
    let message = format!(
        "the request target is over the limit of {} bytes",
        limits::HTTP_MAX_TARGET
    );
    Err(Refusal::new(
        StatusCode::URI_TOO_LONG,
        Code::InvalidArgument,
        message,
    ))
}

/// A page in some browser must not be able to drive what listens on loopback: no call needs a Content-Type, so the
/// browser would not even ask first.
pub(crate) fn check_origin(allowed: &[String], headers: &HeaderMap) -> Result<(), Refusal> {
    for origin in headers.get_all(header::ORIGIN) {
        let known = |allowed: &String| origin.as_bytes().eq_ignore_ascii_case(allowed.as_bytes());
        if !allowed.iter().any(known) {
            return Err(Refusal::forbidden(
                "refused because of the header Origin: only browsers send it, and this origin is not allowed here",
            ));
        }
    }
    Ok(())
}

/// Lets a request in that calls by a name of this machine, or by one of `allowed`; `advice` says what else helps.
pub(crate) fn check_host(
    allowed: &[String],
    advice: &str,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    // A browser always sends one; HTTP/1.0 health checks do not.
    let sent = headers.get_all(header::HOST).iter().map(|value| value.to_str());
    let in_target = uri.authority().map(|authority| Ok(authority.as_str()));
    for host in sent.chain(in_target) {
        let host = host.map_err(|_| refusal("?", advice))?;
        let name = bare(host);
        if !is_here(name)
            && !allowed
                .iter()
                .any(|allowed| bare(allowed).eq_ignore_ascii_case(name))
        {
            return Err(refusal(name, advice));
        }
    }
    Ok(())
}

/// A name that no foreign DNS can point here: those that every resolver keeps for this machine, its addresses, and
/// what a virtual kubelet sends over a Unix socket.
fn is_here(name: &str) -> bool {
    let loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
    name.eq_ignore_ascii_case("localhost") || name == "unix" || name.parse().is_ok_and(loopback)
}

/// Without port, brackets and closing dot.
fn bare(host: &str) -> &str {
    let host = host.trim();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    // An IPv6 address without brackets has no port.
    let name = if name.contains(':') && !name.starts_with('[') {
        host
    } else {
        name
    };
    let inside = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    inside.unwrap_or_else(|| name.strip_suffix('.').unwrap_or(name))
}

fn refusal(name: &str, advice: &str) -> Refusal {
    let name: String = one_line(name).chars().take(100).collect();
    let message = format!(
        "refused because of the header Host: what listens here without a token is called {name:?}, which a web page \
         could do too. {advice}"
    );
    Refusal::new(StatusCode::MISDIRECTED_REQUEST, Code::PermissionDenied, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn let_in(allowed: &[&str], target: &str, hosts: &[&str]) -> bool {
        let allowed: Vec<String> = allowed.iter().map(|&name| name.to_owned()).collect();
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, host.parse().unwrap());
        }
        check_host(&allowed, "", &target.parse().unwrap(), &headers).is_ok()
    }

    #[test]
    fn names_of_this_machine_are_let_in() {
        for host in [
            "localhost",
            "LocalHost:3000",
            "localhost.",
            "127.0.0.1",
            "127.9.9.9:1",
            "[::1]",
            "[::1]:3000",
            "[::ffff:127.0.0.1]:3000",
            "unix",
        ] {
            assert!(let_in(&[], "/pinglink", &[host]), "{host}");
        }
        assert!(let_in(&[], "/pinglink", &[]), "HTTP/1.0 has none");
        assert!(let_in(&[], "http://localhost:3000/pinglink", &["localhost:3000"]));
    }

    #[test]
    fn any_other_name_is_refused_unless_it_is_allowed() {
        for host in [
            "evil.example",
            "evil.example:3000",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "10.0.0.1",
            "0.0.0.0",
            "[::]:3000",
            "",
            "localhost:x",
            "\u{e9}",
        ] {
            assert!(!let_in(&[], "/pinglink", &[host]), "{host}");
        }
        assert!(let_in(&["hub.local"], "/", &["Hub.local:3000"]));
        assert!(let_in(&["10.0.0.1", "fd00::1"], "/", &["10.0.0.1:3000"]));
        assert!(let_in(&["[fd00::1]"], "/", &["[fd00::1]:3000"]));
        assert!(!let_in(&["hub.local"], "/", &["evil.example"]));
    }

    #[test]
    fn one_wrong_name_among_right_ones_is_enough() {
        assert!(!let_in(&[], "/", &["localhost", "evil.example"]));
        assert!(!let_in(&[], "http://evil.example/pinglink", &["localhost"]));
    }

    #[test]
    fn the_refusal_says_what_to_do() {
        let refusal = refusal("evil.example", "Call it localhost");
        assert_eq!(refusal.http, 421);
        assert!(
            refusal.status.message.contains("\"evil.example\"")
                && refusal.status.message.contains("Call it localhost")
        );
    }
}
