//! The log of a container: written by its supervisor, read by the plugin.
//!
//! Knows files, offsets and lines; knows nothing of processes beyond whether a run has ended, and nothing of the
//! link. Learn `writer::LogWriter` (never fails, counts what it loses) and `reader::LogReader` (chunks from a
//! position). A run has one log: stdout and stderr as they came, in `<run>/log/` (see `segment`).

mod lines;
pub(crate) mod reader;
pub(crate) mod seek;
pub(crate) mod segment;
pub(crate) mod source;
mod start;
#[cfg(test)]
mod tests;
pub(crate) mod writer;

use std::path::Path;

use crate::{
    plugin::{LogRequest, LogSink},
    wire::{LogsEnd, Status},
};

/// Sends a container's log. `container_dir` holds a directory per run; `live` tells whether a container that has
/// not started may still be started: only then a follower waits for it. A reader that goes away ends it, with the
/// position reached.
///
/// # Errors
/// NO_LOG when there is no previous run, LOG_GONE when the log is removed meanwhile.
pub async fn stream(
    container_dir: &Path,
    request: &LogRequest,
    live: impl Fn() -> bool + Send + Sync,
    mut sink: LogSink,
) -> Result<LogsEnd, Status> {
    let mut reader = reader::LogReader::open(container_dir, request.options, request.start, live).await?;
    loop {
        let next = tokio::select! {
            biased;
            () = sink.cancelled() => return Ok(reader.end()),
            next = reader.next() => next?,
        };
        let Some(chunk) = next else {
            return Ok(reader.end());
        };
        if sink.send(chunk).await.is_err() {
            return Ok(reader.end());
        }
    }
}
