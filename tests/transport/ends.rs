//! Both ends of a connection, as the tests make them.

use std::future::poll_fn;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use towline::transport::{
    Dial, Io, Listener, Message, Transport, TransportError, WebSocket, accept_key, dial,
};

pub(crate) const PROTO: &str = "towline.v1.proto";
pub(crate) const LIMIT: usize = 1 << 20;

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

/// Reads an HTTP head and gives its lines.
pub(crate) async fn read_head(io: &mut Io) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

pub(crate) fn header<'a>(head: &'a str, name: &str) -> &'a str {
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
pub(crate) async fn upgrade(mut io: Io, limit: usize) -> WebSocket<Io> {
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

pub(crate) fn dialled(url: String) -> Dial {
    let mut to = Dial::new(url, PROTO);
    to.limit = LIMIT;
    to
}

pub(crate) async fn joined(listener: &mut Listener, to: &Dial) -> (WebSocket<Io>, WebSocket<Io>) {
    let (server, client) = tokio::join!(
        async {
            let (io, _) = listener.accept().await;
            upgrade(io, LIMIT).await
        },
        dial(to)
    );
    (server, client.unwrap().0)
}

pub(crate) async fn tcp_pair() -> (WebSocket<Io>, WebSocket<Io>) {
    let mut listener = Listener::bind("127.0.0.1:0", None).await.unwrap();
    let to = dialled(format!("ws://{}/ws", listener.local_addr()));
    joined(&mut listener, &to).await
}

pub(crate) async fn echo_both_kinds(mut server: WebSocket<Io>, mut client: WebSocket<Io>) {
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

/// A WebSocket server's end whose other side is raw bytes.
pub(crate) async fn raw_pair(limit: usize) -> (WebSocket<Io>, tokio::io::DuplexStream) {
    let (near, far) = tokio::io::duplex(64 << 10);
    (WebSocket::accepted(Io::other(near), limit).await, far)
}

pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
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
