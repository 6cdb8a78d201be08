//! A [`LogViewer`] as a response body: raw bytes, or lines with positions.

use std::io;

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use futures::stream;
use serde_json::json;

use super::{
    answer::ErrorBody,
    lines::{self, line},
};
pub(super) use crate::server::Closing;
use crate::{
    code::{Code, reason},
    hub::{LogPiece, LogViewer},
    server::marked,
    wire::{LogPosition, LogsEnd, Status},
};

impl Closing {
    /// Why a stream ends at shutdown.
    pub(super) fn status() -> Status {
        Status::new(Code::Unavailable, reason::DRAINING, "the hub is shutting down")
    }
}

/// An open log with the piece that was read ahead for its position.
pub(super) struct Reading {
    viewer: LogViewer,
    first: Option<LogPiece>,
    closing: Closing,
}

impl Reading {
    /// Takes the first piece, which is there already: it was the open acknowledgement. A log that fails before
    /// it can still be answered as an error.
    pub(super) async fn start(mut viewer: LogViewer, closing: Closing) -> Result<Self, Status> {
        let first = viewer.next().await.transpose()?;
        Ok(Self {
            viewer,
            first,
            closing,
        })
    }

    /// Where the log starts, if anything is known of it.
    pub(super) fn position(&self) -> Option<LogPosition> {
        match &self.first {
            Some(piece) => Some(piece.at),
            None => self.viewer.end().and_then(|end| end.next),
        }
    }

    async fn next(&mut self) -> Option<Result<LogPiece, Status>> {
        if let Some(first) = self.first.take() {
            return Some(Ok(first));
        }
        tokio::select! {
            biased;
            () = self.closing.0.cancelled() => Some(Err(Closing::status())),
            piece = self.viewer.next() => piece,
        }
    }

    /// The bytes as they are; where some are missing a line says so. A log that cannot be finished is aborted without
    /// the last chunk, so that the client does not take it for complete. Dropping the body cancels the stream at the
    /// plugin.
    pub(super) fn raw(self) -> Response {
        let pieces = stream::try_unfold((self, true), |(mut reading, mut line_start)| async move {
            loop {
                match reading.next().await {
                    Some(Ok(piece)) => {
                        let bytes = marked(piece.data, piece.gap_bytes, &mut line_start);
                        // An empty chunk would say nothing on the wire.
                        if !bytes.is_empty() {
                            return Ok(Some((bytes, (reading, line_start))));
                        }
                    }
                    Some(Err(status)) => {
                        tracing::debug!(code = status.kind().name(), reason = status.reason, "log aborted");
                        // hyper drops what it has not flushed when a body fails: let the bytes before leave.
                        tokio::task::yield_now().await;
                        return Err(io::Error::other(status));
                    }
                    None => return Ok(None),
                }
            }
        });
        typed(Body::from_stream(pieces), "application/octet-stream")
    }

    /// One JSON object a line: pieces with their positions, then how it ended.
    pub(super) fn lines(self) -> Response {
        lines::response(stream::unfold(Some(self), |reading| async move {
            let mut reading = reading?;
            let next = reading.next().await;
            Some(match next {
                Some(Ok(piece)) => (piece_line(&piece), Some(reading)),
                Some(Err(status)) => (line(&ErrorBody::of(&status)), None),
                None => (end_line(reading.viewer.end()), None),
            })
        }))
    }
}

/// A body of this type that no browser reads as something else and no proxy holds back.
pub(super) fn typed(body: Body, content_type: &'static str) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn piece_line(piece: &LogPiece) -> Bytes {
    line(&json!({
        "epoch": piece.at.epoch,
        "offset": piece.at.offset,
        "next_offset": piece.next_offset,
        "gap_bytes": piece.gap_bytes,
        "data_b64": BASE64.encode(&piece.data),
    }))
}

fn end_line(end: Option<LogsEnd>) -> Bytes {
    let end = end.unwrap_or_default();
    let next = end.next.unwrap_or_default();
    line(&json!({"end": {"epoch": next.epoch, "offset": next.offset, "eof": end.eof, "reset": end.reset}}))
}
