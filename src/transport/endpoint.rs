//! [`Endpoint`]: where a hub listens, as people write it, and how to get a byte stream to it.

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use rustls::pki_types::ServerName;
use tokio::{
    net::{TcpStream, UnixStream},
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;

use super::{Io, TlsConfig, TlsError, io::tune};

/// Longest Unix socket path (`sun_path` less its end).
pub(super) const MAX_UNIX_PATH: usize = 107;

/// An address of a hub: `http://`, `https://`, `ws://`, `wss://` with host, port and path, or
/// `unix:///path/of.sock`, for a WebSocket path other than the default `unix:///path/of.sock:/other`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    target: Target,
    /// Path and query of the HTTP request; empty when none was written.
    path: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Tcp { host: String, port: u16, tls: bool },
    Unix(PathBuf),
}

/// An address that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad address {address:?}: {problem}")]
pub struct EndpointError {
    address: String,
    problem: &'static str,
}

/// Why no byte stream came about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name has no address.
    #[error("cannot resolve {host:?}: check the name and this machine's DNS")]
    Dns {
        /// The name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Nobody answered.
    #[error("cannot connect to {address}: is the hub running and reachable from here?")]
    Connect {
        /// Where.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The TLS handshake failed.
    #[error("TLS with {address}: {problem}")]
    Tls {
        /// Where.
        address: String,
        /// What went wrong, and what to do.
        problem: String,
    },
    /// The TLS settings are not good.
    #[error(transparent)]
    Settings(#[from] TlsError),
    /// It took too long.
    #[error("no connection to {address} within {} s: is a firewall dropping it?", after.as_secs_f32())]
    Timeout {
        /// Where.
        address: String,
        /// The limit.
        after: Duration,
    },
}

impl Endpoint {
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
            target: Target::Unix(socket.into()),
            path,
        })
    }

    /// Path and query of the address, or `default` when it has none (or only a slash).
    pub fn path_or<'a>(&'a self, default: &'a str) -> &'a str {
        match self.path.as_str() {
            "" | "/" => default,
            path => path,
        }
    }

    /// The value of the Host header.
    pub fn host_header(&self) -> String {
        match &self.target {
            Target::Unix(_) => "unix".to_owned(),
            Target::Tcp { host, port, tls } if *port == if *tls { 443 } else { 80 } => bracketed(host),
            Target::Tcp { host, port, .. } => format!("{}:{port}", bracketed(host)),
        }
    }

    /// True when bytes to it are encrypted, or do not leave the machine.
    pub fn is_private(&self) -> bool {
        matches!(&self.target, Target::Tcp { tls: true, .. }) || self.is_local()
    }

    /// True when bytes to it do not leave the machine.
    pub fn is_local(&self) -> bool {
        match &self.target {
            Target::Unix(_) => true,
            Target::Tcp { host, .. } => {
                host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }
        }
    }

    /// Connects, TLS included, at most for `timeout`.
    ///
    /// # Errors
    /// Which step failed, where, and what to do.
    ///
    /// # Cancel safety
    /// Dropping the future drops the half-made connection.
    pub async fn connect(&self, tls: &TlsConfig, timeout: Duration) -> Result<Io, ConnectError> {
        let attempt = self.connect_by(tls, Instant::now() + timeout, timeout);
        match tokio::time::timeout(timeout, attempt).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::Timeout {
                address: self.to_string(),
                after: timeout,
            }),
        }
    }

    async fn connect_by(&self, tls: &TlsConfig, by: Instant, timeout: Duration) -> Result<Io, ConnectError> {
        match &self.target {
            Target::Unix(path) => {
                UnixStream::connect(path)
                    .await
                    .map(Io::Unix)
                    .map_err(|source| ConnectError::Connect {
                        address: format!("unix://{}", path.display()),
                        source,
                    })
            }
            Target::Tcp {
                host,
                port,
                tls: false,
            } => Ok(Io::tcp(connect_tcp(host, *port, by, timeout).await?)),
            Target::Tcp {
                host,
                port,
                tls: true,
            } => {
                let settings = tls.clone();
                let loaded = tokio::task::spawn_blocking(move || settings.client_config()).await;
                let address = format!("{}:{port}", bracketed(host));
                let fail = |problem| ConnectError::Tls {
                    address: address.clone(),
                    problem,
                };
                let config = loaded.map_err(|error| fail(error.to_string()))??;
                let name = ServerName::try_from(host.clone())
                    .map_err(|_| fail(format!("{host:?} is not a name a certificate can have")))?;
                let stream = connect_tcp(host, *port, by, timeout).await?;
                tune(&stream);
                match TlsConnector::from(Arc::clone(&config))
                    .connect(name, stream)
                    .await
                {
                    Ok(stream) => Ok(Io::Tls(Box::new(stream.into()))),
                    Err(error) => Err(fail(explain(&error, tls))),
                }
            }
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Unix(path) if self.path.is_empty() => write!(f, "unix://{}", path.display()),
            Target::Unix(path) => write!(f, "unix://{}:{}", path.display(), self.path),
            Target::Tcp { host, port, tls } => {
                let scheme = if *tls { "https" } else { "http" };
                // The query may hold a secret.
                let path = self.path.split('?').next().unwrap_or_default();
                write!(f, "{scheme}://{}:{port}{path}", bracketed(host))
            }
        }
    }
}

/// Tries each address of the name in turn; a silent one must not use up the time of those after it.
async fn connect_tcp(
    host: &str,
    port: u16,
    by: Instant,
    timeout: Duration,
) -> Result<TcpStream, ConnectError> {
    let found = tokio::net::lookup_host((host, port)).await;
    let addresses: Vec<_> = found
        .map_err(|source| ConnectError::Dns {
            host: host.to_owned(),
            source,
        })?
        .collect();
    let share = timeout / u32::try_from(addresses.len().max(1)).unwrap_or(1);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match timeout_at(by.min(Instant::now() + share), TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, "no answer"),
        }
    }
    let address = format!("{}:{port}", bracketed(host));
    if last.kind() == io::ErrorKind::TimedOut {
        return Err(ConnectError::Timeout {
            address,
            after: timeout,
        });
    }
    Err(ConnectError::Connect {
        address,
        source: last,
    })
}

fn explain(error: &io::Error, tls: &TlsConfig) -> String {
    use rustls::{CertificateError as Cert, Error as Tls};
    let trusted = match &tls.ca_file {
        Some(file) => format!("the CA file {}", file.display()),
        None => "this system's CA certificates".to_owned(),
    };
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Tls>()) {
        // A bad signature is what a renewed CA of the same name gives.
        Some(Tls::InvalidCertificate(Cert::UnknownIssuer | Cert::BadSignature)) => format!(
            "the certificate is not signed by a CA in {trusted}: set the CA file to the CA that signed it"
        ),
        Some(Tls::InvalidCertificate(Cert::Expired | Cert::ExpiredContext { .. })) => {
            "the certificate has expired: renew it, or check this machine's clock".to_owned()
        }
        Some(Tls::InvalidCertificate(Cert::NotValidForName | Cert::NotValidForNameContext { .. })) => {
            "the certificate is for another name: dial the name that is in it".to_owned()
        }
        Some(Tls::InvalidMessage(_)) => {
            "the answer is not TLS: is this a plain port? then use ws:// or http://".to_owned()
        }
        Some(other) => other.to_string(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the peer ended the handshake: is this a TLS port?".to_owned()
        }
        None => error.to_string(),
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

fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
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

    #[test]
    fn loopback_unix_and_tls_are_private() {
        for (written, private) in [
            ("ws://127.0.0.1:1/", true),
            ("ws://localhost:1/", true),
            ("unix:///x", true),
            ("wss://hub", true),
            ("ws://hub", false),
        ] {
            assert_eq!(
                Endpoint::parse(written).unwrap().is_private(),
                private,
                "{written}"
            );
        }
    }
}
