//! What only messages in memory can show: a close as it is, text, and a socket that takes nothing.

use std::time::Duration;

use bytes::Bytes;
use towline::{
    code::CloseCode,
    connection::{HandshakeError, accept},
    limits,
    transport::{Message, Transport, memory},
    wire::{EventAck, PodEvent},
};

use crate::calls::connect;

#[tokio::test(start_paused = true)]
async fn a_peer_that_speaks_and_takes_no_bytes_is_closed_after_thirty_seconds() {
    let ends = connect(0).await;
    let plugin = ends.plugin.clone();
    let began = tokio::time::Instant::now();
    // It is heard, so it is no silent one.
    let speaking = tokio::spawn(async move {
        for seq in 1.. {
            tokio::time::sleep(Duration::from_secs(5)).await;
            plugin.send_event(PodEvent {
                epoch: 1,
                seq,
                ..PodEvent::default()
            });
        }
    });
    // One message lies in its socket and the next ones do not fit.
    ends.down.hold();
    ends.hub.send_ack(EventAck { epoch: 1, seq: 1 });
    tokio::time::sleep(Duration::from_millis(1)).await;
    ends.down.stall(true);
    let ended = ends.hub.ended().await;
    assert_eq!((ended.code, ended.by_peer), (CloseCode::SLOW, false));
    // Closing such a link may take a little longer still.
    let took = began.elapsed();
    assert!(
        took >= limits::WRITE_STALL && took < limits::WRITE_STALL + Duration::from_secs(10),
        "{took:?}"
    );
    speaking.abort();
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_socket_pings_is_closed_with_the_reason() {
    let (hub_end, mut other) = memory::pair(limits::MAX_MESSAGE);
    let hub = tokio::spawn(accept(hub_end));
    for _ in 0..=limits::SOCKET_PINGS_BURST {
        std::future::poll_fn(|cx| other.poll_ready(cx)).await.unwrap();
        other.start_send(Message::Ping(Bytes::new())).unwrap();
    }
    let close = std::future::poll_fn(|cx| other.poll_recv(cx)).await;
    let Some(Ok(Message::Close(4504, reason))) = close else {
        panic!("{close:?}")
    };
    assert!(reason.contains("WebSocket pings"), "{reason}");
    drop(other);
    assert!(hub.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_registers_is_closed() {
    let (hub_end, mut other) = memory::pair(limits::MAX_MESSAGE);
    let Err(HandshakeError::Timeout(_)) = accept(hub_end).await else {
        panic!()
    };
    let close = std::future::poll_fn(|cx| other.poll_recv(cx)).await;
    assert!(matches!(close, Some(Ok(Message::Close(4002, _)))), "{close:?}");
}

#[tokio::test(start_paused = true)]
async fn text_on_the_binary_link_is_closed_with_1003() {
    let (hub_end, mut other) = memory::pair(limits::MAX_MESSAGE);
    let hub = tokio::spawn(accept(hub_end));
    std::future::poll_fn(|cx| other.poll_ready(cx)).await.unwrap();
    other
        .start_send(Message::Text(Bytes::from_static(b"{}")))
        .unwrap();
    let close = std::future::poll_fn(|cx| other.poll_recv(cx)).await;
    assert!(matches!(close, Some(Ok(Message::Close(1003, _)))), "{close:?}");
    assert!(hub.await.unwrap().is_err());
}
