//! [`Begun`]: a byte stream of which something was read already, or of which the first bytes are remembered.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::transport::{Io, early::Early};

/// How much is remembered.
const MAX_HEARD: usize = 1 << 10;

/// A byte stream at its begin.
#[derive(Debug)]
pub(super) struct Begun {
    io: Io,
    /// Given first.
    early: Early,
    heard: Option<Heard>,
}

/// The first bytes that came: they tell what answers where no gRPC server does.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard(Arc<Mutex<Vec<u8>>>);

impl Heard {
    /// What was heard so far.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// False when it has heard enough.
    fn hear(&self, bytes: &[u8]) -> bool {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MAX_HEARD.saturating_sub(heard.len());
        heard.extend_from_slice(&bytes[..bytes.len().min(room)]);
        heard.len() < MAX_HEARD
    }
}

impl Begun {
    /// A stream of which `early` was read.
    pub(super) fn after(io: Io, early: Bytes) -> Self {
        Self {
            io,
            early: Early::new(early),
            heard: None,
        }
    }

    /// A stream, and what comes first on it.
    pub(super) fn heard(io: Io) -> (Self, Heard) {
        let heard = Heard::default();
        let begun = Self {
            io,
            early: Early::default(),
            heard: Some(heard.clone()),
        };
        (begun, heard)
    }
}

impl AsyncRead for Begun {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.early.give(out) {
            return Poll::Ready(Ok(()));
        }
        let before = out.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, out))?;
        if let Some(heard) = &this.heard
            && !heard.hear(&out.filled()[before..])
        {
            this.heard = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Begun {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
