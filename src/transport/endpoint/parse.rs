//! Addresses as people write them.

use super::{Endpoint, EndpointError, MAX_UNIX_PATH, Target};

impl Endpoint {
    /// Reads where a link is dialled: all that [`Endpoint::parse`] reads, `grpc://host:port`, `grpcs://host:port` and
    /// `grpc+unix:///path/of.sock`.
    ///
    /// # Errors
    /// As [`Endpoint::parse`].
    pub fn parse_hub(address: &str) -> Result<Self, EndpointError> {
        let plain = match address
            .split_once("://")
            .map(|(scheme, _)| scheme.to_ascii_lowercase())
        {
            Some(scheme) if scheme == "grpc" => "http",
            Some(scheme) if scheme == "grpcs" => "https",
            Some(scheme) if scheme == "grpc+unix" => "unix",
            _ => return Self::parse(address),
        };
        let fail = |problem| EndpointError {
            address: without_password(address),
            problem,
        };
        if cfg!(not(feature = "grpc")) {
            return Err(fail("this build has no gRPC: use ws:// or wss://"));
        }
        let rest = address.split_once("://").map_or("", |(_, rest)| rest);
        let mut endpoint = Self::parse(&format!("{plain}://{rest}")).map_err(|error| fail(error.problem))?;
        if !["", "/"].contains(&endpoint.path.as_str()) {
            return Err(fail(
                "a gRPC address has no path: its one call has a name of its own",
            ));
        }
        endpoint.path.clear();
        endpoint.grpc = true;
        Ok(endpoint)
    }

    /// Reads an address.
    ///
    /// # Errors
    /// Says what is wrong and which forms there are. Never repeats a password.
    pub fn parse(address: &str) -> Result<Self, EndpointError> {
        let fail = |problem| EndpointError {
            address: without_password(address),
            problem,
        };
        let Some((scheme, rest)) = address.split_once("://") else {
            return Err(fail(
                "it needs a scheme: ws://, wss://, http://, https:// or unix:///path",
            ));
        };
        if address.chars().any(|c| c.is_control() || c == ' ') {
            return Err(fail("it has a space or a control character"));
        }
        let (tls, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" | "ws" => (false, 80),
            "https" | "wss" => (true, 443),
            "unix" | "ws+unix" | "http+unix" => return Self::parse_unix(rest).map_err(fail),
            _ => {
                return Err(fail(
                    "unknown scheme: use ws://, wss://, http://, https:// or unix:///path",
                ));
            }
        };
        let split = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(split);
        if authority.contains('@') {
            return Err(fail("no user or password here: give the token in a token file"));
        }
        if !path.is_ascii() {
            return Err(fail("its path is not ASCII: write it percent-encoded"));
        }
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('?') {
            format!("/{path}")
        } else {
            path.to_owned()
        };
        let (host, port) = split_authority(authority, default_port).map_err(fail)?;
        Ok(Self {
            grpc: false,
            target: Target::Tcp { host, port, tls },
            path,
        })
    }

    fn parse_unix(rest: &str) -> Result<Self, &'static str> {
        let (socket, path) = match rest.split_once(":/") {
            Some((socket, path)) => (socket, format!("/{path}")),
            None => (rest, String::new()),
        };
        if !socket.starts_with('/') {
            return Err("a Unix socket needs a path from the root: unix:///path/of.sock");
        }
        if socket.len() > MAX_UNIX_PATH {
            return Err("the path of a Unix socket has at most 107 bytes");
        }
        Ok(Self {
            grpc: false,
            target: Target::Unix(socket.into()),
            path,
        })
    }
}

fn split_authority(authority: &str, default_port: u16) -> Result<(String, u16), &'static str> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("an IPv6 address ends with ]")?;
        host.parse::<std::net::Ipv6Addr>()
            .map_err(|_| "there is no IPv6 address between [ and ]")?;
        (
            host,
            if rest.is_empty() {
                None
            } else {
                Some(rest.strip_prefix(':').ok_or("only a port follows ]")?)
            },
        )
    } else {
        match authority.split_once(':') {
            Some((_, port)) if port.contains(':') => return Err("write an IPv6 address as [::1]:3000"),
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    if host.is_empty() {
        return Err("it has no host");
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
    if !host.chars().all(allowed) {
        return Err("its host has a character that no host name has");
    }
    let port = match port {
        None => default_port,
        Some(digits) => match digits.parse() {
            Ok(0) | Err(_) => return Err("its port is not a number from 1 to 65535"),
            Ok(port) => port,
        },
    };
    Ok((host.to_owned(), port))
}

fn without_password(address: &str) -> String {
    match (address.find("://"), address.rfind('@')) {
        (Some(start), Some(at)) if start < at => format!("{}://...{}", &address[..start], &address[at..]),
        (None, Some(at)) => format!("...{}", &address[at..]),
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (written, shown, host, path) in [
            (
                "ws://127.0.0.1:3000/ws",
                "http://127.0.0.1:3000/ws",
                "127.0.0.1:3000",
                "/ws",
            ),
            (
                "http://hub.example",
                "http://hub.example:80",
                "hub.example",
                "/ws",
            ),
            (
                "WSS://hub.example/",
                "https://hub.example:443/",
                "hub.example",
                "/ws",
            ),
            (
                "https://[::1]:8443/a?b=1#c",
                "https://[::1]:8443/a",
                "[::1]:8443",
                "/a?b=1",
            ),
            ("unix:///run/t.sock", "unix:///run/t.sock", "unix", "/ws"),
            (
                "ws+unix:///run/t.sock:/link",
                "unix:///run/t.sock:/link",
                "unix",
                "/link",
            ),
        ] {
            let endpoint = Endpoint::parse(written).unwrap();
            assert_eq!(endpoint.to_string(), shown);
            assert_eq!(endpoint.host_header(), host);
            assert_eq!(endpoint.path_or("/ws"), path);
        }
    }

    #[cfg(feature = "grpc")]
    #[test]
    fn a_link_over_grpc_has_schemes_of_its_own_and_no_path() {
        for (written, shown, host) in [
            ("grpc://127.0.0.1:3001", "grpc://127.0.0.1:3001", "127.0.0.1:3001"),
            ("GRPC://hub.example/", "grpc://hub.example:80", "hub.example"),
            ("grpcs://[::1]", "grpcs://[::1]:443", "[::1]"),
            ("grpc+unix:///run/t.sock", "grpc+unix:///run/t.sock", "unix"),
        ] {
            let endpoint = Endpoint::parse_hub(written).unwrap();
            assert!(endpoint.is_grpc(), "{written}");
            assert_eq!(
                (endpoint.to_string(), endpoint.host_header()),
                (shown.to_owned(), host.to_owned())
            );
        }
        assert!(!Endpoint::parse_hub("ws://hub/ws").unwrap().is_grpc());
        for (written, problem) in [
            ("grpc://hub:1/ws", "no path"),
            ("grpc+unix:///run/t.sock:/ws", "no path"),
            ("grpcs://", "no host"),
            ("grpc://me:secret@hub:1", "token file"),
            ("grpcx://hub", "unknown scheme"),
        ] {
            let text = Endpoint::parse_hub(written).unwrap_err().to_string();
            assert!(
                text.contains(problem) && !text.contains("secret"),
                "{written}: {text}"
            );
        }
        // What is no link has none.
        assert!(Endpoint::parse("grpc://hub").is_err());
    }

    #[test]
    fn bad_addresses_say_what_is_wrong() {
        for (written, problem) in [
            ("127.0.0.1:3000", "scheme"),
            ("ftp://x", "unknown scheme"),
            ("ws://", "no host"),
            ("ws://host:port", "port"),
            ("ws://host:0", "port"),
            ("ws://::1:3000", "[::1]"),
            ("ws://[::1", "]"),
            ("ws://ho st/", "space"),
            ("ws://a\r\nb/", "control"),
            ("unix://run/t.sock", "root"),
        ] {
            let text = Endpoint::parse(written).unwrap_err().to_string();
            assert!(text.contains(problem), "{written}: {text}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_repeated() {
        let text = Endpoint::parse("ws://me:secret@host/ws").unwrap_err().to_string();
        assert!(text.contains("token file") && !text.contains("secret"), "{text}");
    }
}
