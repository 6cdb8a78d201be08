//! Addresses to listen on.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listen {
    /// HOST:PORT.
    Tcp(SocketAddr),
    /// unix:///PATH.
    Unix(PathBuf),
}

impl Listen {
    /// Reads `HOST:PORT` (an IP address, `localhost`, or nothing for all addresses) or `unix:///PATH`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix://") {
            return if path.starts_with('/') {
                Ok(Self::Unix(PathBuf::from(path)))
            } else {
                Err(format!(
                    "{text:?}: a unix socket needs an absolute path, such as unix:///run/towline.sock"
                ))
            };
        }
        let bare = text
            .strip_prefix("http://")
            .or_else(|| text.strip_prefix("https://"))
            .or_else(|| text.strip_prefix("grpc://"))
            .or_else(|| text.strip_prefix("grpcs://"))
            .unwrap_or(text);
        if let Ok(address) = bare.parse() {
            return Ok(Self::Tcp(address));
        }
        let wrong =
            || format!("{text:?} is no address: use HOST:PORT such as 127.0.0.1:3000, or unix:///PATH");
        let (host, port) = bare.rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port.parse().map_err(|_| wrong())?;
        let ip: IpAddr = match host {
            "localhost" => Ipv4Addr::LOCALHOST.into(),
            "" | "*" => Ipv6Addr::UNSPECIFIED.into(),
            _ => return Err(wrong()),
        };
        Ok(Self::Tcp(SocketAddr::new(ip, port)))
    }

    /// Whether only this machine can get there.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}
