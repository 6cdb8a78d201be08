//! Logs: raw bytes as they come.

use std::{io, time::SystemTime};

use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    Response,
    body::Frame,
    header::{self, HeaderValue},
};

use super::{Body, Sidecar, calls::object};
use crate::{
    interlink::LogStruct,
    plugin::{Handler, LocalLog, LogRequest},
    server::{Closing, Refusal, marked},
};

impl<H: Handler> Sidecar<H> {
    /// The log of one container. 200 comes with its first chunk, possibly empty; a log that cannot be finished is aborted
    /// without the last chunk, so that the caller does not take it for complete.
    pub(super) async fn logs(&self, sent: &Bytes, closing: Closing) -> Result<Response<Body>, Refusal> {
        let asked: LogStruct = object(sent, "a log request")?;
        let options = asked
            .to_options(SystemTime::now().into())
            .map_err(|bad| Refusal::invalid(bad.to_string()))?;
        let request = LogRequest {
            pod: asked.pod_ref(),
            container: asked.container_name,
            options,
            start: None,
        };
        let log = self.local.logs(request).await?;
        let mut response = Response::new(raw(log, closing));
        let headers = response.headers_mut();
        for (name, value) in [
            (header::CONTENT_TYPE, "application/octet-stream"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::CACHE_CONTROL, "no-cache"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        Ok(response)
    }
}

/// The chunks as a body. Dropping it ends the log at the handler.
fn raw(log: LocalLog, closing: Closing) -> Body {
    let pieces = stream::try_unfold(
        (log, closing, true),
        |(mut log, closing, mut line_start)| async move {
            loop {
                let chunk = tokio::select! {
                    biased;
                    () = closing.0.cancelled() => return Err(io::Error::other("the plugin is stopping")),
                    chunk = log.next() => chunk,
                };
                match chunk {
                    Ok(chunk) => {
                        let bytes = marked(chunk.data, chunk.gap_bytes, &mut line_start);
                        // An empty one would say nothing on the wire.
                        if !bytes.is_empty() {
                            return Ok(Some((Frame::data(bytes), (log, closing, line_start))));
                        }
                    }
                    Err(Ok(_)) => return Ok(None),
                    Err(Err(status)) => {
                        tracing::debug!(code = status.kind().name(), reason = status.reason, "log aborted");
                        // hyper drops what it has not flushed when a body fails: let the bytes before leave.
                        tokio::task::yield_now().await;
                        return Err(io::Error::other(status));
                    }
                }
            }
        },
    );
    StreamBody::new(pieces).boxed_unsync()
}
