//! TLS on both sides: whom a dialling peer trusts, and what people are told when it goes wrong.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};
use towline::transport::{DialError, Endpoint, Listener, dial};

use crate::{
    certificates::{Certificates, port_of},
    ends::{dialled, echo_both_kinds, joined},
};

/// Shakes hands with everybody, for ever.
async fn accepting(certificates: &Certificates) -> String {
    let mut listener = certificates.listener().await;
    let port = port_of(&listener);
    tokio::spawn(async move {
        loop {
            listener.accept().await;
        }
    });
    port
}

/// What is said when `host` is dialled, trusting `ca`.
async fn refused(certificates: &Certificates, host: &str, ca: &str) -> String {
    let port = accepting(certificates).await;
    let mut to = dialled(format!("wss://{host}:{port}/ws"));
    to.tls = certificates.trusting(ca);
    dial(&to).await.unwrap_err().to_string()
}

#[tokio::test]
async fn binary_text_and_close_travel_over_tls() {
    let certificates = Certificates::good();
    let mut listener = certificates.listener().await;
    let mut to = dialled(format!("wss://localhost:{}/ws", port_of(&listener)));
    to.tls = certificates.trusting("ca.pem");
    let (server, client) = joined(&mut listener, &to).await;
    echo_both_kinds(server, client).await;
}

#[tokio::test]
async fn a_certificate_of_an_unknown_ca_names_the_option_and_the_file() {
    let text = refused(&Certificates::good(), "localhost", "other.pem").await;
    assert!(
        text.contains("not signed by a CA in the CA file") && text.contains("other.pem"),
        "{text}"
    );
    assert!(text.contains("--ca-file"), "{text}");
}

#[tokio::test]
async fn a_certificate_for_another_name_says_so() {
    let text = refused(&Certificates::good(), "127.0.0.1", "ca.pem").await;
    assert!(text.contains("for another name"), "{text}");
}

#[tokio::test]
async fn a_certificate_out_of_its_time_says_so_and_points_at_the_clock() {
    let text = refused(&Certificates::expired(), "localhost", "ca.pem").await;
    assert!(text.contains("has expired") && text.contains("clock"), "{text}");
    let text = refused(&Certificates::not_yet_valid(), "localhost", "ca.pem").await;
    assert!(text.contains("not valid yet") && text.contains("clock"), "{text}");
}

#[tokio::test]
async fn tls_to_a_plain_port_says_so() {
    let certificates = Certificates::good();
    let mut plain = Listener::bind("127.0.0.1:0", None).await.unwrap();
    let mut to = dialled(format!("wss://localhost:{}/ws", port_of(&plain)));
    to.tls = certificates.trusting("ca.pem");
    let (_, result) = tokio::join!(
        async {
            let (mut io, _) = plain.accept().await;
            io.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        },
        dial(&to)
    );
    let text = result.unwrap_err().to_string();
    assert!(text.contains("plain port") && text.contains("ws://"), "{text}");
}

#[tokio::test]
async fn plain_to_a_tls_port_is_told_so_over_http() {
    let port = accepting(&Certificates::good()).await;
    let error = dial(&dialled(format!("ws://localhost:{port}/ws")))
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, DialError::Refused { status: 400, .. }), "{text}");
    assert!(
        text.contains("speaks TLS only") && text.contains("wss://"),
        "{text}"
    );

    // A request with a body that nobody reads does not lose the answer.
    let mut client = TcpStream::connect(format!("127.0.0.1:{port}")).await.unwrap();
    let head = b"POST /create HTTP/1.1\r\nHost: hub\r\nContent-Length: 20000\r\n\r\n";
    client.write_all(head).await.unwrap();
    client.write_all(&[b'x'; 20_000]).await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(
        head.contains(&format!("Content-Length: {}", body.len())),
        "{answer}"
    );
}

#[tokio::test]
async fn plain_to_the_tls_port_of_another_server_names_the_scheme_to_use() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = dialled(format!("ws://{}/ws", server.local_addr().unwrap()));
    let (_, result) = tokio::join!(
        async {
            let (mut stream, _) = server.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let _request = stream.read(&mut head).await.unwrap();
            // A fatal alert, unexpected_message (RFC 8446 section 6).
            stream.write_all(b"\x15\x03\x03\x00\x02\x02\x0a").await.unwrap();
        },
        dial(&to)
    );
    let error = result.unwrap_err();
    assert!(matches!(error, DialError::NotWebSocket { .. }), "{error:?}");
    assert!(error.to_string().contains("use wss://"), "{error}");
}

#[tokio::test]
async fn what_is_neither_tls_nor_http_ends_without_stopping_the_listener() {
    let certificates = Certificates::good();
    let mut listener = certificates.listener().await;
    let port = port_of(&listener);
    for bytes in [
        &b"\x00\x01\x02\x03\x04\x05\x06\x07"[..],
        b"\x16\x03\x01\xff\xff",
        b"",
    ] {
        let mut peer = TcpStream::connect(format!("127.0.0.1:{port}")).await.unwrap();
        peer.write_all(bytes).await.unwrap();
        peer.shutdown().await.unwrap();
        drop(peer);
    }
    // A peer that never shakes hands does not stand in the way of the next one either.
    let _silent = TcpStream::connect(listener.local_addr()).await.unwrap();
    let endpoint = Endpoint::parse(&format!("https://localhost:{port}")).unwrap();
    let tls = certificates.trusting("ca.pem");
    let (_, io) = tokio::join!(listener.accept(), endpoint.connect(&tls, Duration::from_secs(30)));
    io.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_shakes_hands_too_slowly_is_cut_off() {
    let certificates = Certificates::good();
    let mut listener = certificates.listener().await;
    let mut slow = TcpStream::connect(listener.local_addr()).await.unwrap();
    let started = Instant::now();
    // A handshake record of 512 bytes, one byte a second.
    slow.write_all(b"\x16\x03\x01\x02\x00").await.unwrap();
    let (mut read, mut write) = slow.into_split();
    let trickle = tokio::spawn(async move {
        while write.write_all(b"\x01").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let mut rest = Vec::new();
    tokio::select! {
        _ = listener.accept() => panic!("no handshake was done"),
        _cut_off = read.read_to_end(&mut rest) => {}
    }
    assert!(
        started.elapsed() >= Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    assert!(
        started.elapsed() < Duration::from_secs(60),
        "{:?}",
        started.elapsed()
    );
    trickle.abort();
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_never_shakes_hands_is_left_and_named() {
    let certificates = Certificates::good();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut to = dialled(format!("wss://localhost:{port}/ws"));
    to.tls = certificates.trusting("ca.pem");
    to.timeout = Duration::from_secs(10);
    let text = dial(&to).await.unwrap_err().to_string();
    assert!(
        text.contains("no answer to the handshake within 10 s") && text.contains(&port.to_string()),
        "{text}"
    );
}
