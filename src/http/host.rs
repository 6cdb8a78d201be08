//! The header `Host`, against DNS rebinding: a page in a browser can point its own name at 127.0.0.1 and then speak
//! to a hub there as its own origin. What it cannot do is send another `Host` than that name.

use std::net::IpAddr;

use axum::http::{HeaderMap, StatusCode, Uri, header};

use super::answer::{Refusal, one_line};
use crate::code::Code;

/// Lets a request in that calls the hub by a name of this machine, or by one of `allowed`.
pub(super) fn check(allowed: &[String], uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    // A browser always sends one; HTTP/1.0 health checks do not.
    let sent = headers.get_all(header::HOST).iter().map(|value| value.to_str());
    let in_target = uri.authority().map(|authority| Ok(authority.as_str()));
    for host in sent.chain(in_target) {
        let host = host.map_err(|_| refusal("?"))?;
        let name = bare(host);
        if !is_here(name)
            && !allowed
                .iter()
                .any(|allowed| bare(allowed).eq_ignore_ascii_case(name))
        {
            return Err(refusal(name));
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

fn refusal(name: &str) -> Refusal {
    let name: String = one_line(name).chars().take(100).collect();
    let message = format!(
        "refused because of the header Host: this hub listens without a token and is called {name:?}, which a web page \
         could do too. Call it localhost or 127.0.0.1, or start it with --allowed-host NAME (hub.allowed_hosts) or with \
         a token"
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
        check(&allowed, &target.parse().unwrap(), &headers).is_ok()
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
        let refusal = refusal("evil.example");
        assert_eq!(refusal.http, 421);
        assert!(
            refusal.status.message.contains("\"evil.example\"")
                && refusal.status.message.contains("--allowed-host")
        );
    }
}
