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

/// A served connection, its client, and what its socket was told.
struct Served {
    socket: Timed<Told>,
    far: tokio::io::DuplexStream,
    told: Arc<std::sync::Mutex<Vec<Duration>>>,
    busy: Answering,
}

impl Served {
    fn new(room: usize) -> Self {
        let (near, far) = duplex(room);
        let told = Arc::default();
        let progress = Progress::new();
        Self {
            busy: progress.request(),
            socket: Timed::new(Told(near, Arc::clone(&told)), progress),
            far,
            told,
        }
    }

    /// As hyper does: it reads while it answers, to see the client go.
    async fn reads_for(&mut self, time: Duration) {
        let mut byte = [0];
        let read = tokio::time::timeout(time, self.socket.read(&mut byte)).await;
        assert!(read.is_err(), "{read:?}");
    }

    fn told(&self) -> Vec<Duration> {
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_pauses_is_borne_before_the_kernel_would_end_it() {
    let mut it = Served::new(4);
    for pause in [10, 300] {
        let reader = async {
            sleep(Duration::from_secs(pause)).await;
            let mut all = [0; 8];
            it.far.read_exact(&mut all).await.unwrap();
        };
        let (wrote, ()) = tokio::join!(it.socket.write_all(b"12345678"), reader);
        wrote.unwrap();
    }
    assert_eq!(it.told(), [limits::VIEWER_IDLE]);
}

#[tokio::test(start_paused = true)]
async fn so_is_one_whose_bytes_all_fit_into_the_socket() {
    let mut it = Served::new(2 * limits::HTTP_TAKEN_IN);
    // So much has reached the client's machine, whatever it reads.
    it.socket.write_all(&[b'x'; limits::HTTP_TAKEN_IN]).await.unwrap();
    it.reads_for(2 * limits::VIEWER_IDLE).await;
    assert!(it.told().is_empty());
    it.socket.write_all(b"1").await.unwrap();
    it.reads_for(limits::TCP_USER_TIMEOUT / 2 - Duration::from_secs(1))
        .await;
    assert!(it.told().is_empty());
    // A line now and then puts nothing off: the first one may lie there.
    it.socket.write_all(b"9").await.unwrap();
    it.reads_for(Duration::from_secs(2)).await;
    assert_eq!(it.told(), [limits::VIEWER_IDLE]);
    // The kernel has not ended it meanwhile, so nothing lies there any more.
    it.reads_for(limits::VIEWER_IDLE - Duration::from_secs(10)).await;
    assert!(it.told().is_empty());
    it.reads_for(Duration::from_secs(10)).await;
    assert_eq!(it.told(), [limits::TCP_USER_TIMEOUT]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_again_has_taken_the_answer() {
    let mut it = Served::new(2 * limits::HTTP_TAKEN_IN);
    it.socket
        .write_all(&[b'x'; limits::HTTP_TAKEN_IN + 1])
        .await
        .unwrap();
    it.reads_for(limits::TCP_USER_TIMEOUT).await;
    drop(it.busy);
    it.far.write_all(b"G").await.unwrap();
    assert_eq!(it.socket.read_u8().await.unwrap(), b'G');
    let told = std::mem::take(&mut *it.told.lock().unwrap());
    assert_eq!(told, [limits::VIEWER_IDLE, limits::TCP_USER_TIMEOUT]);
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
