//! Plugins over gRPC, on a listener of their own: the call is refused here, with a status that says why, or becomes a link.

use std::{future::Future, pin::pin, sync::Arc};

use hyper::{
    Method, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{HttpConfig, guard};
use crate::{
    code::Code,
    hub::{Hub, Identity, Way},
    limits,
    server::{self, Refusal},
    transport::{
        Io, Listener,
        grpc::{Call, Calls, PATH},
    },
    wire::Subprotocol,
};

/// Takes links over gRPC on `listener`, at most `max_connections` at once, until `shutdown` is done. Then no connection and
/// no call is taken; the links that are there are the hub's business (see [`Hub::drain`]), and what is left after a few
/// seconds is dropped.
pub async fn serve_grpc(
    listener: Listener,
    hub: Arc<Hub>,
    config: HttpConfig,
    max_connections: usize,
    shutdown: impl Future<Output = ()> + Send,
) {
    let edge = Arc::new(GrpcEdge { hub, config });
    let connected = |io, remote, closing| connection(edge.clone(), io, remote, closing);
    let full = |io| {
        tracing::warn!(max_connections, "too many gRPC connections");
        edge.hub.count_refused("connections");
        Calls::turn_away(io)
    };
    let left = server::accept(listener, max_connections, shutdown, connected, full).await;
    if left > 0 {
        tracing::info!(left, "gRPC connections were dropped at shutdown");
    }
}

/// What the calls of a listener share.
struct GrpcEdge {
    hub: Arc<Hub>,
    config: HttpConfig,
}

/// Serves one connection to its end.
async fn connection(edge: Arc<GrpcEdge>, io: Io, remote: Arc<str>, closing: CancellationToken) {
    let mut calls = match timeout(limits::HTTP_HEAD_TIMEOUT, Calls::accept(io)).await {
        Ok(Ok(calls)) => calls,
        Ok(Err(error)) => {
            return tracing::debug!(%remote, error = &error as &dyn std::error::Error, "no gRPC");
        }
        Err(_) => return tracing::debug!(%remote, "no begin of HTTP/2 in time"),
    };
    let mut links = JoinSet::new();
    let mut idle = pin!(sleep(limits::GRPC_IDLE));
    let mut leaving = false;
    loop {
        tokio::select! {
            biased;
            () = closing.cancelled(), if !leaving => {
                leaving = true;
                calls.go_away();
            }
            Some(_) = links.join_next() => {
                if links.is_empty() {
                    idle.as_mut().reset(Instant::now() + limits::GRPC_IDLE);
                }
            }
            // The bytes of all links move in here.
            call = calls.next() => match call {
                Some(Ok(call)) => {
                    links.spawn(answer(edge.clone(), call, remote.clone()));
                }
                Some(Err(error)) => {
                    tracing::debug!(%remote, error = &error as &dyn std::error::Error, "gRPC connection ended");
                    break;
                }
                None => break,
            },
            () = &mut idle, if links.is_empty() => {
                // Told once, and not waited for much longer.
                if std::mem::replace(&mut leaving, true) {
                    break;
                }
                calls.go_away();
                idle.as_mut().reset(Instant::now() + limits::HTTP_LINGER);
            }
        }
    }
    drop(calls);
    while links.join_next().await.is_some() {}
}

/// Runs the call as a link to its end, or refuses it.
async fn answer(edge: Arc<GrpcEdge>, call: Call, remote: Arc<str>) {
    if let Err((why, refused)) = check(&edge, &call) {
        edge.hub.count_refused(why);
        tracing::debug!(%remote, why, "gRPC call refused");
        return match refused {
            Refused::Call(code, text) => call.refuse(code, &text),
            Refused::Request(status, text) => call.refuse_http(status, text),
        };
    }
    let link = match call.link(limits::MAX_MESSAGE) {
        Ok(link) => link,
        Err(error) => {
            return tracing::debug!(%remote, error = &error as &dyn std::error::Error, "gRPC call ended early");
        }
    };
    let identity = Identity {
        plugin: None,
        remote: remote.to_string(),
        way: Way::Link,
    };
    let span = tracing::info_span!("link", %remote, over = "grpc");
    let hub = edge.hub.clone();
    // The connection keeps no listener's settings alive, and the link no edge.
    drop(edge);
    hub.serve_link_as(link, identity, Subprotocol::Proto)
        .instrument(span)
        .await;
}

/// How a call is turned down.
enum Refused {
    /// It is one of gRPC.
    Call(Code, String),
    /// It is none.
    Request(StatusCode, &'static str),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::Call(refusal.status.kind(), refusal.text())
    }
}

fn check(edge: &GrpcEdge, call: &Call) -> Result<(), (&'static str, Refused)> {
    let headers = call.headers();
    let kind = headers
        .get(CONTENT_TYPE)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    let Some(form) = kind.strip_prefix(b"application/grpc") else {
        let text = "this port speaks gRPC alone: towline.v1.LinkService/Connect, for plugins";
        return Err((
            "not_grpc",
            Refused::Request(StatusCode::UNSUPPORTED_MEDIA_TYPE, text),
        ));
    };
    if !matches!(form, b"" | b"+proto") && !form.starts_with(b";") {
        let text = "only packets in protobuf (application/grpc or application/grpc+proto) travel over gRPC; the JSON path \
            needs a WebSocket at /ws";
        return Err((
            "not_grpc",
            Refused::Request(StatusCode::UNSUPPORTED_MEDIA_TYPE, text),
        ));
    }
    if call.method() != Method::POST {
        let text = "a call of gRPC is sent with POST";
        return Err(("not_grpc", Refused::Request(StatusCode::METHOD_NOT_ALLOWED, text)));
    }
    let (config, uri) = (&edge.config, call.uri());
    guard::check_config(config, uri, headers).map_err(|(why, refusal)| (why, refusal.into()))?;
    if let Some(token) = &config.token {
        guard::check_token(token, headers).map_err(|(why, refusal)| (why, refusal.into()))?;
    }
    if uri.path() != PATH {
        let text = format!("the only call here is {PATH}");
        return Err(("path", Refused::Call(Code::Unimplemented, text)));
    }
    match headers.get("grpc-encoding") {
        Some(encoding) if encoding != "identity" => {
            let text = "only grpc-encoding identity is spoken here; the link has a compression of its own (feature zstd)";
            Err(("encoding", Refused::Call(Code::Unimplemented, text.to_owned())))
        }
        _ => Ok(()),
    }
}
