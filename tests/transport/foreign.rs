//! Our frames meet a codec that is not ours.

use std::{io::Cursor, time::Duration};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use proptest::prelude::*;
use tokio::io::{DuplexStream, Join, Sink, join, sink};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message as Theirs,
        protocol::{Role, WebSocketConfig},
    },
};
use towline::transport::{Io, Message, TransportError, WebSocket};

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

/// What was read of some bytes, as far as both say the same of it.
#[derive(Debug, PartialEq)]
enum Read {
    Binary(Bytes),
    Text(Bytes),
    Ping(Bytes),
    Pong(Bytes),
    Closed(u16),
    TooLarge,
    Broken,
    /// Without a close frame.
    Ended,
}

const SMALL: usize = 300;

/// A socket on which these bytes came, and that takes whatever is written.
fn socket(bytes: &[u8]) -> Join<Cursor<Vec<u8>>, Sink> {
    join(Cursor::new(bytes.to_vec()), sink())
}

async fn read_by_us(bytes: &[u8], role: Role) -> Vec<Read> {
    let io = socket(bytes);
    let mut ours = match role {
        Role::Server => WebSocket::accepted(io, SMALL).await,
        Role::Client => WebSocket::dialled(io, Bytes::new(), SMALL).await,
    };
    let mut all = Vec::new();
    while let Some(message) = recv(&mut ours).await {
        all.push(match message {
            Ok(Message::Binary(bytes)) => Read::Binary(bytes),
            Ok(Message::Text(bytes)) => Read::Text(bytes),
            Ok(Message::Ping(bytes)) => Read::Ping(bytes),
            Ok(Message::Pong(bytes)) => Read::Pong(bytes),
            Ok(Message::Close(code, _)) => Read::Closed(code),
            Err(TransportError::TooLarge { .. }) => Read::TooLarge,
            Err(TransportError::Protocol(_)) => Read::Broken,
            Err(TransportError::Io(_)) => Read::Ended,
        });
    }
    all
}

async fn read_by_them(bytes: &[u8], role: Role) -> Vec<Read> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(SMALL))
        .max_frame_size(Some(SMALL));
    let mut theirs = WebSocketStream::from_raw_socket(socket(bytes), role, Some(config)).await;
    let mut all = Vec::new();
    while let Some(message) = theirs.next().await {
        all.push(match message {
            Ok(Theirs::Binary(bytes)) => Read::Binary(bytes),
            Ok(Theirs::Text(text)) => Read::Text(text.into()),
            Ok(Theirs::Ping(bytes)) => Read::Ping(bytes),
            Ok(Theirs::Pong(bytes)) => Read::Pong(bytes),
            Ok(Theirs::Close(close)) => Read::Closed(close.map_or(1005, |close| close.code.into())),
            Ok(Theirs::Frame(_)) => unreachable!("frames are not read one by one"),
            Err(Error::Capacity(_)) => Read::TooLarge,
            Err(Error::Protocol(error)) if error.to_string().contains("closing handshake") => Read::Ended,
            Err(_) => Read::Broken,
        });
        // We end with the peer's close, and after a fault.
        if matches!(
            all.last(),
            Some(Read::Closed(_) | Read::TooLarge | Read::Broken | Read::Ended)
        ) {
            break;
        }
    }
    all
}

/// One frame, right or wrong: its first byte, whether it is masked, how its length is written, its payload.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => prop::sample::select(vec![0x81_u8, 0x82, 0x02, 0x00, 0x80, 0x88, 0x89, 0x8a]),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        4 => "[a-zé]{0,20}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..20),
        1 => (100..SMALL + 5).prop_map(|size| vec![b'x'; size]),
        2 => prop::sample::select(vec![1000_u16, 1001, 1004, 1005, 1006, 1015, 2999, 3000, 4999, 5000])
            .prop_map(|code| [&code.to_be_bytes()[..], b"why"].concat()),
    ];
    let lengths = prop_oneof![6 => Just(0), 1 => Just(2), 1 => Just(8)];
    let masked = prop_oneof![9 => Just(true), 1 => Just(false)];
    (first, masked, lengths, any::<[u8; 4]>(), payload).prop_map(|(first, masked, length, key, payload)| {
        let mask = if masked { 0x80 } else { 0 };
        let size = payload.len();
        // Of a text in parts they look at each part, we at the whole.
        let first = if first & 0x8f == 1 { first | 0x80 } else { first };
        let mut bytes = vec![first];
        // They take a control frame whose length is longer than it must be, which we do not (section 5.2).
        match length {
            _ if size < 126 && first & 8 != 0 => bytes.push(mask | size as u8),
            0 if size < 126 => bytes.push(mask | size as u8),
            0 | 2 => {
                bytes.push(mask | 126);
                bytes.extend_from_slice(&(size as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend_from_slice(&(size as u64).to_be_bytes());
            }
        }
        if masked {
            bytes.extend_from_slice(&key);
            bytes.extend(
                payload
                    .iter()
                    .zip(key.iter().cycle())
                    .map(|(byte, key)| byte ^ key),
            );
        } else {
            bytes.extend_from_slice(&payload);
        }
        bytes
    })
}

fn both(bytes: &[u8], role: Role) -> (Vec<Read>, Vec<Read>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let reading = async { (read_by_us(bytes, role).await, read_by_them(bytes, role).await) };
        let read = tokio::time::timeout(Duration::from_secs(30), reading).await;
        read.expect("bytes that end are read to their end")
    })
}

fn same(bytes: &[u8], role: Role) -> Result<(), TestCaseError> {
    let (ours, mut theirs) = both(bytes, role);
    // We refuse a frame by its first byte, they when its length has been looked at, or when all of it has come.
    if let (Some(&Read::Broken), Some(last @ (Read::Ended | Read::TooLarge))) =
        (ours.last(), theirs.last_mut())
    {
        *last = Read::Broken;
    }
    prop_assert_eq!(ours, theirs);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn frames_right_and_wrong_are_read_as_they_read_them(frames in prop::collection::vec(frame(), 0..6)) {
        let bytes = frames.concat();
        same(&bytes, Role::Server)?;
    }

    #[test]
    fn any_bytes_are_read_as_they_read_them(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        for role in [Role::Server, Role::Client] {
            same(&bytes, role)?;
        }
    }
}
