//! Who comes to the gRPC port and is no plugin, or not as it should be.

use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use hyper::{HeaderMap, Request, Response};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::TcpStream,
    sync::mpsc,
    time::{Instant, timeout},
};
use towline::{
    http::HttpConfig,
    limits,
    transport::{Io, Listener},
};

use crate::served::{PATIENCE, Served};

const CONNECT: &str = "/towline.v1.LinkService/Connect";

/// A client of HTTP/2 that sends what a test says.
struct Client(SendRequest<Bytes>);

impl Client {
    async fn of(served: &Served) -> Self {
        let stream = TcpStream::connect(served.url.trim_start_matches("grpc://"))
            .await
            .unwrap();
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        Self(requests.ready().await.unwrap())
    }

    /// The head of the answer, and its body where it ends at once.
    async fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> (Response<()>, String) {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://localhost{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        let (answer, _send) = self.0.send_request(request, true).unwrap();
        let (head, mut body) = timeout(PATIENCE, answer).await.unwrap().unwrap().into_parts();
        let mut text = Vec::new();
        while !body.is_end_stream()
            && let Some(Ok(data)) = body.data().await
        {
            text.extend_from_slice(&data);
        }
        (
            Response::from_parts(head, ()),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }
}

fn said(headers: &HeaderMap) -> (&str, &str) {
    let text = |name| headers.get(name).map_or("", |value| value.to_str().unwrap());
    (text("grpc-status"), text("grpc-message"))
}

#[tokio::test]
async fn a_call_that_is_not_the_link_is_refused_with_a_status_and_the_next_one_is_taken() {
    let served = Served::plain().await;
    let mut client = Client::of(&served).await;
    const GRPC: (&str, &str) = ("content-type", "application/grpc");
    for (path, headers, status, text) in [
        (
            "/towline.v1.LinkService/Other",
            &[GRPC][..],
            "12",
            "LinkService/Connect",
        ),
        ("/", &[GRPC], "12", "LinkService/Connect"),
        (CONNECT, &[GRPC, ("grpc-encoding", "gzip")], "12", "identity"),
        (
            CONNECT,
            &[GRPC, ("origin", "https://evil.example")],
            "7",
            "Origin",
        ),
    ] {
        let (answer, _) = client.ask("POST", path, headers).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (200, &"application/grpc".parse().unwrap())
        );
        let (code, message) = said(answer.headers());
        assert!(
            code == status && message.contains(text),
            "{path} {headers:?}: {code} {message}"
        );
    }
    for kind in [
        "application/grpc",
        "application/grpc+proto",
        "application/grpc;charset=utf-8",
    ] {
        let (answer, _) = client
            .ask("POST", CONNECT, &[("content-type", kind), ("grpc-timeout", "1S")])
            .await;
        assert_eq!(
            (answer.status().as_u16(), said(answer.headers())),
            (200, ("", "")),
            "{kind}"
        );
        assert_eq!(answer.headers()["grpc-accept-encoding"], "identity");
    }
}

#[tokio::test]
async fn what_is_no_call_of_grpc_is_told_in_words_of_http() {
    let served = Served::plain().await;
    let mut client = Client::of(&served).await;
    for (method, path, kind, status, text) in [
        ("GET", "/", "", 415, "gRPC alone"),
        ("POST", CONNECT, "application/json", 415, "gRPC alone"),
        ("POST", CONNECT, "application/grpc-web", 415, "gRPC"),
        (
            "POST",
            CONNECT,
            "application/grpc+json",
            415,
            "JSON path needs a WebSocket",
        ),
        ("PUT", CONNECT, "application/grpc", 405, "POST"),
    ] {
        let (answer, body) = client.ask(method, path, &[("content-type", kind)]).await;
        assert_eq!(answer.status().as_u16(), status, "{method} {path} {kind}");
        assert!(body.contains(text), "{body}");
    }
}

#[tokio::test]
async fn http_1_is_answered_with_505_and_where_to_go() {
    let served = Served::plain().await;
    let mut client = TcpStream::connect(served.url.trim_start_matches("grpc://"))
        .await
        .unwrap();
    let request = b"POST /create HTTP/1.1\r\nHost: hub\r\nContent-Length: 20000\r\n\r\n";
    client.write_all(request).await.unwrap();
    client.write_all(&[b'x'; 20_000]).await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 505 "), "{answer}");
    assert!(
        head.contains(&format!("Content-Length: {}", body.len())),
        "{answer}"
    );
    assert!(body.contains("grpc://") && body.contains("/ws"), "{body}");
}

#[tokio::test]
async fn a_listener_without_a_token_is_not_called_by_a_foreign_name() {
    let config = HttpConfig {
        allowed_hosts: Some(vec!["hub.example.org".to_owned()]),
        ..HttpConfig::default()
    };
    let served = Served::new(config, 10).await;
    let client = Client::of(&served).await;
    for (host, status) in [
        ("evil.example", "7"),
        ("hub.example.org", ""),
        ("127.0.0.1:3001", ""),
    ] {
        let request = Request::post(format!("http://{host}{CONNECT}"))
            .header("content-type", "application/grpc")
            .body(())
            .unwrap();
        let (answer, _send) = client
            .0
            .clone()
            .ready()
            .await
            .unwrap()
            .send_request(request, false)
            .unwrap();
        let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
        assert_eq!(said(answer.headers()).0, status, "{host}");
    }
}

/// A hub on streams in memory, for tests that stop the clock.
fn in_memory() -> (Served, mpsc::Sender<(Io, String)>) {
    let (accepted, streams) = mpsc::channel(4);
    let listener = Listener::of_streams("memory", streams);
    (
        Served::on(listener, String::new(), HttpConfig::default(), 10),
        accepted,
    )
}

async fn come(to: &mpsc::Sender<(Io, String)>) -> DuplexStream {
    let (near, far) = duplex(64 << 10);
    to.send((Io::other(near), "test".to_owned())).await.unwrap();
    far
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_or_trickles_is_left_after_the_time_of_a_head() {
    let (_served, accepted) = in_memory();
    for text in ["", "PRI * HTTP/2.0\r\n"] {
        let mut far = come(&accepted).await;
        far.write_all(text.as_bytes()).await.unwrap();
        let began = Instant::now();
        let mut rest = Vec::new();
        far.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
        assert_eq!(began.elapsed().as_secs(), limits::HTTP_HEAD_TIMEOUT.as_secs());
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_call_is_ended_and_one_with_a_link_is_not() {
    let (served, accepted) = in_memory();
    let began = Instant::now();
    let (requests, connection) = h2::client::handshake(come(&accepted).await).await.unwrap();
    let mut requests = requests.ready().await.unwrap();
    let connection = tokio::spawn(connection);
    let call = |requests: &mut SendRequest<Bytes>| {
        let request = Request::post(format!("http://localhost{CONNECT}"))
            .header("content-type", "application/grpc")
            .body(())
            .unwrap();
        requests.send_request(request, false).unwrap()
    };
    let (answer, _send) = call(&mut requests);
    // It never registers: its call ends after 10 s, the connection for want of another.
    let mut body = answer.await.unwrap().into_body();
    while body.data().await.is_some() {}
    assert_eq!(began.elapsed().as_secs(), limits::REGISTER_TIMEOUT.as_secs());
    let registered = Instant::now();
    timeout(Duration::from_secs(300), connection)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(
        registered.elapsed() >= limits::GRPC_IDLE,
        "{:?}",
        registered.elapsed()
    );
    assert!(
        registered.elapsed() < 2 * limits::GRPC_IDLE,
        "{:?}",
        registered.elapsed()
    );
    drop(served);
}

#[tokio::test]
async fn a_few_links_may_share_a_connection() {
    let served = Served::plain().await;
    let stream = TcpStream::connect(served.url.trim_start_matches("grpc://"))
        .await
        .unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut requests = requests.ready().await.unwrap();
    let mut links = Vec::new();
    for _ in 0..limits::GRPC_STREAMS {
        let request = Request::post(format!("http://localhost{CONNECT}"))
            .header("content-type", "application/grpc")
            .body(())
            .unwrap();
        let (answer, send) = requests.send_request(request, false).unwrap();
        links.push((answer.await.unwrap(), send));
        requests = requests.ready().await.unwrap();
    }
    assert!(links.iter().all(|(answer, _)| answer.status() == 200));
}
