//! `/api/v1/events`: what is there, then what changes, one JSON object a line.

use std::collections::VecDeque;

use axum::{
    Extension, Json,
    extract::State,
    http::Uri,
    response::{IntoResponse, Response},
};
use futures::stream;
use serde_json::json;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{
    Edge,
    answer::{Api, ErrorBody, Refusal},
    lines::{self, line},
    logs::Closing,
    query::Query,
};
use crate::{
    code::{Code, reason},
    hub::WatchEvent,
    wire::Status,
};

/// What is there as ADDED, then every change. Without `watch`, what is there only.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "api",
    params(
        ("watch" = Option<bool>, Query, description = "Go on with changes, as one JSON object a line; a blank line every \
            20 s of silence shows that the hub is there: take 60 s without one for a lost connection. When the reader is \
            too slow a last line `{\"error\":..}` (LAGGED) says so: start again."),
        ("kind" = Option<String>, Query, description = "Only `pod` or only `plugin`."),
    ),
    responses(
        (status = 200, description = "Events: one WatchEvent a line with `watch`, else a list.",
            content((super::openapi::EventLine = "application/x-ndjson"), (super::openapi::EventList = "application/json"))),
        (status = 400, description = "Unknown query key or value.", body = ErrorBody),
    )
)]
pub(super) async fn events(
    State(edge): State<Edge>,
    closing: Option<Extension<Closing>>,
    uri: Uri,
) -> Result<Response, Api> {
    let query = Query::parse(&uri, &["watch", "kind"])?;
    let kind = match query.text("kind") {
        None => None,
        Some("pod") => Some("pod"),
        Some("plugin") => Some("plugin"),
        Some(_) => return Err(Refusal::invalid("query key kind must be pod or plugin").into()),
    };
    let watch = query.flag("watch")?;
    let (now, changes) = edge.hub.watch();
    let now: VecDeque<_> = now.into_iter().filter(|event| wanted(kind, event)).collect();
    if !watch {
        return Ok(Json(json!({"items": now})).into_response());
    }
    let closing = closing.map(|Extension(closing)| closing).unwrap_or_default();
    let watching = Watching {
        now,
        changes,
        kind,
        closing,
    };
    Ok(lines::response(stream::unfold(
        Some(watching),
        |watching| async move {
            let mut watching = watching?;
            Some(match watching.next().await {
                Ok(event) => (line(&event), Some(watching)),
                Err(status) => (line(&ErrorBody::of(&status)), None),
            })
        },
    )))
}

struct Watching {
    now: VecDeque<WatchEvent>,
    changes: Receiver<WatchEvent>,
    kind: Option<&'static str>,
    closing: Closing,
}

impl Watching {
    async fn next(&mut self) -> Result<WatchEvent, Status> {
        if let Some(event) = self.now.pop_front() {
            return Ok(event);
        }
        loop {
            let change = tokio::select! {
                biased;
                () = self.closing.0.cancelled() => return Err(Closing::status()),
                change = self.changes.recv() => change,
            };
            match change {
                Ok(event) if wanted(self.kind, &event) => return Ok(event),
                Ok(_) => {}
                Err(RecvError::Closed) => return Err(Closing::status()),
                Err(RecvError::Lagged(missed)) => {
                    let message = format!("too slow: {missed} events were missed; start again");
                    return Err(Status::new(Code::ResourceExhausted, reason::LAGGED, message));
                }
            }
        }
    }
}

fn wanted(kind: Option<&str>, event: &WatchEvent) -> bool {
    kind.is_none_or(|kind| kind == event.kind)
}
