//! A socket of a machine that can lose its power.
//!
//! turmoil drops the tasks of a crashed host in an order that depends on what else the process has run, and each dropped
//! socket sends an end that takes its share of chance. So sockets go first, in the order in which they were opened.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use turmoil::net::TcpStream;

/// A stream until the power is off.
pub(crate) struct Plugged {
    stream: Option<TcpStream>,
    off: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Plugged {
    pub(crate) fn new(stream: TcpStream, off: CancellationToken) -> Self {
        Self {
            stream: Some(stream),
            off: Box::pin(off.cancelled_owned()),
        }
    }

    fn stream(&mut self, cx: &mut Context<'_>) -> io::Result<Pin<&mut TcpStream>> {
        if self.stream.is_some() && self.off.as_mut().poll(cx).is_ready() {
            self.stream = None;
        }
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::ConnectionReset)?;
        Ok(Pin::new(stream))
    }
}

impl AsyncRead for Plugged {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream(cx)?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Plugged {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.stream(cx)?.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream(cx)?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream(cx)?.poll_shutdown(cx)
    }
}
