//! Messages over gRPC: whole, in order, bounded, and none of another kind.

use std::{future::poll_fn, task::Context};

use bytes::Bytes;
use tokio::io::duplex;
use towline::{
    limits,
    transport::{Io, Message, Transport, TransportError, grpc::Grpc},
};

use crate::carrier::grpc_pair_over;

pub(crate) async fn recv<T: Transport>(end: &mut T) -> Option<Result<Message, TransportError>> {
    poll_fn(|cx| end.poll_recv(cx)).await
}

pub(crate) async fn send<T: Transport>(end: &mut T, message: Message) -> Result<(), TransportError> {
    poll_fn(|cx| end.poll_ready(cx)).await?;
    end.start_send(message)?;
    poll_fn(|cx| end.poll_flush(cx)).await
}

pub(crate) fn binary(bytes: impl Into<Bytes>) -> Message {
    Message::Binary(bytes.into())
}

/// The hub's end and the plugin's.
pub(crate) async fn ends(limit: usize) -> (Grpc, Grpc) {
    let (near, far) = duplex(16 << 10);
    grpc_pair_over(Io::other(near), Io::other(far), limit).await
}

#[tokio::test]
async fn messages_of_any_size_arrive_whole_and_in_order_both_ways() {
    let (mut hub, mut plugin) = ends(limits::MAX_MESSAGE).await;
    for up in [true, false] {
        let (from, to) = if up {
            (&mut plugin, &mut hub)
        } else {
            (&mut hub, &mut plugin)
        };
        let sizes = [
            10,
            0,
            4_095,
            4_096,
            70_000,
            1,
            3 << 20,
            limits::MAX_MESSAGE,
            16_384,
        ];
        let written = from.written();
        let sends = async {
            for (number, size) in sizes.into_iter().enumerate() {
                poll_fn(|cx| from.poll_ready(cx)).await.unwrap();
                from.start_send(binary(vec![number as u8; size])).unwrap();
            }
            poll_fn(|cx| from.poll_flush(cx)).await.unwrap();
        };
        let reads = async {
            for (number, size) in sizes.into_iter().enumerate() {
                let got = recv(to).await.unwrap().unwrap();
                assert!(
                    got == binary(vec![number as u8; size]),
                    "message {number}, up {up}"
                );
            }
        };
        tokio::join!(sends, reads);
        let all: usize = sizes.iter().map(|size| size + 5).sum();
        assert_eq!(from.written() - written, all as u64);
    }
}

#[tokio::test]
async fn a_slow_reader_makes_the_writer_wait_within_bounds_and_loses_nothing() {
    let (mut hub, mut plugin) = ends(limits::MAX_MESSAGE).await;
    let ready = |hub: &mut Grpc| {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        hub.poll_ready(&mut cx).is_ready()
    };
    let mut sent = 0;
    loop {
        while ready(&mut hub) {
            hub.start_send(binary(vec![sent as u8; 50_000])).unwrap();
            sent += 1;
        }
        // What HTTP/2 can still take, it takes while others run.
        let before = hub.written();
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        if !ready(&mut hub) && hub.written() == before {
            break;
        }
    }
    let most = limits::GRPC_WINDOW as usize + limits::GRPC_QUEUE + 50_005;
    assert!(sent * 50_005 <= most, "{sent} messages were taken");
    let before = hub.written();
    let flush = async { poll_fn(|cx| hub.poll_flush(cx)).await.unwrap() };
    let reads = async {
        for number in 0..sent {
            assert!(recv(&mut plugin).await.unwrap().unwrap() == binary(vec![number as u8; 50_000]));
        }
    };
    tokio::join!(flush, reads);
    assert!(hub.written() > before, "progress shows in written()");
}

#[tokio::test]
async fn text_has_no_way_and_pings_of_the_transport_are_none() {
    let (mut hub, mut plugin) = ends(1_000).await;
    let error = hub
        .start_send(Message::Text(Bytes::from_static(b"{}")))
        .unwrap_err();
    assert!(error.to_string().contains("packets alone"), "{error}");
    for message in [
        Message::Ping(Bytes::new()),
        Message::Pong(Bytes::new()),
        binary("packet"),
    ] {
        send(&mut hub, message).await.unwrap();
    }
    assert_eq!(recv(&mut plugin).await.unwrap().unwrap(), binary("packet"));
}

#[tokio::test]
async fn an_end_is_heard_behind_what_was_sent_and_nothing_is_sent_after_it() {
    for up in [true, false] {
        let (mut hub, mut plugin) = ends(limits::MAX_MESSAGE).await;
        let (from, to) = if up {
            (&mut plugin, &mut hub)
        } else {
            (&mut hub, &mut plugin)
        };
        let reads = async {
            assert!(recv(to).await.unwrap().unwrap() == binary(vec![1; 2 << 20]));
            let end = recv(to).await.unwrap().unwrap();
            assert!(matches!(end, Message::Close(1005, _)), "{end:?}");
            assert!(recv(to).await.is_none());
        };
        let sends = async {
            send(from, binary(vec![1; 2 << 20])).await.unwrap();
            send(from, Message::Close(1000, "done".to_owned())).await.unwrap();
            assert!(from.start_send(binary("late")).is_err());
            assert!(poll_fn(|cx| from.poll_ready(cx)).await.is_err());
        };
        tokio::join!(reads, sends);
    }
}
