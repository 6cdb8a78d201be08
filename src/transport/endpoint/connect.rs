//! From an address to a byte stream: name, TCP, TLS, each with its own error.

use std::{io, sync::Arc, time::Duration};

use rustls::pki_types::ServerName;
use tokio::{
    net::{TcpStream, UnixStream},
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;

use super::{Endpoint, Target, bracketed};
use crate::transport::{Io, TlsConfig, TlsError, io::tune, tls::HTTP2};

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
                let grpc = self.grpc;
                let load = move || {
                    if grpc {
                        settings.client_config_for(HTTP2)
                    } else {
                        settings.client_config()
                    }
                };
                let loaded = tokio::task::spawn_blocking(load).await;
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
                let handshake = TlsConnector::from(Arc::clone(&config)).connect(name, stream);
                match timeout_at(by, handshake).await {
                    Ok(Ok(stream)) => Ok(Io::Tls(Box::new(stream.into()))),
                    Ok(Err(error)) => Err(fail(explain(&error, tls, self.grpc))),
                    Err(_) => Err(fail(format!(
                        "connected, but no answer to the handshake within {} s: is this a TLS port?",
                        timeout.as_secs_f32()
                    ))),
                }
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

fn explain(error: &io::Error, tls: &TlsConfig, grpc: bool) -> String {
    use rustls::{AlertDescription, CertificateError as Cert, Error as Tls};
    let trusted = match &tls.ca_file {
        Some(file) => format!("the CA file {}", file.display()),
        None => "this system's CA certificates".to_owned(),
    };
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Tls>()) {
        // A bad signature is what a renewed CA of the same name gives.
        Some(Tls::InvalidCertificate(Cert::UnknownIssuer | Cert::BadSignature)) => format!(
            "the certificate is not signed by a CA in {trusted}: set the CA file (--ca-file) to the CA that signed it"
        ),
        Some(Tls::InvalidCertificate(Cert::Expired | Cert::ExpiredContext { .. })) => {
            "the certificate has expired: renew it, or check this machine's clock".to_owned()
        }
        Some(Tls::InvalidCertificate(Cert::NotValidYet | Cert::NotValidYetContext { .. })) => {
            "the certificate is not valid yet: check this machine's clock and the hub's".to_owned()
        }
        Some(Tls::InvalidCertificate(Cert::NotValidForName | Cert::NotValidForNameContext { .. })) => {
            "the certificate is for another name: dial the name that is in it".to_owned()
        }
        Some(Tls::InvalidMessage(_)) => {
            let plain = if grpc { "grpc://" } else { "ws:// or http://" };
            format!("the answer is not TLS: is this a plain port? then use {plain}")
        }
        Some(Tls::AlertReceived(AlertDescription::NoApplicationProtocol)) if grpc => {
            "it speaks no HTTP/2 there: gRPC has a port of its own at the hub (--grpc-listen); for /ws use wss://"
                .to_owned()
        }
        Some(other) => other.to_string(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the peer ended the handshake: is this a TLS port?".to_owned()
        }
        None => error.to_string(),
    }
}
