//! HTTP/1.1 of the bench: a client on a connection that is kept alive, and a router that is served without any bound.

use std::net::SocketAddr;

use axum::Router;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Incoming},
    client::conn::{
        TrySendError,
        http1::{SendRequest, handshake},
    },
    header,
    server::conn::http1,
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

/// One connection, with one request at a time.
pub(super) struct Client<B> {
    send: SendRequest<B>,
    at: SocketAddr,
    host: String,
    _connection: AbortOnDropHandle<()>,
}

impl<B> Client<B>
where
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    pub(super) async fn connect(at: SocketAddr) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(at).await?;
        socket.set_nodelay(true)?;
        let (send, connection) = handshake(TokioIo::new(socket)).await?;
        let connection = tokio::spawn(async move {
            // How it ended is seen by who asks.
            let _ = connection.await;
        });
        Ok(Self {
            send,
            at,
            host: at.to_string(),
            _connection: AbortOnDropHandle::new(connection),
        })
    }

    /// Asks, with a body of this kind; the answer is one with 200, its body to come.
    pub(super) async fn open(
        &mut self,
        method: Method,
        path: &str,
        kind: &'static str,
        body: B,
    ) -> anyhow::Result<Response<Incoming>> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, kind)
            .body(body)?;
        let response = match self.try_send(request).await {
            Ok(response) => response,
            // The other side ends a connection that was idle for long; perhaps in this very moment.
            Err(mut error) => match error.take_message() {
                Some(request) => {
                    *self = Self::connect(self.at).await?;
                    self.try_send(request).await.map_err(TrySendError::into_error)?
                }
                None => return Err(error.into_error().into()),
            },
        };
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(response);
        }
        let text = response.into_body().collect().await?.to_bytes();
        anyhow::bail!(
            "{path} was answered with {status}: {}",
            String::from_utf8_lossy(&text)
        )
    }

    /// Gives the request back with the error when nothing of it was sent.
    async fn try_send(
        &mut self,
        request: Request<B>,
    ) -> Result<Response<Incoming>, TrySendError<Request<B>>> {
        // An error here is one of sending too.
        let _ = self.send.ready().await;
        self.send.try_send_request(request).await
    }

    /// The same, and reads the answer's body.
    pub(super) async fn ask(
        &mut self,
        method: Method,
        path: &str,
        kind: &'static str,
        body: B,
    ) -> anyhow::Result<Bytes> {
        let response = self.open(method, path, kind, body).await?;
        Ok(response.into_body().collect().await?.to_bytes())
    }
}

/// A router on a port of loopback; it ends with this.
pub(super) struct Served {
    pub(super) at: SocketAddr,
    _serving: AbortOnDropHandle<()>,
}

impl Served {
    pub(super) async fn start(router: Router) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let at = listener.local_addr()?;
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                // A socket that refuses is slower, and seen as such.
                let _ = socket.set_nodelay(true);
                let service = TowerToHyperService::new(router.clone());
                connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self {
            at,
            _serving: AbortOnDropHandle::new(serving),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use axum::routing::get;
    use http_body_util::Empty;

    use super::*;

    #[tokio::test]
    async fn a_connection_that_was_ended_while_idle_is_made_anew() {
        let router = Router::new().route("/", get(async || "here"));
        let served = Served::start(router.clone()).await.unwrap();
        let mut client = Client::<Empty<Bytes>>::connect(served.at).await.unwrap();
        let ask = async |client: &mut Client<_>| {
            let answer = client.ask(Method::GET, "/", "text/plain", Empty::new()).await;
            answer.unwrap()
        };
        assert_eq!(ask(&mut client).await, "here");
        drop(served);
        while !client.send.is_closed() {
            tokio::task::yield_now().await;
        }
        let served = Served::start(router).await.unwrap();
        client.at = served.at;
        assert_eq!(ask(&mut client).await, "here");
    }
}
