//! The transport over real sockets: what arrives, what is refused, and what people are told.
#![cfg(feature = "net")]
#![allow(clippy::unwrap_used)]

use std::{future::poll_fn, path::PathBuf, time::Duration};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use towline::transport::{
    ConnectError, Dial, DialError, Endpoint, Io, Listener, Message, ServerTls, TlsConfig, Transport,
    TransportError, WebSocket, accept_key, dial,
};

const PROTO: &str = "towline.v1.proto";
const LIMIT: usize = 1 << 20;

async fn recv<T: Transport>(end: &mut T) -> Option<Result<Message, TransportError>> {
    poll_fn(|cx| end.poll_recv(cx)).await
}

async fn send<T: Transport>(end: &mut T, message: Message) -> Result<(), TransportError> {
    poll_fn(|cx| end.poll_ready(cx)).await?;
    end.start_send(message)?;
    poll_fn(|cx| end.poll_flush(cx)).await
}

fn binary(bytes: impl Into<Bytes>) -> Message {
    Message::Binary(bytes.into())
}

/// Reads an HTTP head and gives its lines.
async fn read_head(io: &mut Io) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let line = head
        .lines()
        .find(|line| line.to_lowercase().starts_with(&format!("{name}:")));
    line.unwrap_or_else(|| panic!("no {name} in {head}"))
        .split_once(':')
        .unwrap()
        .1
        .trim()
}

/// Answers the upgrade as a hub does.
async fn upgrade(mut io: Io, limit: usize) -> WebSocket<Io> {
    let head = read_head(&mut io).await;
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {}\r\n\
         Sec-WebSocket-Protocol: {}\r\n\r\n",
        accept_key(header(&head, "sec-websocket-key")),
        header(&head, "sec-websocket-protocol"),
    );
    io.write_all(answer.as_bytes()).await.unwrap();
    WebSocket::accepted(io, limit).await
}

fn dialled(url: String) -> Dial {
    let mut to = Dial::new(url, PROTO);
    to.limit = LIMIT;
    to
}

async fn joined(listener: &mut Listener, to: &Dial) -> (WebSocket<Io>, WebSocket<Io>) {
    let (server, client) = tokio::join!(
        async {
            let (io, _) = listener.accept().await;
            upgrade(io, LIMIT).await
        },
        dial(to)
    );
    (server, client.unwrap().0)
}

async fn tcp_pair() -> (WebSocket<Io>, WebSocket<Io>) {
    let mut listener = Listener::bind("127.0.0.1:0", None).await.unwrap();
    let to = dialled(format!("ws://{}/ws", listener.local_addr()));
    joined(&mut listener, &to).await
}

/// A WebSocket server's end whose other side is raw bytes.
async fn raw_pair(limit: usize) -> (WebSocket<Io>, tokio::io::DuplexStream) {
    let (near, far) = tokio::io::duplex(64 << 10);
    (WebSocket::accepted(Io::other(near), limit).await, far)
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        size @ 0..126 => frame.push(0x80 | size as u8),
        size => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(size as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

async fn echo_both_kinds(mut server: WebSocket<Io>, mut client: WebSocket<Io>) {
    send(&mut client, binary(vec![7; 100_000])).await.unwrap();
    assert_eq!(
        recv(&mut server).await.unwrap().unwrap(),
        binary(vec![7; 100_000])
    );
    send(&mut server, Message::Text(Bytes::from_static("grüß".as_bytes())))
        .await
        .unwrap();
    assert_eq!(
        recv(&mut client).await.unwrap().unwrap(),
        Message::Text(Bytes::from_static("grüß".as_bytes()))
    );
    assert!(client.written() > 100_000);

    send(&mut client, Message::Close(1000, "done".to_owned()))
        .await
        .unwrap();
    assert_eq!(
        recv(&mut server).await.unwrap().unwrap(),
        Message::Close(1000, "done".to_owned())
    );
    assert!(recv(&mut server).await.is_none());
    drop(server);
    assert!(matches!(
        recv(&mut client).await,
        Some(Ok(Message::Close(1000, _)))
    ));
    assert!(
        recv(&mut client).await.is_none(),
        "a normal close is not an error"
    );
    assert!(send(&mut client, binary("late")).await.is_err());
}

#[tokio::test]
async fn binary_text_and_close_travel_over_tcp() {
    let (server, client) = tcp_pair().await;
    echo_both_kinds(server, client).await;
}

#[tokio::test]
async fn binary_text_and_close_travel_over_a_unix_socket() {
    let dir = tempfile::tempdir().unwrap();
    let address = format!("unix://{}/hub.sock", dir.path().display());
    let mut listener = Listener::bind(&address, None).await.unwrap();
    assert_eq!(listener.local_addr(), address);
    let (server, client) = joined(&mut listener, &dialled(address)).await;
    echo_both_kinds(server, client).await;
}

struct Certificates {
    dir: tempfile::TempDir,
}

impl Certificates {
    /// A CA and a certificate for localhost signed by it, and another CA.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = |name: &str| {
            let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            let key = rcgen::KeyPair::generate().unwrap();
            let cert = params.self_signed(&key).unwrap();
            std::fs::write(dir.path().join(name), cert.pem()).unwrap();
            rcgen::Issuer::new(params, key)
        };
        let issuer = authority("ca.pem");
        authority("other.pem");
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned()];
        let cert = rcgen::CertificateParams::new(names)
            .unwrap()
            .signed_by(&key, &issuer)
            .unwrap();
        std::fs::write(dir.path().join("hub.pem"), cert.pem()).unwrap();
        std::fs::write(dir.path().join("hub.key"), key.serialize_pem()).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn listener(&self) -> Listener {
        let tls = ServerTls {
            cert_file: self.path("hub.pem"),
            key_file: self.path("hub.key"),
        };
        Listener::bind("127.0.0.1:0", Some(tls.server_config().unwrap()))
            .await
            .unwrap()
    }

    fn trusting(&self, ca: &str) -> TlsConfig {
        TlsConfig {
            ca_file: Some(self.path(ca)),
            ..TlsConfig::default()
        }
    }
}

fn port_of(listener: &Listener) -> String {
    listener.local_addr().rsplit_once(':').unwrap().1.to_owned()
}

#[tokio::test]
async fn binary_text_and_close_travel_over_tls() {
    let certificates = Certificates::new();
    let mut listener = certificates.listener().await;
    let mut to = dialled(format!("wss://localhost:{}/ws", port_of(&listener)));
    to.tls = certificates.trusting("ca.pem");
    let (server, client) = joined(&mut listener, &to).await;
    echo_both_kinds(server, client).await;
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_says_what_to_do() {
    let certificates = Certificates::new();
    let mut listener = certificates.listener().await;
    let port = port_of(&listener);
    tokio::spawn(async move {
        loop {
            listener.accept().await;
        }
    });
    let mut to = dialled(format!("wss://localhost:{port}/ws"));
    to.tls = certificates.trusting("other.pem");
    let text = dial(&to).await.unwrap_err().to_string();
    assert!(
        text.contains("not signed by a CA in the CA file") && text.contains("other.pem"),
        "{text}"
    );

    to.tls = certificates.trusting("ca.pem");
    to.url = format!("wss://127.0.0.1:{port}/ws");
    let text = dial(&to).await.unwrap_err().to_string();
    assert!(text.contains("for another name"), "{text}");
}

#[tokio::test]
async fn tls_to_a_plain_port_says_so_and_does_not_stop_the_listener() {
    let certificates = Certificates::new();
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
    assert!(text.contains("plain port"), "{text}");

    // A peer that never shakes hands does not stand in the way of the next one.
    let mut listener = certificates.listener().await;
    let _silent = tokio::net::TcpStream::connect(listener.local_addr())
        .await
        .unwrap();
    let endpoint = Endpoint::parse(&format!("https://localhost:{}", port_of(&listener))).unwrap();
    let tls = certificates.trusting("ca.pem");
    let (_, io) = tokio::join!(listener.accept(), endpoint.connect(&tls, Duration::from_secs(30)));
    io.unwrap();
}

#[tokio::test]
async fn an_oversized_message_is_refused_by_length_and_the_peer_reads_1009() {
    let (mut server, mut client) = tcp_pair().await;
    let server = tokio::spawn(async move {
        let first = recv(&mut server).await;
        (first, recv(&mut server).await.is_none())
    });
    // It may or may not be written whole before the peer ends.
    let _cut_short = send(&mut client, binary(vec![0; LIMIT + 1])).await;
    let Some(Ok(Message::Close(1009, reason))) = recv(&mut client).await else {
        panic!("no close 1009")
    };
    assert!(reason.contains("1048576"), "{reason}");
    drop(client);
    let (first, ended) = server.await.unwrap();
    assert!(matches!(
        first,
        Some(Err(TransportError::TooLarge { limit: LIMIT }))
    ));
    assert!(ended);
}

#[tokio::test]
async fn what_a_peer_breaks_is_answered_with_the_fitting_close_code() {
    for (bytes, code) in [
        (masked(0x81, b"\xff\xfe"), 1007u16),
        (masked(0x83, b""), 1002),
        (masked(0xC2, b""), 1002),
        (masked(0x80, b"x"), 1002),
        (masked(0x09, b""), 1002),
        (vec![0x82, 0x01, b'x'], 1002),
        (masked(0x82, &[0; 200]), 1009),
    ] {
        let (mut server, mut far) = raw_pair(100).await;
        far.write_all(&bytes).await.unwrap();
        let server = tokio::spawn(async move { recv(&mut server).await });
        let mut answer = [0; 4];
        far.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer[0], 0x88, "{bytes:x?}");
        assert_eq!(u16::from_be_bytes([answer[2], answer[3]]), code, "{bytes:x?}");
        drop(far);
        assert!(matches!(server.await.unwrap(), Some(Err(_))), "{bytes:x?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_peer_that_never_ends_is_left_after_a_while() {
    let (mut server, mut far) = raw_pair(100).await;
    far.write_all(&masked(0x83, b"")).await.unwrap();
    assert!(matches!(
        recv(&mut server).await,
        Some(Err(TransportError::Protocol(_)))
    ));
    assert!(recv(&mut server).await.is_none());
}

#[tokio::test]
async fn an_end_without_a_close_frame_is_an_error() {
    let (mut server, far) = raw_pair(100).await;
    drop(far);
    assert!(matches!(
        recv(&mut server).await,
        Some(Err(TransportError::Io(_)))
    ));
    assert!(recv(&mut server).await.is_none());
}

#[tokio::test]
async fn any_split_of_the_bytes_gives_the_same_messages() {
    let mut bytes = masked(0x82, &[1; 300]);
    bytes.extend(masked(0x01, b"hel"));
    bytes.extend(masked(0x89, b"ping"));
    bytes.extend(masked(0x80, b"lo"));
    bytes.extend(masked(0x82, b""));
    let want = [
        binary(vec![1; 300]),
        Message::Ping(Bytes::from_static(b"ping")),
        Message::Text(Bytes::from_static(b"hello")),
        binary(""),
    ];
    for step in [1, 2, 3, 7, 64, bytes.len()] {
        let (near, mut far) = tokio::io::duplex(step);
        let mut server = WebSocket::accepted(Io::other(near), 1000).await;
        let bytes = bytes.clone();
        let writer = tokio::spawn(async move {
            for piece in bytes.chunks(step) {
                far.write_all(piece).await.unwrap();
            }
            let mut pong = [0; 6];
            far.read_exact(&mut pong).await.unwrap();
            assert_eq!(&pong[2..], b"ping", "pings are answered");
        });
        for message in &want {
            assert_eq!(recv(&mut server).await.unwrap().unwrap(), *message, "step {step}");
        }
        poll_fn(|cx| server.poll_flush(cx)).await.unwrap();
        writer.await.unwrap();
    }
}

#[tokio::test]
async fn bytes_that_came_with_the_upgrade_are_not_lost() {
    let (near, _far) = tokio::io::duplex(100);
    let early = Bytes::from(masked(0x82, b"early"));
    let mut server = WebSocket::accepted_with(Io::other(near), early, 100).await;
    assert_eq!(recv(&mut server).await.unwrap().unwrap(), binary("early"));
}

#[tokio::test]
async fn a_slow_reader_makes_the_writer_wait_and_loses_nothing() {
    let (near, far) = tokio::io::duplex(4 << 10);
    let mut writer = WebSocket::accepted(Io::other(near), LIMIT).await;
    let mut reader = WebSocket::dialled(Io::other(far), Bytes::new(), LIMIT).await;
    let waiting = |writer: &mut WebSocket<Io>| {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        writer.poll_ready(&mut cx).is_pending()
    };
    let mut sent = 0u8;
    while !waiting(&mut writer) {
        writer.start_send(binary(vec![sent; 10_000])).unwrap();
        sent += 1;
        assert!(sent < 20, "nothing held the writer back");
    }
    let written = writer.written();
    let flush = tokio::spawn(async move {
        poll_fn(|cx| writer.poll_flush(cx)).await.unwrap();
        writer
    });
    for number in 0..sent {
        assert_eq!(
            recv(&mut reader).await.unwrap().unwrap(),
            binary(vec![number; 10_000])
        );
    }
    let writer = flush.await.unwrap();
    assert!(writer.written() > written, "progress shows in written()");
}

#[tokio::test]
async fn a_long_or_unsendable_close_is_sent_within_the_rules() {
    let (mut server, mut far) = raw_pair(100).await;
    send(&mut server, Message::Close(4500, "é".repeat(100)))
        .await
        .unwrap();
    let mut head = [0; 4];
    far.read_exact(&mut head).await.unwrap();
    assert_eq!(head, [0x88, 124, 0x11, 0x94], "122 bytes of whole characters");

    let (mut server, mut far) = raw_pair(100).await;
    send(&mut server, Message::Close(1006, "never sent".to_owned()))
        .await
        .unwrap();
    let mut head = [0; 2];
    far.read_exact(&mut head).await.unwrap();
    assert_eq!(head, [0x88, 0]);
}

/// Dials a server that answers with these bytes and then ends or stays.
async fn answered(answer: &'static str, stays: bool) -> DialError {
    let mut listener = Listener::bind("127.0.0.1:0", None).await.unwrap();
    let to = dialled(format!("ws://{}/ws", listener.local_addr()));
    let server = tokio::spawn(async move {
        let (mut io, _) = listener.accept().await;
        read_head(&mut io).await;
        for piece in answer.split_inclusive("\r\n\r\n") {
            io.write_all(piece.as_bytes()).await.unwrap();
            io.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
        if stays {
            let mut rest = Vec::new();
            let _until_the_peer_ends = io.read_to_end(&mut rest).await;
        }
    });
    let error = dial(&to).await.unwrap_err();
    server.await.unwrap();
    error
}

#[tokio::test]
async fn a_refused_upgrade_carries_status_retry_after_and_the_words_of_the_hub() {
    let unauthorized = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 13\r\n\r\nwrong token!\n";
    let DialError::Refused { status, body, .. } = answered(unauthorized, true).await else {
        panic!()
    };
    assert_eq!((status, body.as_str()), (401, "wrong token!"));

    let busy = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfull\r\n0\r\n\r\n";
    let error = answered(busy, true).await;
    let text = error.to_string();
    let DialError::Refused {
        status,
        retry_after,
        body,
        ..
    } = error
    else {
        panic!()
    };
    assert_eq!(
        (status, retry_after, body.as_str()),
        (503, Some(Duration::from_secs(7)), "full")
    );
    assert!(
        text.contains("503") && text.contains("full") && text.contains("/ws"),
        "{text}"
    );

    let forbidden = "HTTP/1.1 403 Forbidden\r\n\r\n\x1b[31mOrigin\r\nnot allowed";
    let DialError::Refused { body, .. } = answered(forbidden, false).await else {
        panic!()
    };
    assert_eq!(body, "[31mOrigin  not allowed");
}

#[tokio::test]
async fn an_answer_that_is_no_upgrade_says_what_is_wrong() {
    for (answer, problem) in [
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "not HTTP"),
        ("", "without an answer"),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", "lacks Upgrade"),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
            "Sec-WebSocket-Accept",
        ),
    ] {
        let error = answered(answer, false).await;
        assert!(matches!(error, DialError::NotWebSocket { .. }), "{error:?}");
        assert!(error.to_string().contains(problem), "{error}");
    }
}

#[tokio::test]
async fn a_hub_that_takes_another_subprotocol_or_none_is_refused() {
    for (chosen, problem) in [
        ("Sec-WebSocket-Protocol: other\r\n", "different versions"),
        ("", "did not take"),
    ] {
        let mut listener = Listener::bind("127.0.0.1:0", None).await.unwrap();
        let mut to = dialled(format!("ws://{}", listener.local_addr()));
        to.bearer = Some("t0ken".to_owned());
        let (head, result) = tokio::join!(
            async {
                let (mut io, _) = listener.accept().await;
                let head = read_head(&mut io).await;
                let key = accept_key(header(&head, "sec-websocket-key"));
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
                     Sec-WebSocket-Accept: {key}\r\n{chosen}\r\n"
                );
                io.write_all(answer.as_bytes()).await.unwrap();
                head
            },
            dial(&to)
        );
        assert_eq!(header(&head, "authorization"), "Bearer t0ken");
        assert!(head.starts_with("GET /ws HTTP/1.1\r\n"));
        let text = result.unwrap_err().to_string();
        assert!(text.contains(problem), "{text}");
    }
}

#[tokio::test]
async fn connect_errors_say_where() {
    let listener = Listener::bind("127.0.0.1:0", None).await.unwrap();
    let address = listener.local_addr();
    drop(listener);
    let endpoint = Endpoint::parse(&format!("http://{address}")).unwrap();
    let error = endpoint
        .connect(&TlsConfig::default(), Duration::from_secs(5))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ConnectError::Connect { address: at, .. } if *at == address),
        "{error}"
    );

    let endpoint = Endpoint::parse("unix:///no/such.sock").unwrap();
    let text = endpoint
        .connect(&TlsConfig::default(), Duration::from_secs(5))
        .await
        .unwrap_err()
        .to_string();
    assert!(text.contains("/no/such.sock"), "{text}");
}

#[tokio::test]
async fn a_hub_that_never_answers_the_upgrade_times_out() {
    let listener = Listener::bind("127.0.0.1:0", None).await.unwrap();
    let mut to = dialled(format!("ws://{}/ws", listener.local_addr()));
    to.timeout = Duration::from_millis(50);
    assert!(matches!(dial(&to).await, Err(DialError::Timeout { .. })));
}

#[tokio::test]
async fn a_stale_socket_is_replaced_a_live_one_and_a_file_are_not() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hub.sock");
    let address = format!("unix://{}", path.display());

    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "stale");
    let listener = Listener::bind(&address, None).await.unwrap();
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let text = Listener::bind(&address, None).await.unwrap_err().to_string();
    assert!(text.contains("another process"), "{text}");
    drop(listener);
    assert!(!path.exists(), "removed with its listener");

    std::fs::write(&path, "precious").unwrap();
    let text = Listener::bind(&address, None).await.unwrap_err().to_string();
    assert!(text.contains("not a socket"), "{text}");
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[tokio::test]
async fn bad_listen_addresses_say_what_to_do() {
    for (address, problem) in [
        ("3000", "HOST:PORT"),
        ("http://x:1", "HOST:PORT"),
        ("unix://relative", "from the root"),
        ("unix:///no/dir/x", "directory"),
    ] {
        let text = Listener::bind(address, None).await.unwrap_err().to_string();
        assert!(text.contains(problem) && text.contains(address), "{text}");
    }
    let taken = Listener::bind("127.0.0.1:0", None).await.unwrap();
    let text = Listener::bind(&taken.local_addr(), None)
        .await
        .unwrap_err()
        .to_string();
    assert!(text.contains("in use"), "{text}");
    assert!(taken.is_local());
}
