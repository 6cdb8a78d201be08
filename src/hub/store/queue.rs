//! What waits to be written, and the task that writes it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{disk::Disk, key::Key};
use crate::{connection::told::Told, limits};

/// Between tries after a failed write.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(15);

/// Rows by key: what to write, or none for a row that goes.
pub(super) type Batch = BTreeMap<Key, Option<Vec<u8>>>;

/// The state directory could not keep something.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the hub's state directory cannot be written: {0}")]
pub(crate) struct Unkept(pub(crate) String);

/// Rows on their way to the disk: at most one a key, so as many as the hub's own tables hold.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    added: Notify,
    progress: Told<Progress>,
}

#[derive(Debug, Default)]
struct Waiting {
    batch: Batch,
    /// How many puts there were.
    puts: u64,
}

#[derive(Debug, Clone, Default)]
struct Progress {
    /// This many puts are on the disk.
    committed: u64,
    /// This many were tried and could not be written, and why.
    failed: Option<(u64, String)>,
}

impl Queue {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            waiting: Mutex::default(),
            added: Notify::new(),
            progress: Told::default(),
        })
    }

    pub(super) fn put(&self, key: Key, value: Option<Vec<u8>>) {
        let mut waiting = self.lock();
        waiting.batch.insert(key, value);
        waiting.puts += 1;
        drop(waiting);
        self.added.notify_one();
    }

    pub(super) async fn committed(&self) -> Result<(), Unkept> {
        let puts = self.lock().puts;
        let done = self.progress.wait_for(|progress| {
            progress.committed >= puts || progress.failed.as_ref().is_some_and(|(tried, _)| *tried >= puts)
        });
        match tokio::time::timeout(limits::STORE_TIMEOUT, done).await {
            Ok(progress) if progress.committed >= puts => Ok(()),
            Ok(progress) => Err(Unkept(progress.failed.map_or_else(String::new, |(_, why)| why))),
            Err(_) => Err(Unkept(format!(
                "a write has taken more than {} s",
                limits::STORE_TIMEOUT.as_secs()
            ))),
        }
    }

    pub(super) fn health(&self) -> Result<(), String> {
        match self.progress.now().failed {
            Some((_, why)) => Err(why),
            None => Ok(()),
        }
    }

    fn take(&self) -> (Batch, u64) {
        let mut waiting = self.lock();
        (std::mem::take(&mut waiting.batch), waiting.puts)
    }

    /// What could not be written waits again, unless something newer does.
    fn give_back(&self, batch: Batch) {
        let mut waiting = self.lock();
        for (key, value) in batch {
            waiting.batch.entry(key).or_insert(value);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Whole after every statement.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what is put until `end`, then what is left, once.
pub(super) async fn write(queue: Arc<Queue>, mut disk: Disk, end: CancellationToken) {
    let mut delay = RETRY_MIN;
    loop {
        let (batch, puts) = queue.take();
        if batch.is_empty() {
            if end.is_cancelled() {
                return;
            }
            tokio::select! {
                biased;
                () = queue.added.notified() => {}
                () = end.cancelled() => {}
            }
            continue;
        }
        let (returned, batch, outcome) = commit(disk, batch).await;
        let Some(returned) = returned else {
            queue
                .progress
                .change(|progress| progress.failed = Some((u64::MAX, text(outcome))));
            return;
        };
        disk = returned;
        match outcome {
            Ok(()) => {
                delay = RETRY_MIN;
                queue.progress.change(|progress| {
                    progress.committed = puts;
                    progress.failed = None;
                });
            }
            Err(why) => {
                queue.give_back(batch);
                tracing::error!(%why, "the hub's state cannot be written; trying again");
                queue
                    .progress
                    .change(|progress| progress.failed = Some((puts, why)));
                if end.is_cancelled() {
                    return;
                }
                tokio::select! {
                    biased;
                    () = tokio::time::sleep(delay) => {}
                    () = end.cancelled() => {}
                }
                delay = (delay * 2).min(RETRY_MAX);
            }
        }
    }
}

fn text(outcome: Result<(), String>) -> String {
    outcome.err().unwrap_or_default()
}

/// One transaction. Files are written on a thread that may block; memory is written here, so that a simulation stays
/// on one thread.
async fn commit(mut disk: Disk, batch: Batch) -> (Option<Disk>, Batch, Result<(), String>) {
    if !disk.blocks() {
        let outcome = disk.commit(&batch);
        return (Some(disk), batch, outcome);
    }
    let work = tokio::task::spawn_blocking(move || {
        let outcome = disk.commit(&batch);
        (Some(disk), batch, outcome)
    });
    match work.await {
        Ok(done) => done,
        Err(error) => (None, Batch::new(), Err(format!("the write was ended: {error}"))),
    }
}
