//! Which script servers may be asked: the origin of a URL, compared whole.
//!
//! A create's URL comes from elsewhere and decides where a pod with its Secrets is sent. So what a parser could read in
//! two ways is not read at all: user and password, backslashes, percent signs in a host, characters outside ASCII.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use crate::limits;

/// Scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    tls: bool,
    /// Lower case; an IPv6 address in its shortest form and brackets.
    host: String,
    port: u16,
}

/// Why a URL names nothing that can be asked. Never repeats it: it may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadUrl(&'static str);

/// What to ask, and where.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) origin: Origin,
    /// Path and query, from the slash on.
    pub(super) path: String,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, usual) = if self.tls { ("https", 443) } else { ("http", 80) };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port != usual {
            write!(f, ":{}", self.port)?;
        }
        Ok(())
    }
}

impl FromStr for Origin {
    type Err = BadUrl;

    /// Reads `https://scripts.example.org` or `http://HOST:PORT`.
    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let place = Place::parse(text)?;
        if place.path != "/" {
            return Err(BadUrl(
                "an origin is scheme, host and port: give it without a path",
            ));
        }
        Ok(place.origin)
    }
}

impl Place {
    pub(super) fn parse(url: &str) -> Result<Self, BadUrl> {
        if url.len() > limits::JOBSCRIPT_URL {
            return Err(BadUrl("it has more than 4096 bytes"));
        }
        if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadUrl(
                "it has a space or a character outside ASCII: write the host as xn--... and the path percent-encoded",
            ));
        }
        if url.contains('\\') {
            return Err(BadUrl("it has a backslash"));
        }
        let (scheme, rest) = url
            .split_once("://")
            .ok_or(BadUrl("it is no URL with http:// or https://"))?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(BadUrl("its scheme is neither http nor https")),
        };
        let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (host, port) = authority_of(authority)?;
        let tail = tail.split('#').next().unwrap_or_default();
        let path = if tail.starts_with('/') {
            tail.to_owned()
        } else {
            format!("/{tail}")
        };
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        Ok(Self {
            origin: Origin { tls, host, port },
            path,
        })
    }
}

fn authority_of(authority: &str) -> Result<(String, Option<u16>), BadUrl> {
    if authority.contains('@') {
        return Err(BadUrl("it has a user or password"));
    }
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (address, rest) = rest
            .split_once(']')
            .ok_or(BadUrl("an IPv6 address ends with ]"))?;
        let address: Ipv6Addr = address
            .parse()
            .map_err(|_| BadUrl("there is no IPv6 address between [ and ]"))?;
        let port = match rest {
            "" => None,
            rest => Some(rest.strip_prefix(':').ok_or(BadUrl("only a port follows ]"))?),
        };
        (format!("[{address}]"), port)
    } else {
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if host.is_empty() || !host.bytes().all(allowed) {
            return Err(BadUrl(
                "it has no host, or one with a character that no host name has",
            ));
        }
        (host.to_ascii_lowercase(), port)
    };
    let port = match port {
        None => None,
        // Rust's own parser takes a plus sign.
        Some(digits) if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            return Err(BadUrl("its port is no number"));
        }
        Some(digits) => match digits.parse() {
            Ok(0) | Err(_) => return Err(BadUrl("its port is not from 1 to 65535")),
            Ok(port) => Some(port),
        },
    };
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn origin(text: &str) -> Origin {
        text.parse().unwrap()
    }

    #[test]
    fn the_same_origin_is_recognised_however_it_is_written() {
        for (allowed, url) in [
            (
                "https://scripts.example.org",
                "https://scripts.example.org/build?a=b",
            ),
            (
                "https://scripts.example.org/",
                "https://scripts.example.org:443/build",
            ),
            ("https://scripts.example.org:443", "HTTPS://Scripts.Example.ORG"),
            ("http://scripts.example.org", "http://scripts.example.org:80?x"),
            (
                "http://scripts.example.org:8080",
                "http://scripts.example.org:08080/#@evil.example.org",
            ),
            ("http://[::1]:9", "http://[0:0:0:0:0:0:0:1]:9/"),
            (
                "https://xn--bcher-kva.example",
                "https://XN--bcher-kva.example/a@b",
            ),
        ] {
            assert_eq!(origin(allowed), Place::parse(url).unwrap().origin, "{url}");
        }
    }

    #[test]
    fn another_origin_is_another_one() {
        let allowed = origin("https://scripts.example.org");
        for url in [
            "http://scripts.example.org/",
            "https://scripts.example.org:8443/",
            "https://scripts.example.org.:443/",
            "https://scripts.example.org.evil.example/",
            "https://evil.example/https://scripts.example.org/",
            "https://evil.example?https://scripts.example.org/",
            "https://evil.example#scripts.example.org",
            "https://scripts-example.org/",
            "https://[::1]/",
            "https://127.0.0.1/",
        ] {
            assert_ne!(Place::parse(url).unwrap().origin, allowed, "{url}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not_read() {
        for (url, why) in [
            ("https://scripts.example.org@evil.example/", "user or password"),
            ("https://evil.example%2f@scripts.example.org/", "user or password"),
            ("https://:p@scripts.example.org/", "user or password"),
            ("https://scripts.example.org\\@evil.example/", "backslash"),
            ("https://scripts.example.org\\.evil.example/", "backslash"),
            ("https://evil.example%00.scripts.example.org/", "host"),
            ("https://scripts.example.org%2eevil.example/", "host"),
            ("https://scripts\u{ff0e}example.org/", "ASCII"),
            ("https://b\u{fc}cher.example/", "xn--"),
            ("https://scripts.example.org /", "space"),
            ("https://scripts.example.org\r\nHost: x/", "space"),
            ("https:///scripts.example.org/", "no host"),
            ("https:/scripts.example.org/", "no URL"),
            ("//scripts.example.org/", "no URL"),
            ("unix:///run/scripts.sock", "neither http"),
            ("http+unix:///run/scripts.sock", "neither http"),
            ("file:///etc/shadow", "neither http"),
            ("https://scripts.example.org:/", "port"),
            ("https://scripts.example.org:+443/", "port"),
            ("https://scripts.example.org:0/", "65535"),
            ("https://scripts.example.org:65979/", "65535"),
            ("https://scripts.example.org:443:443/", "port"),
            ("https://[::1/", "]"),
            ("https://[fe80::1%25eth0]/", "IPv6"),
            ("https://::1/", "host"),
        ] {
            let text = Place::parse(url).unwrap_err().to_string();
            assert!(text.contains(why), "{url}: {text}");
        }
        let long = format!("https://scripts.example.org/{}", "a".repeat(5_000));
        assert!(Place::parse(&long).unwrap_err().to_string().contains("4096"));
    }

    #[test]
    fn an_origin_has_no_path_and_is_shown_short() {
        assert!("https://a.example/x".parse::<Origin>().is_err());
        assert!("https://a.example?x".parse::<Origin>().is_err());
        assert_eq!(origin("HTTPS://A.example:443/").to_string(), "https://a.example");
        assert_eq!(origin("http://[::0:1]:81").to_string(), "http://[::1]:81");
    }

    #[test]
    fn path_and_query_are_kept_and_not_shown() {
        let place = Place::parse("http://a.example/b/c?token=secret#d").unwrap();
        assert_eq!(place.path, "/b/c?token=secret");
        assert_eq!(Place::parse("http://a.example?q=1").unwrap().path, "/?q=1");
        assert_eq!(Place::parse("http://a.example").unwrap().path, "/");
        assert!(!format!("{place:?}").contains("secret"));
    }
}
