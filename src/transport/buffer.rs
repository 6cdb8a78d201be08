//! [`Buffered`]: a read buffer that is not there while a link is idle and large while bytes flow.
//!
//! The WebSocket codec keeps a read buffer of a fixed size, which is all that an idle link reads into. It is small: 4 KiB
//! would save no CPU time a byte of log, and cost 3 KiB more for each idle link. This one saves the system calls that a
//! small buffer would cost, without 64 KiB for each of thousands of idle links.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{early::Early, large::Large};

/// What is read at once while idle, in bytes: the size of the codec's own buffer.
pub(super) const IDLE: usize = 1 << 10;
/// Size while bytes flow, in bytes.
pub(super) const FLOWING: usize = 64 << 10;
/// So many small reads in a row make the buffer go again. A link at rest reads about once in 20 s.
const QUIET_READS: u8 = 8;

/// A stream with its own read buffer and a count of the bytes it took.
#[derive(Debug)]
pub(super) struct Buffered<S> {
    inner: S,
    /// Bytes that the HTTP side read beyond the upgrade; given first.
    early: Early,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    quiet: u8,
    written: u64,
    /// A frame on its way out; what else is written comes after it.
    large: Option<Large>,
}

impl<S> Buffered<S> {
    pub(super) fn new(inner: S, early: Bytes) -> Self {
        Self {
            inner,
            early: Early::new(early),
            buffer: Box::default(),
            start: 0,
            end: 0,
            quiet: 0,
            written: 0,
            large: None,
        }
    }

    /// Bytes that the stream took.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Puts a frame into the way out, which must be free. It leaves as the stream is written or flushed.
    pub(super) fn begin(&mut self, large: Large) {
        debug_assert!(self.large.is_none(), "the former frame has left");
        self.large = Some(large);
    }

    /// Resizes the empty buffer after a read of `size` bytes into it.
    fn adapt(&mut self, size: usize) {
        let now = self.buffer.len();
        let next = if size == now {
            self.quiet = 0;
            (now * 4).min(FLOWING)
        } else if size < now / 4 {
            self.quiet += 1;
            if self.quiet < QUIET_READS { now } else { 0 }
        } else {
            self.quiet = 0;
            now
        };
        if self.quiet >= QUIET_READS {
            self.quiet = 0;
        }
        if next != now {
            self.buffer = vec![0; next].into();
        }
    }
}

impl<S: AsyncRead + Unpin> Buffered<S> {
    /// Fills the empty buffer. `Ready(0)` is the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(&mut self.buffer);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer))?;
        self.end = buffer.filled().len();
        Poll::Ready(Ok(self.end))
    }

    /// Reads and throws away. `Ready` at the end of the stream or when it failed.
    pub(super) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Bounded work per poll: the peer may send faster than this side can throw away.
        const ROUNDS: usize = 32;
        self.early = Early::default();
        (self.start, self.end) = (0, 0);
        if self.buffer.is_empty() {
            self.buffer = vec![0; IDLE].into();
        }
        for _ in 0..ROUNDS {
            match ready!(self.poll_fill(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Buffered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.early.give(out) {
            return Poll::Ready(Ok(()));
        }
        if this.start == this.end {
            // The last read has been taken whole, so its size may decide the size for the next one.
            if this.end > 0 {
                this.adapt(this.end);
            }
            (this.start, this.end) = (0, 0);
            if this.buffer.is_empty() {
                let before = out.filled().len();
                ready!(Pin::new(&mut this.inner).poll_read(cx, out))?;
                // More than fits is waiting.
                if out.remaining() == 0 && out.filled().len() - before >= IDLE / 2 {
                    this.buffer = vec![0; 4 * IDLE].into();
                }
                return Poll::Ready(Ok(()));
            }
            if ready!(this.poll_fill(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        let size = (this.end - this.start).min(out.remaining());
        out.put_slice(&this.buffer[this.start..this.start + size]);
        this.start += size;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Buffered<S> {
    /// Ready when the frame that was begun has left.
    pub(super) fn poll_large(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(large) = &mut self.large {
            let inner = Pin::new(&mut self.inner);
            let size = ready!(inner.poll_write_vectored(cx, &large.rest()))?;
            if size == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += size as u64;
            if !large.advance(size) {
                self.large = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Buffered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_large(cx))?;
        let size = ready!(Pin::new(&mut self.inner).poll_write(cx, buf))?;
        self.written += size as u64;
        Poll::Ready(Ok(size))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_large(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_large(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::AsyncReadExt;

    use super::*;

    async fn drain(source: &[u8], step: usize, buffered: &mut Buffered<&[u8]>) -> Vec<u8> {
        let mut all = Vec::new();
        let mut piece = vec![0; step];
        while all.len() < source.len() {
            let size = buffered.read(&mut piece).await.unwrap();
            assert!(size > 0, "ended early");
            all.extend_from_slice(&piece[..size]);
        }
        all
    }

    #[tokio::test]
    async fn the_buffer_grows_while_bytes_flow() {
        let source: Vec<u8> = (0..1_000_000u32).map(|i| i as u8).collect();
        let mut buffered = Buffered::new(&source[..], Bytes::new());
        assert_eq!(buffered.buffer.len(), 0);
        assert_eq!(drain(&source, IDLE, &mut buffered).await, source);
        assert_eq!(buffered.buffer.len(), FLOWING);
    }

    #[test]
    fn the_buffer_goes_after_a_row_of_small_reads() {
        let mut buffered = Buffered::new(tokio::io::empty(), Bytes::new());
        buffered.buffer = vec![0; IDLE].into();
        for _ in 0..3 {
            buffered.adapt(buffered.buffer.len());
        }
        assert_eq!(buffered.buffer.len(), FLOWING);
        for _ in 0..QUIET_READS - 1 {
            buffered.adapt(10);
        }
        assert_eq!(buffered.buffer.len(), FLOWING);
        buffered.adapt(10);
        assert_eq!(buffered.buffer.len(), 0);
    }

    #[tokio::test]
    async fn small_reads_need_no_buffer_and_lose_nothing() {
        let source: Vec<u8> = (0..50_000u32).map(|i| i as u8).collect();
        for step in [1, 7, 1_000, IDLE / 2, IDLE, IDLE + 1, FLOWING] {
            let mut buffered = Buffered::new(&source[..], Bytes::new());
            assert_eq!(drain(&source, step, &mut buffered).await, source, "{step}");
            let small = step < IDLE / 2;
            assert!(!small || buffered.buffer.is_empty(), "{step}");
        }
    }

    #[tokio::test]
    async fn early_bytes_come_first() {
        let mut buffered = Buffered::new(&b"world"[..], Bytes::from_static(b"hello "));
        let mut all = String::new();
        buffered.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "hello world");
    }
}
