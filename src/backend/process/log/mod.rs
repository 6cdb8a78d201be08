//! logs
use std::path::Path;

use crate::{
    plugin::{LogRequest, LogSink},
    wire::{LogsEnd, Status},
};

/// Sends a container's log. `container_dir` holds a directory per run; `live` tells whether the container, not
/// started yet, may still be started.
///
/// # Errors
/// NO_LOG, LOG_GONE.
pub async fn stream(container_dir: &Path, request: &LogRequest, live: impl Fn() -> bool + Send + Sync, sink: LogSink) -> Result<LogsEnd, Status> {
    let _ = (container_dir, request, live, sink);
    todo!()
}
