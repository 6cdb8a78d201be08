//! `/plugins/{name}/http/...`: a plugin's own endpoints, by any method, both bodies as they come.
//!
//! What is between the two machines is not trusted on either side: neither side's connection fields travel, the caller's
//! credentials stay here unless told otherwise, and a plugin's page is no page of this hub.

mod head;

use std::{
    io,
    sync::{Arc, OnceLock},
};

use axum::{
    Extension, Router,
    body::{Body, HttpBody},
    extract::{Request, State},
    http::StatusCode,
    response::Response,
    routing::any,
};
use futures::{StreamExt, stream};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use self::head::{asked, has_body, told};
use super::{
    Edge,
    answer::{Plain, Refusal},
    logs::Closing,
};
use crate::{
    code::{Code, reason},
    hub::{CallMeta, Exchange, Upload},
    limits,
    wire::Status,
};

pub(super) fn routes() -> Router<Edge> {
    Router::new()
        .route("/plugins/{name}/http", any(pass))
        .route("/plugins/{name}/http/", any(pass))
        .route("/plugins/{name}/http/{*path}", any(pass))
}

/// A plugin's own endpoint, by ANY method. Status, fields and body are the plugin's, and `Via` then says `towline`;
/// redirects are passed on, never followed. An answer that cannot be finished is aborted without the last chunk.
#[utoipa::path(
    get, path = "/plugins/{name}/http/{path}", tag = "api",
    params(
        ("name" = String, Path, description = "Plugin name."),
        ("path" = String, Path, description = "What the plugin is asked for, with its query."),
    ),
    responses(
        (status = 200, description = "What the plugin answers, with any status. The hub's own refusals, one line of text \
            each, follow."),
        (status = 400, description = "The plugin does not take this path or head."),
        (status = 403, description = "One of interLink's own calls: the hub makes those."),
        (status = 404, description = "No plugin of this name."),
        (status = 413, description = "Body too large."),
        (status = 429, description = "As many such requests are under way as may be."),
        (status = 431, description = "Head too large."),
        (status = 501, description = "The plugin has no endpoints, or this hub passes none on."),
        (status = 502, description = "The plugin failed."),
        (status = 503, description = "The plugin, or what is behind it, is away."),
        (status = 504, description = "No answer in time."),
    )
)]
pub(super) async fn pass(
    State(edge): State<Edge>,
    Extension(meta): Extension<CallMeta>,
    closing: Option<Extension<Closing>>,
    request: Request,
) -> Result<Response, Plain> {
    let (parts, body) = request.into_parts();
    let closing = closing.map(|Extension(closing)| closing).unwrap_or_default();
    let most = edge.config.passthrough_max_body;
    if body.size_hint().lower() > most {
        edge.hub.count_refused("body_too_large");
        return Err(too_large(most).into());
    }
    let (plugin, head) = asked(&parts, !body.is_end_stream(), edge.config.forward_authorization)?;
    let plugin = plugin.to_owned();
    let (upload, mut exchange) = edge.hub.exchange(&plugin, head, &meta)?;
    let refused = Arc::new(OnceLock::new());
    let sending = send(upload, body, most, Arc::clone(&refused));
    let sending = AbortOnDropHandle::new(tokio::spawn(sending));
    let answered = tokio::select! {
        biased;
        head = exchange.head() => head,
        () = closing.0.cancelled() => Err(Closing::status()),
    };
    let head = answered.map_err(|status| refused.get().cloned().unwrap_or_else(|| unanswered(status)))?;
    tracing::debug!(plugin, status = head.status, "a plugin's endpoint answers");
    let (status, headers) = told(head, &parts.method, edge.config.forward_authorization)?;
    let mut response = if has_body(&parts.method, status) {
        Response::new(streamed(exchange, sending, closing))
    } else {
        Response::new(Body::empty())
    };
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// No answer came. What was sent over a link that is gone may have been done: 503 would invite to repeat it.
fn unanswered(status: Status) -> Refusal {
    let lost = status.reason == reason::SESSION_LOST && !status.not_started;
    let mut refusal = Refusal::from(status);
    if lost {
        refusal.http = StatusCode::BAD_GATEWAY;
    }
    refusal
}

/// Sends the caller's body on. What ends it early is kept as the answer to the caller; a body that is given up cancels
/// the call.
async fn send(mut upload: Upload, body: Body, most: u64, refused: Arc<OnceLock<Refusal>>) {
    let mut pieces = body.into_data_stream();
    let mut sent = 0;
    let refusal = loop {
        let bytes = match timeout(limits::HTTP_BODY_TIMEOUT, pieces.next()).await {
            Ok(None) => {
                // One that wants no more says so in its answer.
                let _ = upload.finish().await;
                return;
            }
            Ok(Some(Ok(bytes))) => bytes,
            Ok(Some(Err(_))) => break Refusal::invalid("the body ended early or is broken"),
            Err(_) => {
                let seconds = limits::HTTP_BODY_TIMEOUT.as_secs();
                let message = format!("no byte of the body came for {seconds} s");
                break Refusal::new(StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded, message);
            }
        };
        sent += bytes.len() as u64;
        if sent > most {
            break too_large(most);
        }
        if upload.send(bytes).await.is_err() {
            return;
        }
    };
    // Said before the upload is dropped, which ends the call.
    let _ = refused.set(refusal);
}

fn too_large(most: u64) -> Refusal {
    let message = format!("body is over the limit of {most} bytes (hub.passthrough_max_body)");
    Status::new(Code::ResourceExhausted, reason::MESSAGE_TOO_LARGE, message).into()
}

/// The body of the answer. Dropped, it ends the call and the upload.
fn streamed(exchange: Exchange, sending: AbortOnDropHandle<()>, closing: Closing) -> Body {
    let state = (exchange, sending, closing);
    Body::from_stream(stream::try_unfold(state, |mut state| async move {
        let (exchange, _, closing) = &mut state;
        let next = tokio::select! {
            biased;
            () = closing.0.cancelled() => Err(Closing::status()),
            next = exchange.next() => next,
        };
        match next {
            Ok(Some(bytes)) => Ok(Some((bytes, state))),
            Ok(None) => Ok(None),
            Err(status) => {
                tracing::debug!(
                    code = status.kind().name(),
                    reason = status.reason,
                    "answer aborted"
                );
                // hyper drops what it has not flushed when a body fails: let the bytes before leave.
                tokio::task::yield_now().await;
                Err(io::Error::other(status))
            }
        }
    }))
}
