//! An HTTP client of one request, whose connection ends when it is dropped.

use std::io;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::BoxBody};
use hyper::{Request, Response, body::Frame, body::Incoming, client::conn::http1, http::request::Builder};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    task::JoinHandle,
};

pub(crate) type Body = BoxBody<Bytes, io::Error>;

/// An answer and the connection that it comes over.
pub(crate) struct Client {
    pub(crate) answer: Response<Incoming>,
    _connection: Connection,
}

/// Ended when it is dropped.
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Client {
    /// Status and whole body.
    pub(crate) async fn whole(self) -> (u16, Bytes) {
        let code = self.answer.status().as_u16();
        (code, self.answer.into_body().collect().await.unwrap().to_bytes())
    }

    /// Status and whole body as text.
    pub(crate) async fn text(self) -> (u16, String) {
        let (code, body) = self.whole().await;
        (code, String::from_utf8(body.to_vec()).unwrap())
    }

    /// The next bytes of the body.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        let frame = self.answer.body_mut().frame().await?;
        Some(frame.map(|frame| frame.into_data().unwrap()))
    }
}

/// A request to the plugin p1.
pub(crate) fn to(method: &str, path: &str) -> Builder {
    let uri = format!("/plugins/p1/http{path}");
    Request::builder()
        .method(method)
        .uri(uri)
        .header("host", "localhost")
}

pub(crate) fn none() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// A body of unknown length.
pub(crate) fn pieces(stream: impl futures::Stream<Item = io::Result<Bytes>> + Send + Sync + 'static) -> Body {
    let frames = futures::StreamExt::map(stream, |piece| piece.map(Frame::data));
    BodyExt::boxed(StreamBody::new(frames))
}

/// Sends a request.
pub(crate) async fn send(address: &str, request: Request<Body>) -> Client {
    match address.strip_prefix("unix://") {
        Some(path) => over(UnixStream::connect(path).await.unwrap(), request).await,
        None => over(TcpStream::connect(address).await.unwrap(), request).await,
    }
}

async fn over(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Body>,
) -> Client {
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.unwrap();
    let connection = Connection(tokio::spawn(async move {
        let _ = connection.await;
    }));
    let answer = sender.send_request(request).await.unwrap();
    Client {
        answer,
        _connection: connection,
    }
}

/// Sends these bytes and reads the answer to its end.
pub(crate) async fn raw(address: &str, text: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(text.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    socket.read_to_end(&mut said).await.unwrap();
    String::from_utf8_lossy(&said).into_owned()
}
