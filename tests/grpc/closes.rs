//! How a link over gRPC ends, and what each side learns of it.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::duplex;
use towline::{
    code::{CloseCode, Code, Reconnect, reason},
    connection::{Ended, HandshakeError, accept, register},
    limits,
    transport::{
        Dial, Io, Message,
        grpc::{Calls, Grpc, dial_grpc_over},
    },
    wire::{
        CreatePod, Frame, GoAway, Register, Request, StreamId, Welcome, decode_packet, encode_frame,
        frame::Body, request::Op,
    },
};

use crate::{
    calls::{connect, fake},
    carrier::grpc_pair_over,
    wire::{binary, ends, recv, send},
};

fn packet(body: Body) -> Message {
    let mut out = Vec::new();
    encode_frame(&mut out, StreamId::LINK, body);
    binary(out)
}

fn hello() -> Register {
    Register {
        plugin: "p1".into(),
        ..Register::default()
    }
}

/// A raw plugin says hello and is welcomed.
async fn registered(plugin: &mut Grpc) {
    let hello = packet(Body::Register(Box::new(hello())));
    send(plugin, hello).await.unwrap();
    recv(plugin).await.unwrap().unwrap();
}

/// A create with a payload of this size.
fn create(size: usize) -> Request {
    Request {
        op: Some(Op::CreatePod(CreatePod {
            payload: vec![b'x'; size].into(),
            ..CreatePod::default()
        })),
        ..Request::default()
    }
}

/// What a raw plugin reads until the end: the last GoAway, and the text of the status.
async fn told(plugin: &mut Grpc) -> (GoAway, String) {
    let mut said = None;
    loop {
        match recv(plugin).await.unwrap().unwrap() {
            Message::Binary(bytes) => {
                for frame in decode_packet(bytes, limits::MAX_MESSAGE).unwrap() {
                    if let Some(Body::GoAway(go_away)) = frame.body {
                        said = Some(go_away);
                    }
                }
            }
            Message::Close(1005, text) => return (said.unwrap(), text),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_tells_the_other_side_its_code_and_reason_and_how_to_come_back() {
    for (code, back) in [
        (CloseCode::NORMAL, Reconnect::Backoff),
        (CloseCode::SUPERSEDED, Reconnect::Superseded),
        (CloseCode::OVERLOADED, Reconnect::Backoff),
        (CloseCode::FORBIDDEN, Reconnect::Slow),
    ] {
        for by_hub in [true, false] {
            let ends = connect(0).await;
            let (closer, other) = if by_hub {
                (&ends.hub, &ends.plugin)
            } else {
                (&ends.plugin, &ends.hub)
            };
            closer.close(code, "because");
            let expected = Ended {
                code,
                reason: "because".to_owned(),
                by_peer: true,
                retry_after: Duration::ZERO,
            };
            let ended = other.ended().await;
            assert_eq!(ended, expected, "by_hub {by_hub}");
            assert_eq!(ended.code.reconnect(), back);
            assert_eq!(closer.ended().await.code, code);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_says_nothing_of_calls_that_may_have_begun() {
    let ends = connect(0).await;
    let hub = ends.hub.clone();
    let call = tokio::spawn(async move { hub.call(create(0)).await.unwrap_err() });
    tokio::time::sleep(Duration::from_millis(10)).await;
    ends.plugin.close(CloseCode::NORMAL, "the plugin was stopped");
    let lost = call.await.unwrap();
    assert_eq!(
        (lost.reason.as_str(), lost.not_started),
        (reason::SESSION_LOST, false)
    );
}

#[tokio::test(start_paused = true)]
async fn a_cut_is_a_lost_connection_for_both() {
    let ends = connect(0).await;
    ends.faults.cut();
    for end in [&ends.hub, &ends.plugin] {
        let ended = end.ended().await;
        assert_eq!(ended.code, CloseCode::ABNORMAL, "{}", ended.reason);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_plugin_breaks_before_its_register_is_told_with_the_fitting_code() {
    for (message, code, status) in [
        (
            binary("\u{ff}no packet"),
            CloseCode::INVALID,
            Code::InvalidArgument,
        ),
        (
            packet(Body::GoAway(GoAway::default())),
            CloseCode::VIOLATION,
            Code::InvalidArgument,
        ),
        (
            binary(vec![0; 100_001]),
            CloseCode::TOO_BIG,
            Code::ResourceExhausted,
        ),
    ] {
        let (hub, mut plugin) = ends(100_000).await;
        let hub = tokio::spawn(accept(hub));
        let _cut_short = send(&mut plugin, message).await;
        let (go_away, text) = told(&mut plugin).await;
        assert_eq!(go_away.code, u32::from(code.0), "{}", go_away.reason);
        assert!(!go_away.reason.is_empty());
        assert!(
            text.starts_with(status.name()) && text.contains(&go_away.reason),
            "{text}"
        );
        drop(plugin);
        assert!(hub.await.unwrap().is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_never_registers_is_told_4002() {
    let (hub, mut plugin) = ends(100_000).await;
    let hub = tokio::spawn(accept(hub));
    let (go_away, _) = told(&mut plugin).await;
    assert_eq!(go_away.code, u32::from(CloseCode::IDLE.0));
    drop(plugin);
    assert!(matches!(hub.await.unwrap(), Err(HandshakeError::Timeout(_))));
}

/// A connection whose plugin takes messages of `limit` bytes at most, whatever it says.
async fn connect_small(limit: usize) -> (towline::connection::Connection, towline::connection::Connection) {
    let (near, far) = duplex(16 << 10);
    let accepting = async {
        let mut calls = Calls::accept(Io::other(near)).await.unwrap();
        let link = calls
            .next()
            .await
            .unwrap()
            .unwrap()
            .link(limits::MAX_MESSAGE)
            .unwrap();
        tokio::spawn(async move { while let Some(Ok(_)) = calls.next().await {} });
        let accepted = accept(link).await.unwrap();
        accepted.welcome(Welcome::default(), fake(0))
    };
    let dialling = async {
        let mut to = Dial::new("grpc://hub:1", "");
        to.limit = limit;
        let link = dial_grpc_over(&to, Io::other(far)).await.unwrap();
        register(link, hello()).await.unwrap().start(fake(0))
    };
    tokio::join!(accepting, dialling)
}

#[tokio::test(start_paused = true)]
async fn a_message_over_the_limit_ends_the_link_with_1009_and_both_sides_know() {
    for size in [200_001, 8 << 20] {
        let (hub, plugin) = connect_small(200_000).await;
        let lost = hub.call(create(size)).await.unwrap_err();
        assert_eq!(
            (lost.reason.as_str(), lost.not_started),
            (reason::SESSION_LOST, false)
        );
        let ended = hub.ended().await;
        assert_eq!(
            (ended.code, ended.by_peer),
            (CloseCode::TOO_BIG, true),
            "{}",
            ended.reason
        );
        assert!(ended.reason.contains("200000"), "{}", ended.reason);
        let ended = plugin.ended().await;
        assert_eq!(
            (ended.code, ended.by_peer),
            (CloseCode::TOO_BIG, false),
            "{}",
            ended.reason
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_without_goaway_is_a_lost_connection() {
    let (hub, mut plugin) = ends(limits::MAX_MESSAGE).await;
    let accepting = async { accept(hub).await.unwrap().welcome(Welcome::default(), fake(0)) };
    let dialling = async {
        registered(&mut plugin).await;
        send(&mut plugin, Message::Close(1000, String::new()))
            .await
            .unwrap();
    };
    let (hub, ()) = tokio::join!(accepting, dialling);
    let ended = hub.ended().await;
    assert_eq!(
        (ended.code, ended.by_peer),
        (CloseCode::ABNORMAL, true),
        "{}",
        ended.reason
    );
    // The hub ends its side in good order.
    assert!(matches!(recv(&mut plugin).await, Some(Ok(Message::Close(1005, text))) if text.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_no_bytes_is_closed_after_thirty_seconds() {
    let ends = connect(u64::MAX).await;
    let began = tokio::time::Instant::now();
    let plugin = ends.plugin.clone();
    // It is heard, so it is no silent one.
    let speaking = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            plugin.send_node_status(Default::default());
        }
    });
    ends.down.hold();
    let hub = ends.hub.clone();
    let call = tokio::spawn(async move { hub.call(create(4 << 20)).await });
    let ended = ends.hub.ended().await;
    assert_eq!(
        (ended.code, ended.by_peer),
        (CloseCode::SLOW, false),
        "{}",
        ended.reason
    );
    let took = began.elapsed();
    assert!(
        took >= limits::WRITE_STALL && took < limits::WRITE_STALL + Duration::from_secs(10),
        "{took:?}"
    );
    assert!(call.await.unwrap().is_err());
    speaking.abort();
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_reads_nothing_from_its_stream_is_closed_too() {
    let (near, far) = duplex(16 << 10);
    let (hub, mut plugin) = grpc_pair_over(Io::other(near), Io::other(far), limits::MAX_MESSAGE).await;
    let accepting = async { accept(hub).await.unwrap().welcome(Welcome::default(), fake(0)) };
    let dialling = async {
        registered(&mut plugin).await;
    };
    let (hub, ()) = tokio::join!(accepting, dialling);
    let calling = hub.clone();
    let call = tokio::spawn(async move { calling.call(create(4 << 20)).await });
    // Its HTTP/2 answers, and it speaks; only nobody takes what comes.
    let speaking = async {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let status = Body::NodeStatus(Default::default());
            if send(&mut plugin, packet(status)).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let ended = tokio::select! {
        ended = hub.ended() => ended,
        () = speaking => unreachable!(),
    };
    assert_eq!(
        (ended.code, ended.by_peer),
        (CloseCode::SLOW, false),
        "{}",
        ended.reason
    );
    assert!(call.await.unwrap().is_err());
}

#[tokio::test]
async fn a_message_that_grpc_compressed_is_told_as_broken_framing() {
    let (near, far) = duplex(64 << 10);
    let served = async {
        let mut calls = Calls::accept(Io::other(near)).await.unwrap();
        let link = calls.next().await.unwrap().unwrap().link(1_000).unwrap();
        tokio::spawn(async move { while let Some(Ok(_)) = calls.next().await {} });
        accept(link).await.unwrap_err()
    };
    let calling = async {
        let (requests, connection) = h2::client::handshake(far).await.unwrap();
        tokio::spawn(connection);
        let request = hyper::Request::post("http://hub/towline.v1.LinkService/Connect")
            .header("content-type", "application/grpc")
            .body(())
            .unwrap();
        let (answer, mut send) = requests
            .ready()
            .await
            .unwrap()
            .send_request(request, false)
            .unwrap();
        send.send_data(Bytes::from_static(b"\x01\0\0\0\x01x"), false)
            .unwrap();
        let mut body = answer.await.unwrap().into_body();
        let data = body.data().await.unwrap().unwrap();
        let packet: Vec<Frame> = decode_packet(data.slice(5..), 1_000).unwrap();
        let trailers = body.trailers().await.unwrap().unwrap();
        (packet, trailers["grpc-status"].to_str().unwrap().to_owned())
    };
    let (error, (frames, status)) = tokio::join!(served, calling);
    assert!(error.to_string().contains("transport"), "{error}");
    let Some(Body::GoAway(go_away)) = &frames[0].body else {
        panic!("{frames:?}")
    };
    assert_eq!((go_away.code, status.as_str()), (1002, "3"));
    assert!(
        go_away.reason.contains("grpc-encoding identity"),
        "{}",
        go_away.reason
    );
}
