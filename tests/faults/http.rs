//! HTTP as a kubelet speaks it: a connection for each call.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use crate::history::Outcome;

/// Sends a request to HOST:PORT or unix:///PATH; gives the answer once its head is there.
pub(crate) async fn open(
    address: &str,
    method: &str,
    target: &str,
    body: &Value,
) -> Result<Response<Incoming>, String> {
    if let Some(path) = address.strip_prefix("unix://") {
        let stream = UnixStream::connect(path).await;
        send(
            stream.map_err(|error| error.to_string())?,
            "unix",
            method,
            target,
            body,
        )
        .await
    } else {
        let stream = TcpStream::connect(address).await;
        send(
            stream.map_err(|error| error.to_string())?,
            address,
            method,
            target,
            body,
        )
        .await
    }
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: &str,
    method: &str,
    path: &str,
    body: &Value,
) -> Result<Response<Incoming>, String> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    let body = if body.is_null() {
        Bytes::new()
    } else {
        Bytes::from(body.to_string())
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", host)
        .body(Full::new(body))
        .unwrap();
    sender
        .send_request(request)
        .await
        .map_err(|error| error.to_string())
}

/// A whole call.
pub(crate) async fn ask(address: &str, method: &str, path: &str, body: &Value, limit: Duration) -> Outcome {
    let whole = async {
        let response = open(address, method, path, body).await?;
        let http = response.status().as_u16();
        let body = response.into_body().collect().await;
        let bytes = body.map_err(|error| error.to_string())?.to_bytes();
        Ok((http, String::from_utf8_lossy(&bytes).into_owned()))
    };
    match timeout(limit, whole).await {
        Ok(Ok((http, text))) => Outcome::Answered { http, text },
        Ok(Err(why)) => Outcome::Broken(why),
        Err(_) => Outcome::Hung,
    }
}
