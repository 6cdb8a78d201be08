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

impl AsyncRead for Told {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
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

#[tokio::test(start_paused = true)]
async fn a_closed_socket_is_read_on_until_the_client_closes_or_for_a_moment() {
    let (near, mut far) = duplex(8);
    let mut socket = Timed::new(near, Progress::new());
    let started = Instant::now();
    let client = async {
        far.write_all(b"more than was wanted").await.unwrap();
        let mut end = Vec::new();
        far.read_to_end(&mut end).await.unwrap();
        drop(far);
    };
    let (closed, ()) = tokio::join!(socket.shutdown(), client);
    closed.unwrap();
    assert!(started.elapsed().is_zero());

    let (near, _silent) = duplex(8);
    Timed::new(near, Progress::new()).shutdown().await.unwrap();
    assert_eq!(started.elapsed(), limits::HTTP_LINGER);
}
