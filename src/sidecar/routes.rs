//! From a request to a call: who is let in, which call it is, and how it is told that it failed.

use std::{collections::HashMap, panic::AssertUnwindSafe, time::Instant};

use futures::FutureExt;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderValue},
    http::request::Parts,
};
use tracing::Instrument;

use super::{Body, Sidecar};
use crate::{
    code::Code,
    plugin::Handler,
    server::{Closing, Refusal, body, carried, check_host, check_origin, check_target, session_of},
    wire::metadata::{SESSION, TRACEPARENT},
};

/// What helps who calls by a strange name.
const HOST_ADVICE: &str =
    "Call the plugin localhost or 127.0.0.1, or give it a token (--listen-token-file FILE)";

/// The calls of interLink's API server to a plugin.
#[derive(Debug, Clone, Copy)]
enum Call {
    Create,
    Delete,
    Status,
    GetLogs,
}

impl Call {
    fn at(path: &str) -> Option<Self> {
        match path {
            "/create" => Some(Self::Create),
            "/delete" => Some(Self::Delete),
            "/status" => Some(Self::Status),
            "/getLogs" => Some(Self::GetLogs),
            _ => None,
        }
    }

    /// As interLink's API server sends it; a delete also as the virtual kubelet does.
    fn methods(self) -> &'static [Method] {
        match self {
            Self::Create => &[Method::POST],
            Self::Delete => &[Method::POST, Method::DELETE],
            Self::Status | Self::GetLogs => &[Method::GET],
        }
    }
}

impl<H: Handler> Sidecar<H> {
    /// Answers, whatever happens.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let session = session_of(request.headers());
        let path: String = request.uri().path().chars().take(200).collect();
        let span = tracing::info_span!("rest", method = %request.method(), path, session);
        let echo = HeaderValue::from_str(&session).ok();
        let mut metadata = HashMap::from([(SESSION.to_owned(), session)]);
        if let Some(trace) = carried(request.headers(), TRACEPARENT) {
            metadata.insert(TRACEPARENT.to_owned(), trace);
        }

        let started = Instant::now();
        let answered = AssertUnwindSafe(self.route(request, metadata))
            .catch_unwind()
            .instrument(span.clone())
            .await;
        let mut response = answered.unwrap_or_else(|_| {
            span.in_scope(|| tracing::error!("panic in a call"));
            let text = "the plugin failed at this request; its log says more";
            turned_down(Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                Code::Internal,
                text,
            ))
        });
        let status = response.status().as_u16();
        span.in_scope(|| tracing::debug!(status, elapsed_ms = started.elapsed().as_millis(), "answered"));
        if let Some(echo) = echo {
            response.headers_mut().insert(SESSION, echo);
        }
        response
    }

    async fn route(&self, request: Request<Incoming>, metadata: HashMap<String, String>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        if let Err(refusal) = self.admit(&parts).await {
            return turned_down(refusal);
        }
        let path = parts.uri.path();
        let Some(call) = Call::at(path) else {
            let text =
                format!("no such path here: {path}; a plugin answers /create, /delete, /status and /getLogs");
            return turned_down(Refusal::not_found("", text));
        };
        if !call.methods().contains(&parts.method) {
            return wrong_method(call, &parts);
        }
        let closing = parts.extensions.get::<Closing>().cloned().unwrap_or_default();
        let answer = async {
            let body = body::read(body, self.config.max_body).await?;
            match call {
                Call::Create => self.create(&body, metadata).await,
                Call::Delete => self.delete(&body).await,
                Call::Status => self.status(&body).await,
                Call::GetLogs => self.logs(&body, closing).await,
            }
        };
        answer.await.unwrap_or_else(turned_down)
    }

    async fn admit(&self, parts: &Parts) -> Result<(), Refusal> {
        check_target(&parts.uri)?;
        if let Some(allowed) = &self.config.allowed_hosts {
            check_host(allowed, HOST_ADVICE, &parts.uri, &parts.headers)?;
        }
        check_origin(&[], &parts.headers)?;
        self.doorman.check(&parts.headers).await
    }
}

fn wrong_method(call: Call, parts: &Parts) -> Response<Body> {
    let allowed: Vec<&str> = call.methods().iter().map(Method::as_str).collect();
    let allowed = allowed.join(", ");
    let text = format!(
        "{} is not offered at {}; use {allowed}",
        parts.method,
        parts.uri.path()
    );
    let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented, text);
    let mut response = turned_down(refusal);
    if let Ok(allowed) = HeaderValue::from_str(&allowed) {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}

/// As text, in one line: API servers pass it on to people.
fn turned_down(refusal: Refusal) -> Response<Body> {
    refusal.plain::<Full<_>>().map(whole)
}

/// A body that is there.
pub(super) fn whole(body: Full<bytes::Bytes>) -> Body {
    body.map_err(|never| match never {}).boxed_unsync()
}
