//! The HTTP client: one request to an endpoint of somebody else, and its answer.
//!
//! Knows addresses, connections and how a call fails; knows nothing of pods. Learn [`Upstream`], [`Failed`] (whether
//! anything was begun), [`told`] (what an error body says) and [`Forward`] (a request of somebody else, streamed).

mod exchange;
mod failed;
mod forward;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    body::Incoming,
    header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER},
};
use tokio::time::{Instant, timeout, timeout_at};

pub(crate) use self::failed::{Failed, told};
pub(crate) use self::forward::{Forward, Forwarded};
use self::{exchange::Link, forward::RequestBody};
use crate::{
    limits,
    transport::{Endpoint, TlsConfig},
    wire::metadata,
};

/// The plugin's address and the connections to it that are idle.
#[derive(Debug)]
pub(crate) struct Upstream {
    endpoint: Endpoint,
    tls: TlsConfig,
    idle: Mutex<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    link: Link,
    since: Instant,
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    pub(crate) body: Bytes,
    /// How long the head of the answer may take.
    pub(crate) within: Duration,
    /// May be sent twice: over a kept connection, which may have been closed in this moment.
    pub(crate) repeatable: bool,
    /// Metadata of the call.
    pub(crate) metadata: Option<&'a HashMap<String, String>>,
}

/// An answer whose body is still to be read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<Duration>,
    body: Incoming,
    /// Dropped with the answer: an unread body ends its connection.
    link: Link,
}

/// An answer that was read.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Bytes,
}

impl Upstream {
    pub(crate) fn new(endpoint: Endpoint, tls: TlsConfig) -> Self {
        Self {
            endpoint,
            tls,
            idle: Mutex::default(),
        }
    }

    /// The address, for people.
    pub(crate) fn address(&self) -> String {
        self.endpoint.to_string()
    }

    /// Whether somebody accepts connections there.
    pub(crate) async fn reach(&self) -> Result<(), Failed> {
        Link::open(&self.endpoint, &self.tls).await.map(drop)
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn open(&self, ask: &Ask<'_>) -> Result<Answer, Failed> {
        let until = Instant::now() + ask.within;
        let send = async {
            if ask.repeatable
                && let Some(link) = self.kept()
                && let Ok(answer) = self.send(link, ask).await
            {
                return Ok(answer);
            }
            let link = Link::open(&self.endpoint, &self.tls).await?;
            self.send(link, ask).await
        };
        match timeout_at(until, send).await {
            Ok(answer) => answer,
            Err(_) => Err(Failed::Silent(ask.within)),
        }
    }

    /// Sends a request and reads the answer.
    pub(crate) async fn ask(&self, ask: &Ask<'_>) -> Result<Whole, Failed> {
        let answer = self.open(ask).await?;
        match timeout(ask.within, self.read(answer)).await {
            Ok(whole) => whole,
            Err(_) => Err(Failed::Silent(ask.within)),
        }
    }

    /// Reads the rest of an answer and keeps its connection.
    pub(crate) async fn read(&self, answer: Answer) -> Result<Whole, Failed> {
        let Answer {
            status,
            retry_after,
            body,
            link,
        } = answer;
        let body = Limited::new(body, limits::UPSTREAM_ANSWER).collect().await;
        let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => Failed::TooLarge,
            None => Failed::lost(&*error),
        })?;
        self.keep(link);
        Ok(Whole {
            status,
            retry_after,
            body: body.to_bytes(),
        })
    }

    /// The connection of an answer that was read to its end.
    pub(crate) fn done(&self, answer: Answer) {
        self.keep(answer.link);
    }

    async fn send(&self, mut link: Link, ask: &Ask<'_>) -> Result<Answer, Failed> {
        let response = link.send(self.request(ask)?).await?;
        Ok(Answer {
            status: response.status(),
            retry_after: retry_after(response.headers()),
            body: response.into_body(),
            link,
        })
    }

    fn request(&self, ask: &Ask<'_>) -> Result<Request<RequestBody>, Failed> {
        let base = self.endpoint.path_or("").trim_end_matches('/');
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(format!("{base}{}", ask.path))
            .header(HOST, self.endpoint.host_header())
            .header(ACCEPT, "*/*")
            .header(CONTENT_TYPE, "application/json")
            .body(RequestBody::Whole(Full::new(ask.body.clone())))
            .map_err(|error| Failed::NotReached(format!("no request can be made of it: {error}")))?;
        for name in metadata::ALL {
            let value = ask.metadata.and_then(|carried| carried.get(name));
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
                request.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        Ok(request)
    }

    fn kept(&self) -> Option<Link> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|idle| idle.since.elapsed() < limits::UPSTREAM_IDLE_FOR && idle.link.is_good());
        idle.pop().map(|idle| idle.link)
    }

    fn keep(&self, link: Link) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if link.is_good() && idle.len() < limits::UPSTREAM_IDLE {
            let since = Instant::now();
            idle.push(Idle { link, since });
        }
    }
}

impl Answer {
    /// The next bytes of the body; none at its end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failed> {
        next(&mut self.body).await
    }
}

/// The next bytes of a body; none at its end. Trailers are left out.
async fn next(body: &mut Incoming) -> Result<Option<Bytes>, Failed> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(error)) => return Err(Failed::lost(&error)),
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

/// Seconds; a date is not worth a clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
