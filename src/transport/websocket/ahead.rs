//! [`Ahead`]: what was read beyond the message at hand; a read buffer that is not there while a link is idle and large
//! while bytes flow.
//!
//! At rest a link reads into the stack, and keeps only what is left of that. When a read has filled it, more is waiting,
//! and a buffer saves the system calls that small reads would cost, without 64 KiB for each of thousands of idle links.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

/// What is read at once while idle, in bytes.
pub(super) const AT_REST: usize = 4 << 10;
/// Sizes while bytes flow, in bytes.
const FLOWS: usize = 16 << 10;
const FLOWING: usize = 64 << 10;
/// So many small reads in a row make the buffer go again. A link at rest reads about once in 20 s.
const QUIET_READS: u8 = 8;

/// Bytes that were read and not taken.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Smaller than FLOWS: only what was left of one read, or nothing.
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    quiet: u8,
}

impl Ahead {
    /// Bytes that are there before the first read.
    pub(super) fn of(early: &Bytes) -> Self {
        let mut ahead = Self::default();
        ahead.keep(early);
        ahead
    }

    /// Reads, when nothing is left, and lets `take` have the bytes; it takes them off the front, and what it leaves is
    /// given to the next one. None at the end of the stream.
    pub(super) fn poll_take<S: AsyncRead + Unpin, T>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut &[u8]) -> T,
    ) -> Poll<io::Result<Option<T>>> {
        if self.start == self.end {
            self.adapt();
            if self.buffer.is_empty() {
                return self.poll_take_at_rest(io, cx, take);
            }
            let mut buffer = ReadBuf::new(&mut self.buffer);
            ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
            self.end = buffer.filled().len();
            if self.end == 0 {
                return Poll::Ready(Ok(None));
            }
        }
        let mut bytes = &self.buffer[self.start..self.end];
        let taken = take(&mut bytes);
        self.start = self.end - bytes.len();
        Poll::Ready(Ok(Some(taken)))
    }

    fn poll_take_at_rest<S: AsyncRead + Unpin, T>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut &[u8]) -> T,
    ) -> Poll<io::Result<Option<T>>> {
        let mut space = [MaybeUninit::uninit(); AT_REST];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
        let full = buffer.remaining() == 0;
        let mut bytes = buffer.filled();
        if bytes.is_empty() {
            return Poll::Ready(Ok(None));
        }
        let taken = take(&mut bytes);
        if full {
            // More than fits is waiting.
            self.buffer = vec![0; FLOWS].into();
            self.buffer[..bytes.len()].copy_from_slice(bytes);
            (self.start, self.end) = (0, bytes.len());
        } else {
            self.keep(bytes);
        }
        Poll::Ready(Ok(Some(taken)))
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.buffer = bytes.into();
        (self.start, self.end) = (0, bytes.len());
    }

    /// Resizes the empty buffer by what the last read has brought, which was taken whole.
    fn adapt(&mut self) {
        let (now, size) = (self.buffer.len(), self.end);
        (self.start, self.end) = (0, 0);
        let next = if now < FLOWS {
            0
        } else if size == 0 {
            now
        } else if size == now {
            self.quiet = 0;
            (now * 4).min(FLOWING)
        } else if size < now / 4 {
            self.quiet += 1;
            if self.quiet < QUIET_READS { now } else { 0 }
        } else {
            self.quiet = 0;
            now
        };
        if next == 0 {
            self.quiet = 0;
        }
        if next != now {
            self.buffer = vec![0; next].into();
        }
    }

    /// Reads and throws away. Ready at the end of the stream or when it failed.
    pub(super) fn poll_discard<S: AsyncRead + Unpin>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        // Bounded work per poll: the peer may send faster than this side can throw away.
        const ROUNDS: usize = 32;
        for _ in 0..ROUNDS {
            match ready!(self.poll_take(io, cx, |bytes| *bytes = &[])) {
                Ok(None) | Err(_) => return Poll::Ready(()),
                Ok(Some(())) => {}
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::future::poll_fn;

    use super::*;

    /// Takes at most so many bytes at a time, until the end.
    async fn drain(ahead: &mut Ahead, mut source: &[u8], step: usize) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let take = |bytes: &mut &[u8]| {
                let (taken, rest) = bytes.split_at(step.min(bytes.len()));
                all.extend_from_slice(taken);
                *bytes = rest;
            };
            // One closure for each call: it is used up.
            let taken = poll_fn({
                let mut take = Some(take);
                let (ahead, source) = (&mut *ahead, &mut source);
                move |cx| ahead.poll_take(source, cx, take.take().unwrap())
            });
            if taken.await.unwrap().is_none() {
                return all;
            }
        }
    }

    #[tokio::test]
    async fn the_buffer_grows_while_bytes_flow() {
        let source: Vec<u8> = (0..1_000_000u32).map(|i| i as u8).collect();
        let mut ahead = Ahead::default();
        assert_eq!(drain(&mut ahead, &source, usize::MAX).await, source);
        assert_eq!(ahead.buffer.len(), FLOWING);
    }

    #[tokio::test]
    async fn the_buffer_goes_after_a_row_of_small_reads() {
        let mut ahead = Ahead::default();
        drain(&mut ahead, &[1; AT_REST + FLOWS + FLOWING], usize::MAX).await;
        for _ in 0..QUIET_READS {
            assert_eq!(ahead.buffer.len(), FLOWING);
            // Read once more, as each of these finds the stream at its end.
            drain(&mut ahead, b"few", usize::MAX).await;
        }
        drain(&mut ahead, b"", usize::MAX).await;
        assert_eq!(ahead.buffer.len(), 0);
    }

    #[tokio::test]
    async fn small_reads_keep_nothing_and_lose_nothing() {
        let source: Vec<u8> = (0..50_000u32).map(|i| i as u8).collect();
        for step in [1, 7, 1_000, AT_REST, AT_REST + 1, FLOWING] {
            let mut ahead = Ahead::default();
            assert_eq!(drain(&mut ahead, &source, step).await, source, "{step}");
        }
        let mut ahead = Ahead::default();
        assert_eq!(
            drain(&mut ahead, &source[..AT_REST - 1], 100).await,
            source[..AT_REST - 1]
        );
        assert_eq!(ahead.buffer.len(), 0);
    }

    #[tokio::test]
    async fn early_bytes_come_first() {
        let mut ahead = Ahead::of(&Bytes::from_static(b"hello "));
        assert_eq!(drain(&mut ahead, b"world", 4).await, b"hello world");
        assert_eq!(ahead.buffer.len(), 0);
    }
}
