//! From a listener to requests, over connections of HTTP/1.1.

use std::{
    convert::Infallible,
    error::Error,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use hyper::{
    Request, Response,
    body::{Body, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::Service,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    accept::accept,
    io::{Answering, Progress, Timed},
};
use crate::{
    limits,
    transport::{Io, Listener},
};

/// Who is at the other end of the connection, for people.
#[derive(Debug, Clone)]
pub(crate) struct Remote(pub(crate) Arc<str>);

/// The listener is being closed: answers that would go on for ever end too.
#[derive(Debug, Clone, Default)]
pub(crate) struct Closing(pub(crate) CancellationToken);

/// Answers the requests on `listener` with `service`, over at most `max_connections` at once, until `shutdown` is done.
/// Then no connection is accepted, [`Closing`] is told, open requests may finish for a few seconds, and all that is
/// left is dropped. Upgraded connections are not waited for.
pub(crate) async fn serve<S, B>(
    listener: Listener,
    service: S,
    max_connections: usize,
    shutdown: impl Future<Output = ()> + Send,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body + Unpin + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let connected = move |socket, remote, closing| connection(socket, remote, service.clone(), closing);
    let full = |socket| {
        tracing::warn!(max_connections, "too many connections");
        turn_away(socket)
    };
    let left = accept(listener, max_connections, shutdown, connected, full).await;
    if left > 0 {
        tracing::info!(left, "requests were dropped at shutdown");
    }
}

/// Says why, then reads on until the client has seen it: closed with its request unread, the socket would be reset and
/// the answer lost.
async fn turn_away(mut socket: Io) {
    const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n\
        Content-Type: text/plain; charset=utf-8\r\nContent-Length: 37\r\n\r\ntoo many connections are open to it.\n";
    // Not before it asks: a client takes an early answer for nonsense.
    let mut asked = [0; 1024];
    let _ = timeout(limits::HTTP_LINGER / 2, socket.read(&mut asked)).await;
    let said = async {
        socket.write_all(ANSWER).await?;
        socket.shutdown().await?;
        tokio::io::copy(&mut socket, &mut tokio::io::sink()).await
    };
    // A client that does not take it, or does not close, is not waited for.
    let _ = timeout(limits::HTTP_LINGER, said).await;
}

/// Serves one connection to its end.
pub(crate) async fn connection<S, B>(socket: Io, remote: Arc<str>, service: S, closing: CancellationToken)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
    B: Body + Unpin + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let progress = Progress::new();
    let service = Requests {
        service,
        progress: progress.clone(),
        remote: Remote(remote),
        closing: Closing(closing.clone()),
    };
    let socket = TokioIo::new(Timed::new(socket, progress));
    let served = http1::Builder::new()
        .header_read_timeout(None)
        .max_headers(limits::HTTP_MAX_HEADERS)
        .max_header_size(limits::HTTP_MAX_HEAD)
        .max_buf_size(limits::HTTP_MAX_HEAD)
        .serve_connection(socket, service)
        .with_upgrades();
    let mut served = pin!(served);
    let ended = tokio::select! {
        biased;
        ended = &mut served => ended,
        () = closing.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

/// The service with what it must know of the connection.
struct Requests<S> {
    service: S,
    progress: Progress,
    remote: Remote,
    closing: Closing,
}

impl<S, B> Service<Request<Incoming>> for Requests<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Answered<B>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let answering = self.progress.request();
        request.extensions_mut().insert(self.remote.clone());
        request.extensions_mut().insert(self.closing.clone());
        let answer = self.service.call(request);
        Box::pin(async move {
            Ok(answer.await?.map(|body| Answered {
                body,
                _answering: answering,
            }))
        })
    }
}

/// A response body; the request is answered when hyper lets go of it.
struct Answered<B> {
    body: B,
    _answering: Answering,
}

impl<B: Body + Unpin> Body for Answered<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
