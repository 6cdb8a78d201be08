//! [`Endpoint`]: where a hub listens, as people write it, and how to get a byte stream to it.

mod connect;
mod parse;

use std::{fmt, path::PathBuf};

pub use connect::ConnectError;

/// Longest Unix socket path (`sun_path` less its end).
pub(in crate::transport) const MAX_UNIX_PATH: usize = 107;

/// An address of a hub: `http://`, `https://`, `ws://`, `wss://` with host, port and path, or
/// `unix:///path/of.sock`, for a WebSocket path other than the default `unix:///path/of.sock:/other`. For a link over gRPC
/// `grpc://`, `grpcs://` or `grpc+unix:///path/of.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    target: Target,
    grpc: bool,
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

impl Endpoint {
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

    /// Whether a link to it is a call of gRPC.
    pub fn is_grpc(&self) -> bool {
        self.grpc
    }

    /// True when bytes to it are encrypted.
    #[cfg(feature = "grpc")]
    pub(in crate::transport) fn is_tls(&self) -> bool {
        matches!(self.target, Target::Tcp { tls: true, .. })
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
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Unix(path) if self.grpc => write!(f, "grpc+unix://{}", path.display()),
            Target::Unix(path) if self.path.is_empty() => write!(f, "unix://{}", path.display()),
            Target::Unix(path) => write!(f, "unix://{}:{}", path.display(), self.path),
            Target::Tcp { host, port, tls } => {
                let scheme = match (self.grpc, *tls) {
                    (false, false) => "http",
                    (false, true) => "https",
                    (true, false) => "grpc",
                    (true, true) => "grpcs",
                };
                // The query may hold a secret.
                let path = self.path.split('?').next().unwrap_or_default();
                write!(f, "{scheme}://{}:{port}{path}", bracketed(host))
            }
        }
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

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
