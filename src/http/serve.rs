//! A router on a listener.

use std::future::Future;

use axum::Router;
use hyper_util::service::TowerToHyperService;

use crate::{server, transport::Listener};

/// Serves `router` on `listener`, at most `max_connections` at once, until `shutdown` is done. Then no connection is
/// accepted, followed logs and watches end, open requests may finish for a few seconds, and all that is left is dropped.
/// Upgraded links are the hub's business (see [`Hub::drain`](crate::hub::Hub::drain)).
pub async fn serve(
    listener: Listener,
    router: Router,
    max_connections: usize,
    shutdown: impl Future<Output = ()> + Send,
) {
    server::serve(
        listener,
        TowerToHyperService::new(router),
        max_connections,
        shutdown,
    )
    .await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{convert::Infallible, time::Duration};

    use axum::{
        body::Body,
        http::Response,
        routing::{get, post},
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        time::{Instant, sleep},
    };
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        limits,
        server::{body::read, connection},
        transport::Io,
    };

    /// The client's end of a served connection.
    fn client() -> DuplexStream {
        served().0
    }

    /// The same, and the connection's task.
    fn served() -> (DuplexStream, tokio::task::JoinHandle<()>) {
        let (near, far) = duplex(64 << 10);
        let upload = |body: Body| async move {
            match read(body, 100).await {
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
            TowerToHyperService::new(router),
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
