//! Messages, closes, and what a broken peer is told.

use std::future::poll_fn;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use towline::transport::{Io, Listener, Message, Transport, TransportError, WebSocket};

use crate::ends::{LIMIT, binary, dialled, echo_both_kinds, joined, masked, raw_pair, recv, send, tcp_pair};

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
