//! Messages that are written from where they lie: whole, in order, and never torn.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use towline::transport::{Io, Message, Transport, TransportError, WebSocket};

use crate::{
    certificates::{Certificates, port_of},
    ends::{LIMIT, binary, dialled, joined, masked, raw_pair, recv, send},
};

#[tokio::test]
async fn small_and_large_messages_arrive_in_the_order_they_were_sent() {
    for dialling in [false, true] {
        let (near, far) = tokio::io::duplex(1_000);
        let mut server = WebSocket::accepted(Io::other(near), LIMIT).await;
        let mut client = WebSocket::dialled(Io::other(far), Bytes::new(), LIMIT).await;
        let (writer, reader) = if dialling {
            (&mut client, &mut server)
        } else {
            (&mut server, &mut client)
        };
        let sizes = [10, 16_383, 16_384, 5, 70_000, 200_000, 0, 16_384];
        let sends = async {
            for (number, size) in sizes.into_iter().enumerate() {
                poll_fn(|cx| writer.poll_ready(cx)).await.unwrap();
                writer.start_send(binary(vec![number as u8; size])).unwrap();
            }
            poll_fn(|cx| writer.poll_flush(cx)).await.unwrap();
        };
        let reads = async {
            for (number, size) in sizes.into_iter().enumerate() {
                let got = recv(reader).await.unwrap().unwrap();
                assert!(
                    got == binary(vec![number as u8; size]),
                    "message {number}, dialling {dialling}"
                );
            }
        };
        tokio::join!(sends, reads);
    }
}

#[tokio::test]
async fn a_pong_never_falls_into_a_large_message_on_its_way() {
    let (near, mut far) = tokio::io::duplex(1_000);
    let mut server = WebSocket::accepted(Io::other(near), LIMIT).await;
    server.start_send(binary(vec![7; 50_000])).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(server.poll_flush(&mut cx).is_pending(), "half of it has left");
    far.write_all(&masked(0x89, b"ping")).await.unwrap();
    assert_eq!(
        recv(&mut server).await.unwrap().unwrap(),
        Message::Ping(Bytes::from_static(b"ping"))
    );
    let mut seen = vec![0; 4 + 50_000 + 6];
    let (flushed, read) = tokio::join!(poll_fn(|cx| server.poll_flush(cx)), far.read_exact(&mut seen));
    flushed.unwrap();
    read.unwrap();
    assert_eq!(seen[..4], [0x82, 126, 0xc3, 0x50]);
    assert!(seen[4..50_004].iter().all(|byte| *byte == 7));
    assert_eq!(seen[50_004..], *b"\x8a\x04ping");
}

#[tokio::test]
async fn a_message_of_more_than_twice_the_limit_is_not_sent() {
    let (mut server, _far) = raw_pair(20_000).await;
    assert!(matches!(
        server.start_send(binary(vec![0; 40_001])),
        Err(TransportError::TooLarge { limit: 20_000 })
    ));
    send(&mut server, binary("small")).await.unwrap();
}

/// Takes everything, and notes whether it was handed the payload itself.
struct Handed {
    payload: Bytes,
    seen: Arc<AtomicUsize>,
}

impl AsyncRead for Handed {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Handed {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.payload.as_ptr_range().contains(&bytes.as_ptr()) {
            self.seen.fetch_add(bytes.len(), Ordering::Relaxed);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_large_message_is_written_from_where_it_lies() {
    let payload = Bytes::from(vec![1; 16 << 20]);
    let seen = Arc::default();
    let socket = Handed {
        payload: payload.clone(),
        seen: Arc::clone(&seen),
    };
    let mut server = WebSocket::accepted(socket, 16 << 20).await;
    send(&mut server, Message::Binary(payload)).await.unwrap();
    assert_eq!(seen.load(Ordering::Relaxed), 16 << 20);
}

/// A message from one end to the other.
async fn carry(from: &mut WebSocket<Io>, to: &mut WebSocket<Io>, message: Message) {
    let (sent, got) = tokio::join!(send(from, message.clone()), recv(to));
    sent.unwrap();
    assert!(got.unwrap().unwrap() == message);
}

#[tokio::test]
async fn a_large_message_travels_whole_over_tls_both_ways() {
    let certificates = Certificates::good();
    let mut listener = certificates.listener().await;
    let mut to = dialled(format!("wss://localhost:{}/ws", port_of(&listener)));
    to.tls = certificates.trusting("ca.pem");
    let (mut server, mut client) = joined(&mut listener, &to).await;
    let whole = binary((0..LIMIT).map(|at| (at >> 3) as u8).collect::<Vec<_>>());
    carry(&mut server, &mut client, whole.clone()).await;
    carry(&mut client, &mut server, whole).await;
}

#[tokio::test]
async fn a_large_text_travels_as_text_both_ways() {
    let (near, far) = tokio::io::duplex(1_000);
    let mut server = WebSocket::accepted(Io::other(near), LIMIT).await;
    let mut client = WebSocket::dialled(Io::other(far), Bytes::new(), LIMIT).await;
    let text = Message::Text("grüß ".repeat(50_000).into());
    carry(&mut server, &mut client, text.clone()).await;
    carry(&mut client, &mut server, text).await;
}

#[tokio::test]
async fn nothing_overtakes_a_large_message_that_has_not_left() {
    let (mut server, _far) = raw_pair(LIMIT).await;
    server.start_send(binary(vec![1; 20_000])).unwrap();
    assert!(matches!(
        server.start_send(binary("small")),
        Err(TransportError::Protocol(_))
    ));
}
