//! A socket under the clocks of HTTP: how long a head may take, an idle connection is kept, a reader may
//! stand still.
//!
//! ```text
//!         first byte            request
//!  HEAD ------------> HEAD ---------------> BUSY --response sent--> IDLE --first byte--> HEAD
//! ```

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use crate::{limits, transport::Io};

/// What the socket is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A request head, complete.
    Head,
    /// The next request of a kept connection.
    Idle,
    /// Nothing: a request is being answered.
    Busy,
}

/// Shared by a socket and the service behind it.
#[derive(Debug, Clone)]
pub(super) struct Progress(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    requests: AtomicUsize,
    /// Bytes came since the last answer was sent, or since the accept.
    heard: AtomicBool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared {
            requests: AtomicUsize::new(0),
            heard: AtomicBool::new(true),
        }))
    }

    /// A request has come; it is answered when the guard is dropped.
    pub(super) fn request(&self) -> Answering {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        Answering(self.clone())
    }

    fn phase(&self) -> Phase {
        if self.0.requests.load(Ordering::Relaxed) > 0 {
            Phase::Busy
        } else if self.0.heard.load(Ordering::Relaxed) {
            Phase::Head
        } else {
            Phase::Idle
        }
    }
}

/// A request being answered.
#[derive(Debug)]
pub(super) struct Answering(Progress);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.0.heard.store(false, Ordering::Relaxed);
        self.0.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A socket with deadlines.
#[derive(Debug)]
pub(crate) struct Timed<T> {
    inner: T,
    progress: Progress,
    reading: Option<(Phase, Pin<Box<Sleep>>)>,
    /// How long a write that waits for its reader may still wait.
    writing: Option<Pin<Box<Sleep>>>,
    /// Bytes written since the client asked.
    written: usize,
    unsure: Option<Unsure>,
    lingering: Option<Pin<Box<Sleep>>>,
}

/// Bytes were written, and nobody knows whether the client has taken them or the kernel still holds them.
#[derive(Debug)]
struct Unsure {
    /// When the socket is told to bear it; then, when it would have been ended for it.
    timer: Pin<Box<Sleep>>,
    /// The socket was told to bear it.
    borne: bool,
    last_write: Instant,
}

/// A socket that gives up early on a peer that takes no bytes, and can be told not to.
pub(crate) trait Patient {
    /// Bytes may now stay unsent for this long.
    fn bear(&self, timeout: Duration);
}

impl Patient for Io {
    fn bear(&self, timeout: Duration) {
        self.set_user_timeout(timeout);
    }
}

impl<T> Timed<T> {
    pub(super) fn new(inner: T, progress: Progress) -> Self {
        Self {
            inner,
            progress,
            reading: None,
            writing: None,
            written: 0,
            unsure: None,
            lingering: None,
        }
    }

    /// The socket itself: a link has clocks of its own.
    pub(crate) fn into_inner(self) -> T {
        self.inner
    }

    fn poll_read_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let phase = self.progress.phase();
        let allowed = match phase {
            Phase::Head => limits::HTTP_HEAD_TIMEOUT,
            Phase::Idle => limits::HTTP_KEEP_ALIVE,
            Phase::Busy => {
                self.reading = None;
                return Poll::Pending;
            }
        };
        if self.reading.as_ref().is_none_or(|(of, _)| *of != phase) {
            self.reading = Some((phase, Box::pin(sleep(allowed))));
        }
        match &mut self.reading {
            Some((_, deadline)) => deadline.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

impl<T: AsyncRead + Unpin> Timed<T> {
    /// Reads on, after the last byte was written, until the client closes too or for a moment: with its request unread
    /// (a head or a body over the limit) the socket would be reset, and the answer that says so lost.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self
            .lingering
            .get_or_insert_with(|| Box::pin(sleep(limits::HTTP_LINGER)));
        if deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut unread = [0; 4096];
        loop {
            let mut unread = ReadBuf::new(&mut unread);
            match ready!(Pin::new(&mut self.inner).poll_read(cx, &mut unread)) {
                Ok(()) if !unread.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
    }
}

impl<T: Patient> Timed<T> {
    /// Passes on what a write gave, unless it has been pending for too long.
    fn watch_write<R>(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if wrote.is_pending() {
            self.doubt();
        }
        self.watch_unsure(cx);
        if wrote.is_ready() {
            self.writing = None;
            return wrote;
        }
        let deadline = self
            .writing
            .get_or_insert_with(|| Box::pin(sleep(limits::VIEWER_IDLE)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(timed_out("the client takes no bytes", limits::VIEWER_IDLE)))
    }

    /// As [`Timed::watch_write`], of bytes. A few are no matter: they have reached the client's own kernel.
    fn watch_bytes(
        &mut self,
        cx: &mut Context<'_>,
        wrote: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = wrote {
            self.written = self.written.saturating_add(bytes);
            if self.written > limits::HTTP_TAKEN_IN {
                self.doubt();
            }
        }
        self.watch_write(cx, wrote)
    }

    /// Bytes went out, or wait to, and nobody knows where they are.
    fn doubt(&mut self) {
        let now = Instant::now();
        let unsure = self.unsure.get_or_insert_with(|| Unsure {
            timer: Box::pin(sleep(limits::TCP_USER_TIMEOUT / 2)),
            borne: false,
            last_write: now,
        });
        unsure.last_write = now;
    }

    /// The client has asked again, so it has taken the answer before.
    fn heard(&mut self) {
        self.written = 0;
        if self.unsure.take().is_some_and(|unsure| unsure.borne) {
            self.inner.bear(limits::TCP_USER_TIMEOUT);
        }
    }

    /// The kernel ends a socket after TCP_USER_TIMEOUT both when the peer has vanished and when it reads nothing for so
    /// long: a pager at its first page. Also when all that there is fits into the socket and no write waits. So the
    /// socket is told to wait longer before that time is over. It is quick again when it has lived as long without a
    /// further byte: then the client has taken them all.
    fn watch_unsure(&mut self, cx: &mut Context<'_>) {
        while let Some(unsure) = &mut self.unsure {
            if unsure.timer.as_mut().poll(cx).is_pending() {
                return;
            }
            let over = unsure.last_write + limits::VIEWER_IDLE;
            if !unsure.borne {
                unsure.borne = true;
                self.inner.bear(limits::VIEWER_IDLE);
            } else if over <= Instant::now() && self.writing.is_none() {
                return self.heard();
            }
            // A write that waits ends by itself; until then nothing is sure.
            let next = over.max(Instant::now() + limits::TCP_USER_TIMEOUT);
            unsure.timer.as_mut().reset(next);
        }
    }
}

fn timed_out(what: &str, after: Duration) -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        format!("{what} for {} s", after.as_secs()),
    )
}

impl<T: AsyncRead + Patient + Unpin> AsyncRead for Timed<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut self.inner).poll_read(cx, buf) {
            if buf.filled().len() > before {
                self.progress.0.heard.store(true, Ordering::Relaxed);
                self.heard();
            }
            return Poll::Ready(read);
        }
        self.watch_unsure(cx);
        ready!(self.poll_read_deadline(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no request in time")))
    }
}

impl<T: AsyncRead + AsyncWrite + Patient + Unpin> AsyncWrite for Timed<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.watch_bytes(cx, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.watch_bytes(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.watch_write(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            let shut = Pin::new(&mut self.inner).poll_shutdown(cx);
            ready!(self.watch_write(cx, shut))?;
        }
        self.poll_linger(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests;
