//! The journal of a run: which one, and who writes it.

use std::sync::Arc;

use super::{
    ConfigError, PluginConfig,
    feed::Feed,
    journal::{Disk, FileDisk, Journal, Writer, random_epoch},
};

/// Opens the journal on `disk`, or in the state directory; none without both. Settles the jobs epoch.
pub(super) async fn open(
    disk: Option<Box<dyn Disk>>,
    config: &mut PluginConfig,
) -> Result<Option<(Journal, Writer)>, ConfigError> {
    let disk = match (disk, &config.state_dir) {
        (Some(disk), _) => disk,
        (None, Some(dir)) => Box::new(FileDisk::new(dir)),
        (None, None) => {
            tracing::info!("no state directory: a restart of this plugin forgets its events and jobs");
            if config.jobs_epoch == 0 {
                config.jobs_epoch = random_epoch().get();
            }
            return Ok(None);
        }
    };
    let (journal, writer) = Journal::open(disk, config.jobs_epoch)
        .await
        .map_err(|error| ConfigError::state(&error))?;
    config.jobs_epoch = journal.jobs_epoch();
    Ok(Some((journal, writer)))
}

/// Writes, if there is something to write to; ends never.
pub(super) async fn write(writer: Option<Writer>, feed: Arc<Feed>) {
    if let Some(writer) = writer {
        writer.run(|| feed.wake()).await;
    }
    std::future::pending().await
}
