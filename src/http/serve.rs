//! From a listener to requests: one task a connection, all of them ended before [`serve`] returns.

use std::{convert::Infallible, future::Future, pin::pin, sync::Arc};

use axum::{
    Router,
    body::{Body, HttpBody},
    http::{Request, Response},
};
use hyper::{body::Incoming, server::conn::http1, service::Service};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    io::{Answering, Progress, Timed},
    logs::Closing,
};
use crate::{
    limits,
    transport::{Io, Listener},
};

/// Who is at the other end of the connection, for people.
#[derive(Debug, Clone)]
pub(super) struct Remote(pub(super) Arc<str>);

/// Serves `router` on `listener`, at most `max_connections` at once, until `shutdown` is done. Then no connection is accepted, followed logs and
/// watches end, open requests may finish for a few seconds, and all that is left is dropped. Upgraded links
/// are the hub's business (see [`Hub::drain`](crate::hub::Hub::drain)).
pub async fn serve(
    mut listener: Listener,
    router: Router,
    max_connections: usize,
    shutdown: impl Future<Output = ()> + Send,
) {
    let closing = CancellationToken::new();
    let slots = Arc::new(Semaphore::new(max_connections));
    let refusals = Arc::new(Semaphore::new(limits::HTTP_MAX_TURNED_AWAY));
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let (socket, remote) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match Arc::clone(&slots).try_acquire_owned() {
            Ok(slot) => {
                let connection = connection(socket, remote.into(), router.clone(), closing.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(slot);
                });
            }
            Err(_) => {
                tracing::warn!(max_connections, "too many connections");
                if let Ok(slot) = Arc::clone(&refusals).try_acquire_owned() {
                    connections.spawn(async move {
                        turn_away(socket).await;
                        drop(slot);
                    });
                }
            }
        }
    }
    drop(listener);
    closing.cancel();
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(limits::HTTP_SHUTDOWN_GRACE, all).await.is_err() {
        tracing::info!(left = connections.len(), "requests are dropped at shutdown");
        connections.shutdown().await;
    }
}

/// Says why, then reads on until the client has seen it: closed with its request unread, the socket would be reset and
/// the answer lost.
async fn turn_away(mut socket: Io) {
    const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n\
        Content-Type: text/plain; charset=utf-8\r\nContent-Length: 39\r\n\r\nthe hub has too many open connections.\n";
    // Not before it asks: a client takes an early answer for nonsense.
    let mut asked = [0; 1024];
    let _ = timeout(limits::HTTP_LINGER / 2, socket.read(&mut asked)).await;
    let said = async {
        socket.write_all(ANSWER).await?;
        socket.shutdown().await?;
        tokio::io::copy(&mut socket, &mut tokio::io::sink()).await
    };
    // A client that does not take it, or does not close, is not waited for.
    let _ = timeout(limits::HTTP_LINGER, said).await;
}

async fn connection(socket: Io, remote: Arc<str>, router: Router, closing: CancellationToken) {
    let progress = Progress::new();
    let service = Requests {
        router: TowerToHyperService::new(router),
        progress: progress.clone(),
        remote: Remote(remote),
        closing: Closing(closing.clone()),
    };
    let socket = TokioIo::new(Timed::new(socket, progress));
    let served = http1::Builder::new()
        .header_read_timeout(None)
        .max_headers(limits::HTTP_MAX_HEADERS)
        .max_header_size(limits::HTTP_MAX_HEAD)
        .max_buf_size(limits::HTTP_MAX_HEAD)
        .serve_connection(socket, service)
        .with_upgrades();
    let mut served = pin!(served);
    let ended = tokio::select! {
        ended = &mut served => ended,
        () = closing.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

/// The router with what it must know of the connection.
struct Requests {
    router: TowerToHyperService<Router>,
    progress: Progress,
    remote: Remote,
    closing: Closing,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Answered>;
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let answering = self.progress.request();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.remote.clone());
        request.extensions_mut().insert(self.closing.clone());
        let answer = self.router.call(request);
        Box::pin(async move {
            Ok(answer.await?.map(|body| Answered {
                body,
                _answering: answering,
            }))
        })
    }
}

/// A response body; the request is answered when hyper lets go of it.
struct Answered {
    body: Body,
    _answering: Answering,
}

impl HttpBody for Answered {
    type Data = axum::body::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use axum::routing::{get, post};
    use tokio::{
        io::{AsyncReadExt, DuplexStream, duplex},
        time::{Instant, sleep},
    };

    use super::*;

    /// The client's end of a served connection.
    fn client() -> DuplexStream {
        served().0
    }

    /// The same, and the connection's task.
    fn served() -> (DuplexStream, tokio::task::JoinHandle<()>) {
        let (near, far) = duplex(64 << 10);
        let upload = |body: Body| async move {
            match crate::http::body::read(body, 100).await {
                Ok(bytes) => Response::new(Body::from(bytes)),
                Err(refusal) => refusal.plain(),
            }
        };
        let endless = || async {
            let line = axum::body::Bytes::from_static(&[b'x'; 8 << 10]);
            let lines = futures::stream::repeat_with(move || Ok::<_, Infallible>(line.clone()));
            Response::new(Body::from_stream(lines))
        };
        let router = Router::new().route("/", post(upload)).route("/log", get(endless));
        let task = tokio::spawn(connection(
            Io::other(near),
            "test".into(),
            router,
            CancellationToken::new(),
        ));
        (far, task)
    }

    /// Sends a byte every half second until the hub closes; gives what it said and when it closed.
    async fn trickle(mut client: DuplexStream, text: &str) -> (String, Duration) {
        let start = Instant::now();
        let mut said = Vec::new();
        let (mut from, mut to) = tokio::io::split(&mut client);
        let slowly = async {
            for byte in text.bytes().chain(std::iter::repeat(b'y')) {
                if to.write_all(&[byte]).await.is_err() {
                    break;
                }
                sleep(Duration::from_millis(500)).await;
            }
        };
        let until_closed = async {
            let _ = from.read_to_end(&mut said).await;
            start.elapsed()
        };
        let ended = tokio::select! {
            ended = until_closed => ended,
            () = slowly => start.elapsed(),
        };
        (String::from_utf8(said).unwrap(), ended)
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_trickles_in_is_cut_off_in_all() {
        let (said, ended) = trickle(client(), "POST / HTTP/1.1\r\nhost: x\r\nx: ").await;
        assert_eq!((said.as_str(), ended), ("", limits::HTTP_HEAD_TIMEOUT));
    }

    #[tokio::test(start_paused = true)]
    async fn so_is_the_second_head_of_a_kept_connection() {
        let mut client = client();
        let whole = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nok";
        client.write_all(whole).await.unwrap();
        let mut answer = [0; 17];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK\r\n");
        sleep(limits::HTTP_KEEP_ALIVE / 2).await;
        let (_, ended) = trickle(client, "POST / HTTP/1.1\r\nhost: x\r\nx: ").await;
        assert_eq!(ended, limits::HTTP_HEAD_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stands_still_is_kept_while_it_takes_a_byte_now_and_then_and_then_closed() {
        let (mut client, task) = served();
        client
            .write_all(b"GET /log HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        let mut some = [0; 16 << 10];
        for _ in 0..3 {
            client.read_exact(&mut some).await.unwrap();
            sleep(limits::VIEWER_IDLE - Duration::from_secs(1)).await;
            assert!(!task.is_finished());
        }
        let began = Instant::now();
        task.await.unwrap();
        // What lies in the socket, 64 KiB here, was taken by nobody.
        assert_eq!(began.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_in_is_408() {
        let head = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 90\r\nconnection: close\r\n\r\n";
        let mut client = client();
        client.write_all(head.as_bytes()).await.unwrap();
        let (said, ended) = tokio::join!(
            async {
                let mut said = String::new();
                client.read_to_string(&mut said).await.unwrap();
                said
            },
            async {
                sleep(limits::HTTP_BODY_TIMEOUT).await;
                Instant::now()
            }
        );
        assert!(said.starts_with("HTTP/1.1 408"), "{said}");
        assert_eq!(Instant::now(), ended);
    }
}
