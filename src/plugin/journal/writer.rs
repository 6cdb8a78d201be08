//! The one who writes: a batch at a time, and after a failure a fresh log.

use std::{io, sync::Arc, time::Duration};

use super::{Disk, keep::Shared};
use crate::limits;

/// Writes what a journal records, while it is run.
pub(in crate::plugin) struct Writer {
    shared: Arc<Shared>,
    disk: Box<dyn Disk>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, disk: Box<dyn Disk>) -> Self {
        Self { shared, disk }
    }

    /// Writes for ever; calls `changed` when more is durable, or the journal has broken or works again.
    ///
    /// # Cancel safety
    /// Dropping it is like a crash.
    pub(in crate::plugin) async fn run(mut self, changed: impl Fn()) {
        let place = self.disk.place();
        let mut delay = limits::JOURNAL_RETRY_MIN;
        let mut failing = false;
        loop {
            let Some(write) = self.shared.cut() else {
                self.shared.work.notified().await;
                continue;
            };
            let bytes = write.bytes.clone();
            let mut done = if write.whole {
                self.disk.replace(bytes)
            } else {
                self.disk.append(bytes)
            };
            let result = match tokio::time::timeout(limits::JOURNAL_STALL, &mut done).await {
                Ok(result) => result,
                Err(_) => {
                    tracing::error!(journal = %place, "the journal has not been written for a while: no pod is taken");
                    failing = true;
                    self.shared.stalled(stalled(&place).into());
                    changed();
                    done.await
                }
            };
            match result {
                Ok(()) => {
                    if failing {
                        tracing::info!(journal = %place, "the journal can be written again");
                    }
                    (failing, delay) = (false, limits::JOURNAL_RETRY_MIN);
                    self.shared.committed(&write);
                    changed();
                }
                Err(error) => {
                    tracing::error!(journal = %place, %error, try_again_in = ?delay, "the journal cannot be written: no pod is taken");
                    failing = true;
                    self.shared.failed(failed(&place, &error).into());
                    changed();
                    tokio::time::sleep(delay).await;
                    delay = next(delay);
                }
            }
        }
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

fn next(delay: Duration) -> Duration {
    (delay * 2).min(limits::JOURNAL_RETRY_MAX)
}

fn failed(place: &str, error: &io::Error) -> String {
    format!("the plugin's state cannot be written to {place}: {error}")
}

fn stalled(place: &str) -> String {
    format!(
        "the plugin's state cannot be written to {place}: no answer from the disk for {:?}",
        limits::JOURNAL_STALL
    )
}
