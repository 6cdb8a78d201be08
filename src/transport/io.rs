//! [`Io`]: one byte stream for every kind of socket, tuned once.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsStream;

use crate::limits;

/// Any byte stream in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A byte stream to one peer: TCP, TLS over TCP, a Unix socket, or anything else that reads and writes.
#[non_exhaustive]
pub enum Io {
    /// TCP without TLS.
    Tcp(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
    /// A Unix socket.
    Unix(UnixStream),
    /// Another stream, for example an upgraded HTTP connection.
    Other(Box<dyn Duplex>),
}

impl Io {
    /// A TCP stream, tuned for small messages and for noticing a dead peer.
    pub fn tcp(stream: TcpStream) -> Self {
        tune(&stream);
        Self::Tcp(stream)
    }

    /// A stream of another kind.
    pub fn other(stream: impl Duplex + 'static) -> Self {
        Self::Other(Box::new(stream))
    }

    /// How long bytes may stay unacknowledged or unsent before the kernel ends the socket. It does not tell a peer that
    /// has vanished from one that reads nothing for now. Without effect on what is not TCP.
    #[cfg_attr(
        not(feature = "hub"),
        allow(dead_code, reason = "the HTTP edge alone asks for it")
    )]
    pub(crate) fn set_user_timeout(&self, timeout: Duration) {
        let stream = match self {
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
            Self::Unix(_) | Self::Other(_) => return,
        };
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Err(error) = SockRef::from(stream).set_tcp_user_timeout(Some(timeout)) {
            tracing::debug!(%error, "socket option refused");
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let _ = (stream, timeout);
    }
}

/// Sets TCP_NODELAY (a lone frame is never delayed), TCP_USER_TIMEOUT (unacknowledged bytes end the socket) and
/// keepalive (so does a peer that has vanished while nothing is sent).
///
/// A socket that refuses is still good, so failures only cost the tuning.
pub(super) fn tune(stream: &TcpStream) {
    let nodelay = stream.set_nodelay(true);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let timeout = SockRef::from(stream).set_tcp_user_timeout(Some(limits::TCP_USER_TIMEOUT));
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let timeout = Ok(());
    let keepalive = TcpKeepalive::new()
        .with_time(limits::TCP_KEEPALIVE)
        .with_interval(limits::TCP_KEEPALIVE_INTERVAL);
    let keepalive = SockRef::from(stream).set_tcp_keepalive(&keepalive);
    if let Err(error) = nodelay.and(timeout).and(keepalive) {
        tracing::debug!(%error, "socket option refused");
    }
}

impl From<TcpStream> for Io {
    fn from(stream: TcpStream) -> Self {
        Self::tcp(stream)
    }
}

impl From<UnixStream> for Io {
    fn from(stream: UnixStream) -> Self {
        Self::Unix(stream)
    }
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp(_) => "Io::Tcp",
            Self::Tls(_) => "Io::Tls",
            Self::Unix(_) => "Io::Unix",
            Self::Other(_) => "Io::Other",
        })
    }
}

/// Calls the same poll method of whichever stream it is.
macro_rules! each {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Self::Tcp(inner) => {
                let $stream = Pin::new(inner);
                $call
            }
            Self::Tls(inner) => {
                let $stream = Pin::new(inner);
                $call
            }
            Self::Unix(inner) => {
                let $stream = Pin::new(inner);
                $call
            }
            Self::Other(inner) => {
                let $stream = Pin::new(inner);
                $call
            }
        }
    };
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
            Self::Other(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::transport::{Endpoint, Listener, TlsConfig};

    #[tokio::test]
    async fn a_peer_that_vanishes_is_noticed_on_both_ends() {
        let mut listener = Listener::bind("127.0.0.1:0", None).await.unwrap();
        let hub = Endpoint::parse(&format!("http://{}", listener.local_addr())).unwrap();
        let dialled = hub
            .connect(&TlsConfig::default(), Duration::from_secs(20))
            .await
            .unwrap();
        let (accepted, _) = listener.accept().await;
        for io in [accepted, dialled] {
            let Io::Tcp(stream) = &io else { unreachable!() };
            let socket = SockRef::from(stream);
            assert!(socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), limits::TCP_KEEPALIVE);
            assert_eq!(
                socket.tcp_keepalive_interval().unwrap(),
                limits::TCP_KEEPALIVE_INTERVAL
            );
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(limits::TCP_USER_TIMEOUT));
            io.set_user_timeout(limits::VIEWER_IDLE);
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(limits::VIEWER_IDLE));
        }
    }
}
