//! What waits to be written, and the task that writes it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{Meter, compact, disk::Disk, key::Key};
use crate::{connection::told::Told, limits};

/// Between tries after a failed write.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(15);

/// Why nothing is written any more.
const ENDED: &str = "the thread that writes it has ended; restart the hub";

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
    meter: Meter,
}

#[derive(Debug, Default)]
struct Waiting {
    batch: Batch,
    /// What is being written now.
    writing: Arc<Batch>,
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
    pub(super) fn new(meter: Meter) -> Arc<Self> {
        Arc::new(Self {
            waiting: Mutex::default(),
            added: Notify::new(),
            progress: Told::default(),
            meter,
        })
    }

    pub(super) fn put(&self, key: Key, value: Option<Vec<u8>>) {
        let mut waiting = self.lock();
        waiting.batch.insert(key, value);
        waiting.puts += 1;
        self.meter.queued(waiting.batch.len());
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

    /// Whether this row is not on the disk yet as it was put last.
    pub(super) fn holds(&self, key: &Key) -> bool {
        let waiting = self.lock();
        waiting.batch.contains_key(key) || waiting.writing.contains_key(key)
    }

    fn take(&self) -> (Arc<Batch>, u64) {
        let mut waiting = self.lock();
        self.meter.queued(0);
        waiting.writing = Arc::new(std::mem::take(&mut waiting.batch));
        (waiting.writing.clone(), waiting.puts)
    }

    /// What was taken is on the disk.
    fn written(&self) {
        self.lock().writing = Arc::default();
    }

    /// What was taken could not be written: it waits again, unless something newer does.
    fn give_back(&self) {
        let mut waiting = self.lock();
        for (key, value) in Arc::unwrap_or_clone(std::mem::take(&mut waiting.writing)) {
            waiting.batch.entry(key).or_insert(value);
        }
        self.meter.queued(waiting.batch.len());
    }

    fn fail(&self, tried: u64, why: String) {
        self.progress
            .change(|progress| progress.failed = Some((tried, why)));
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Whole after every statement.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what is put until `end`, then what is left, once.
pub(super) async fn write(queue: Arc<Queue>, mut disk: Disk, end: CancellationToken) {
    let mut delay = RETRY_MIN;
    let mut look_at = Instant::now();
    loop {
        let (batch, puts) = queue.take();
        if batch.is_empty() {
            if end.is_cancelled() {
                return;
            }
            let large = disk.is_large();
            tokio::select! {
                biased;
                () = queue.added.notified() => {}
                () = end.cancelled() => {}
                // Nobody waits for a write now.
                () = sleep_until(look_at), if large => {
                    look_at = Instant::now() + compact::LOOK;
                    let (returned, ()) = on_disk(disk, Disk::compact).await;
                    let Some(returned) = returned else {
                        queue.fail(u64::MAX, ENDED.to_owned());
                        return;
                    };
                    disk = returned;
                }
            }
            continue;
        }
        let began = Instant::now();
        let (returned, done) = on_disk(disk, move |disk| Some(disk.commit(&batch))).await;
        let (Some(returned), Some(outcome)) = (returned, done) else {
            queue.fail(u64::MAX, ENDED.to_owned());
            return;
        };
        queue.meter.committed(began.elapsed(), outcome.is_ok());
        disk = returned;
        match outcome {
            Ok(()) => {
                delay = RETRY_MIN;
                queue.written();
                queue.progress.change(|progress| {
                    progress.committed = puts;
                    progress.failed = None;
                });
            }
            Err(why) => {
                queue.give_back();
                tracing::error!(%why, "the hub's state cannot be written; trying again");
                queue.fail(puts, why);
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

/// Files are worked on by a thread that may block; memory is here, so that a simulation stays on one thread. The disk is
/// lost when that thread is.
async fn on_disk<R: Default + Send + 'static>(
    mut disk: Disk,
    work: impl FnOnce(&mut Disk) -> R + Send + 'static,
) -> (Option<Disk>, R) {
    if !disk.blocks() {
        let result = work(&mut disk);
        return (Some(disk), result);
    }
    let work = tokio::task::spawn_blocking(move || {
        let result = work(&mut disk);
        (Some(disk), result)
    });
    work.await.unwrap_or_default()
}
