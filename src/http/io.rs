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
pub(super) struct Timed<T> {
    inner: T,
    progress: Progress,
    reading: Option<(Phase, Pin<Box<Sleep>>)>,
    writing: Option<Stall>,
}

/// A write that waits for its reader.
#[derive(Debug)]
struct Stall {
    timer: Pin<Box<Sleep>>,
    /// The socket was told to bear it.
    borne: bool,
}

/// A socket that gives up early on a peer that takes no bytes, and can be told not to.
pub(super) trait Patient {
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
        }
    }

    /// The socket itself: a link has clocks of its own.
    pub(super) fn into_inner(self) -> T {
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

impl<T: Patient> Timed<T> {
    /// Passes on what a write gave, unless it has been pending for too long.
    ///
    /// The kernel ends a socket after TCP_USER_TIMEOUT both when the peer has vanished and when it reads nothing: a
    /// pager at its first page. So the socket is told to wait before that time is over, and once bytes flow again to
    /// be quick as before.
    fn watch_write<R>(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if wrote.is_ready() {
            if self.writing.take().is_some_and(|stall| stall.borne) {
                self.inner.bear(limits::TCP_USER_TIMEOUT);
            }
            return wrote;
        }
        let early = limits::TCP_USER_TIMEOUT / 2;
        let stall = self.writing.get_or_insert_with(|| Stall {
            timer: Box::pin(sleep(early)),
            borne: false,
        });
        ready!(stall.timer.as_mut().poll(cx));
        if !stall.borne {
            stall.borne = true;
            self.inner.bear(limits::VIEWER_IDLE);
            let rest = limits::VIEWER_IDLE.saturating_sub(early);
            stall.timer.as_mut().reset(Instant::now() + rest);
            ready!(stall.timer.as_mut().poll(cx));
        }
        Poll::Ready(Err(timed_out("the client takes no bytes", limits::VIEWER_IDLE)))
    }
}

fn timed_out(what: &str, after: Duration) -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        format!("{what} for {} s", after.as_secs()),
    )
}

impl<T: AsyncRead + Unpin> AsyncRead for Timed<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut self.inner).poll_read(cx, buf) {
            if buf.filled().len() > before {
                self.progress.0.heard.store(true, Ordering::Relaxed);
            }
            return Poll::Ready(read);
        }
        ready!(self.poll_read_deadline(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no request in time")))
    }
}

impl<T: AsyncWrite + Patient + Unpin> AsyncWrite for Timed<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.watch_write(cx, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.watch_write(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.watch_write(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.watch_write(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    impl Patient for tokio::io::DuplexStream {
        fn bear(&self, _timeout: Duration) {}
    }

    async fn read_one(socket: &mut Timed<tokio::io::DuplexStream>) -> io::Result<u8> {
        socket.read_u8().await
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_trickles_in_is_cut_off() {
        let (near, mut far) = duplex(64);
        let mut socket = Timed::new(near, Progress::new());
        let started = tokio::time::Instant::now();
        let trickle = tokio::spawn(async move {
            while far.write_all(b"x").await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        let ended = loop {
            if let Err(error) = read_one(&mut socket).await {
                break error;
            }
        };
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed(), limits::HTTP_HEAD_TIMEOUT);
        trickle.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_kept_longer_and_a_busy_one_for_ever() {
        let (near, mut far) = duplex(64);
        let progress = Progress::new();
        let mut socket = Timed::new(near, progress.clone());
        let busy = progress.request();
        let waited = tokio::time::timeout(Duration::from_secs(3600), read_one(&mut socket)).await;
        assert!(waited.is_err(), "no deadline while a request is answered");
        drop(busy);
        let started = tokio::time::Instant::now();
        assert!(read_one(&mut socket).await.is_err());
        assert_eq!(started.elapsed(), limits::HTTP_KEEP_ALIVE);
        far.write_all(b"x").await.unwrap();
        assert_eq!(read_one(&mut socket).await.unwrap(), b'x');
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stands_still_is_closed() {
        let (near, _far) = duplex(4);
        let mut socket = Timed::new(near, Progress::new());
        let started = Instant::now();
        let error = socket.write_all(b"12345").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed(), limits::VIEWER_IDLE);
    }

    /// A socket with a log of what it was told.
    #[derive(Debug)]
    struct Told(tokio::io::DuplexStream, Arc<std::sync::Mutex<Vec<Duration>>>);

    impl Patient for Told {
        fn bear(&self, timeout: Duration) {
            self.1.lock().unwrap().push(timeout);
        }
    }

    impl AsyncWrite for Told {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_write(cx, buf)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    /// A reader that pauses for `pause` before it takes what was written; gives what the socket was told.
    async fn told_after(pause: Duration) -> Vec<Duration> {
        let (near, mut far) = duplex(4);
        let told = Arc::default();
        let mut socket = Timed::new(Told(near, Arc::clone(&told)), Progress::new());
        let reader = async {
            sleep(pause).await;
            let mut all = [0; 8];
            far.read_exact(&mut all).await.unwrap();
        };
        let (wrote, ()) = tokio::join!(socket.write_all(b"12345678"), reader);
        wrote.unwrap();
        drop(socket);
        let told = told.lock().unwrap();
        told.clone()
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_pauses_is_borne_before_the_kernel_would_end_it() {
        let short = told_after(Duration::from_secs(10)).await;
        assert!(short.is_empty(), "{short:?}");
        let long = told_after(Duration::from_secs(300)).await;
        assert_eq!(long, [limits::VIEWER_IDLE, limits::TCP_USER_TIMEOUT]);
    }
}
