//! A request of somebody else, passed on with its own method, target, fields and body, and its answer as it comes.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    body::{Body, Frame, Incoming, SizeHint},
    header::{HOST, HeaderValue},
};
use tokio::time::{Instant, sleep_until};

use super::{Failed, Upstream, exchange::Link};

/// A body that comes piece by piece; an error says that it will not be whole.
pub(crate) type Pieces = Pin<Box<dyn futures::Stream<Item = io::Result<Bytes>> + Send>>;

/// One request to pass on.
pub(crate) struct Forward {
    pub(crate) method: Method,
    /// Path and query; what stands in the endpoint's own path comes before it.
    pub(crate) target: String,
    /// Sent as they are, but for Host.
    pub(crate) headers: HeaderMap,
    /// None: the request has no body.
    pub(crate) body: Option<Pieces>,
    /// How long the upstream may keep silent when it has all that there is for it.
    pub(crate) within: Duration,
}

/// An answer whose body is still to be read. Dropping it closes its connection.
#[derive(Debug)]
pub(crate) struct Forwarded {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    _link: Link,
}

impl Forwarded {
    /// The next bytes of the body; none at its end. Trailers are left out.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failed> {
        super::next(&mut self.body).await
    }
}

impl Upstream {
    /// Passes a request on, over a connection of its own: it may not be one that can be sent twice. Redirects are answers
    /// like any other.
    pub(crate) async fn forward(&self, forward: Forward) -> Result<Forwarded, Failed> {
        let Forward {
            method,
            target,
            headers,
            body,
            within,
        } = forward;
        let base = self.endpoint.path_or("").trim_end_matches('/');
        let clock = Clock::default();
        let body = match body {
            None => RequestBody::Whole(Full::default()),
            Some(pieces) => RequestBody::Pieces {
                pieces,
                clock: clock.clone(),
            },
        };
        let unmade = |error: String| Failed::NotReached(format!("no request can be made of it: {error}"));
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{base}{target}"))
            .body(body)
            .map_err(|error| unmade(error.to_string()))?;
        *request.headers_mut() = headers;
        let host = HeaderValue::from_str(&self.endpoint.host_header());
        let host = host.map_err(|error| unmade(error.to_string()))?;
        request.headers_mut().insert(HOST, host);
        let mut link = Link::open(&self.endpoint, &self.tls).await?;
        clock.start();
        let response = tokio::select! {
            biased;
            response = link.send(request) => response?,
            () = clock.silent_for(within) => return Err(Failed::Silent(within)),
        };
        let (head, body) = response.into_parts();
        Ok(Forwarded {
            status: head.status,
            headers: head.headers,
            body,
            _link: link,
        })
    }
}

/// Since when the upstream has all that there is for it; none while the next piece is waited for.
#[derive(Debug, Clone, Default)]
pub(super) struct Clock(Arc<Mutex<Option<Instant>>>);

impl Clock {
    fn start(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn stop(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    async fn silent_for(&self, within: Duration) {
        loop {
            let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let until = since.unwrap_or_else(Instant::now) + within;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}

/// The body of a request.
pub(super) enum RequestBody {
    Whole(Full<Bytes>),
    Pieces { pieces: Pieces, clock: Clock },
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Whole(whole) => {
                let frame = ready!(Pin::new(whole).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(|never| match never {})))
            }
            Self::Pieces { pieces, clock } => {
                let Poll::Ready(piece) = pieces.as_mut().poll_next(cx) else {
                    clock.stop();
                    return Poll::Pending;
                };
                clock.start();
                Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::Pieces { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Pieces { .. } => SizeHint::default(),
        }
    }
}
