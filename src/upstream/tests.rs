//! What may be sent twice, and what is known of a call that failed.

#![allow(clippy::unwrap_used)]

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;

/// Listens, and the client of it.
async fn pair(path: &str) -> (TcpListener, Upstream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}{path}", listener.local_addr().unwrap());
    let upstream = Upstream::new(Endpoint::parse(&address).unwrap(), TlsConfig::default());
    (listener, upstream)
}

fn ask(repeatable: bool) -> Ask<'static> {
    Ask {
        method: Method::GET,
        path: "/status",
        body: Bytes::from_static(b"[]"),
        within: Duration::from_secs(60),
        repeatable,
        metadata: None,
    }
}

/// Reads one request, up to its body.
async fn request(socket: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"[]") {
        let mut piece = [0; 512];
        let read = socket.read(&mut piece).await.unwrap();
        assert!(read > 0, "a whole request");
        text.extend_from_slice(&piece[..read]);
    }
    String::from_utf8(text).unwrap()
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn a_get_carries_its_body_and_the_path_of_the_address_comes_first() {
    let (listener, upstream) = pair("/api/").await;
    let served = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let text = request(&mut socket).await;
        socket.write_all(OK).await.unwrap();
        text
    };
    let asked = ask(true);
    let (text, whole) = tokio::join!(served, upstream.ask(&asked));
    assert!(text.starts_with("GET /api/status HTTP/1.1\r\n"), "{text}");
    assert!(
        text.contains("content-length: 2\r\n") && text.contains("host: 127.0.0.1:"),
        "{text}"
    );
    assert_eq!(&whole.unwrap().body[..], b"ok");
}

#[tokio::test]
async fn a_kept_connection_is_used_again_and_left_when_it_was_closed() {
    let (listener, upstream) = pair("").await;
    let served = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        for _ in 0..2 {
            request(&mut socket).await;
            socket.write_all(OK).await.unwrap();
        }
        // Read, and closed without an answer.
        request(&mut socket).await;
        drop(socket);
        let (mut socket, _) = listener.accept().await.unwrap();
        request(&mut socket).await;
        socket.write_all(OK).await.unwrap();
    };
    let asked = ask(true);
    let asking = async {
        for _ in 0..3 {
            assert!(upstream.ask(&asked).await.unwrap().status.is_success());
        }
    };
    tokio::join!(served, asking);
}

#[tokio::test]
async fn what_must_not_be_sent_twice_is_sent_on_a_connection_of_its_own_and_once() {
    let (listener, upstream) = pair("").await;
    let served = async {
        for answer in [OK, b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhal"] {
            let (mut socket, _) = listener.accept().await.unwrap();
            request(&mut socket).await;
            socket.write_all(answer).await.unwrap();
            socket.shutdown().await.unwrap();
        }
    };
    let (kept, once) = (ask(true), ask(false));
    let asking = async {
        upstream.ask(&kept).await.unwrap();
        upstream.ask(&once).await
    };
    let ((), outcome) = tokio::join!(served, asking);
    assert!(matches!(outcome, Err(Failed::Lost(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_plugin_that_is_away_is_told_from_one_that_is_silent() {
    let (listener, upstream) = pair("").await;
    let hasty = Ask {
        within: Duration::from_millis(20),
        ..ask(false)
    };
    assert_eq!(
        upstream.ask(&hasty).await.unwrap_err(),
        Failed::Silent(hasty.within)
    );
    drop(listener);
    let asked = ask(true);
    assert!(matches!(upstream.ask(&asked).await, Err(Failed::NotReached(_))));
}

#[tokio::test]
async fn retry_after_is_read() {
    let (listener, upstream) = pair("").await;
    let served = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        request(&mut socket).await;
        let answer = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n";
        socket.write_all(answer).await.unwrap();
    };
    let asked = ask(true);
    let ((), whole) = tokio::join!(served, upstream.ask(&asked));
    assert_eq!(whole.unwrap().retry_after, Some(Duration::from_secs(7)));
}
