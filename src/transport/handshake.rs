//! The TLS handshake of one peer, within its time.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::Io;

/// For the whole handshake.
const LIMIT: Duration = Duration::from_secs(5);
/// What somebody is told who speaks HTTP where TLS is spoken.
const PLAIN: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 65\r\n\r\nthis port speaks TLS only: use https://, wss:// or grpcs:// here\n";
/// How much of a request that is not read by anybody is taken in, so that its sender can read the answer: a socket
/// closed with unread bytes is reset.
const MAX_THROWN_AWAY: u64 = 64 << 10;

/// The stream after its handshake, with the address of the peer; none when there was no good one.
pub(super) async fn handshake(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    peer: String,
) -> Option<(Io, String)> {
    match timeout(LIMIT, shake(acceptor, stream, &peer)).await {
        Ok(io) => io.map(|io| (io, peer)),
        Err(_) => {
            tracing::info!(peer, "TLS handshake took too long");
            None
        }
    }
}

async fn shake(acceptor: TlsAcceptor, stream: TcpStream, peer: &str) -> Option<Io> {
    let mut first = [0];
    if matches!(stream.peek(&mut first).await, Ok(1)) && first[0].is_ascii_uppercase() {
        tracing::info!(peer, "plain HTTP came to the TLS port");
        turn_away(stream).await;
        return None;
    }
    match acceptor.accept(stream).await {
        Ok(stream) => Some(Io::Tls(Box::new(stream.into()))),
        Err(error) => {
            tracing::info!(peer, %error, "TLS handshake failed");
            None
        }
    }
}

/// However it goes, the connection ends here.
async fn turn_away(mut stream: TcpStream) {
    let _ = stream.write_all(PLAIN).await;
    let _ = stream.shutdown().await;
    let _ = tokio::io::copy(&mut stream.take(MAX_THROWN_AWAY), &mut tokio::io::sink()).await;
}
