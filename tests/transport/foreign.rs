//! Our frames meet a codec that is not ours.

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::io::DuplexStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message as Theirs, protocol::Role},
};
use towline::transport::{Io, Message, WebSocket};

use crate::ends::{LIMIT, binary, recv, send};

/// Our end and theirs, which has the role that is given.
async fn ends(role: Role) -> (WebSocket<Io>, WebSocketStream<DuplexStream>) {
    let (near, far) = tokio::io::duplex(10_000);
    let near = Io::other(near);
    let ours = match role {
        Role::Client => WebSocket::accepted(near, LIMIT).await,
        Role::Server => WebSocket::dialled(near, Bytes::new(), LIMIT).await,
    };
    (ours, WebSocketStream::from_raw_socket(far, role, None).await)
}

#[tokio::test]
async fn messages_of_any_size_are_read_by_both() {
    for role in [Role::Client, Role::Server] {
        let (mut ours, mut theirs) = ends(role).await;
        for size in [0, 1, 125, 126, 127, 4_096, 65_535, 65_536, 300_001] {
            let bytes: Bytes = (0..size).map(|at| (at >> 3) as u8).collect::<Vec<_>>().into();
            let (sent, got) = tokio::join!(send(&mut ours, binary(bytes.clone())), theirs.next());
            sent.unwrap();
            assert!(
                got.unwrap().unwrap() == Theirs::Binary(bytes.clone()),
                "{size}, they are {role:?}"
            );
            let (sent, got) = tokio::join!(theirs.send(Theirs::Binary(bytes.clone())), recv(&mut ours));
            sent.unwrap();
            assert!(
                got.unwrap().unwrap() == binary(bytes),
                "{size}, they are {role:?}"
            );
        }
    }
}

#[tokio::test]
async fn pings_and_closes_are_answered_as_they_expect() {
    for role in [Role::Client, Role::Server] {
        let (mut ours, mut theirs) = ends(role).await;
        theirs
            .send(Theirs::Ping(Bytes::from_static(b"there?")))
            .await
            .unwrap();
        let ping = recv(&mut ours).await.unwrap().unwrap();
        assert_eq!(ping, Message::Ping(Bytes::from_static(b"there?")));
        send(&mut ours, Message::Text(Bytes::from_static("grüß".as_bytes())))
            .await
            .unwrap();
        assert_eq!(
            theirs.next().await.unwrap().unwrap(),
            Theirs::Pong(Bytes::from_static(b"there?"))
        );
        assert_eq!(theirs.next().await.unwrap().unwrap(), Theirs::text("grüß"));

        theirs.close(None).await.unwrap();
        assert_eq!(
            recv(&mut ours).await.unwrap().unwrap(),
            Message::Close(1005, String::new())
        );
        assert!(recv(&mut ours).await.is_none());
        assert_eq!(theirs.next().await.unwrap().unwrap(), Theirs::Close(None));
    }
}

#[tokio::test]
async fn a_close_of_ours_is_answered_by_them() {
    for role in [Role::Client, Role::Server] {
        let (mut ours, mut theirs) = ends(role).await;
        send(&mut ours, Message::Close(4000, "enough".to_owned()))
            .await
            .unwrap();
        let Theirs::Close(Some(close)) = theirs.next().await.unwrap().unwrap() else {
            panic!("no close")
        };
        assert_eq!((u16::from(close.code), close.reason.as_str()), (4000, "enough"));
        let (_, answer) = tokio::join!(theirs.flush(), recv(&mut ours));
        assert_eq!(
            answer.unwrap().unwrap(),
            Message::Close(4000, "enough".to_owned())
        );
    }
}
