//! The handle of a journal, and what stands between it and the disk.

use std::{
    num::NonZeroU64,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{
    Disk, Entry, Mark, OpenError, Record, Writer,
    image::Image,
    log::{self, Unusable},
    random_epoch,
};
use crate::connection::told::Told;
use crate::{limits, plugin::outbox::Snapshot};

/// Records facts and tells when they are durable. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::plugin) struct Journal(pub(super) Arc<Shared>);

/// When a fact was recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::plugin) struct Ticket(u64);

/// Why the journal keeps nothing now, for people.
pub(in crate::plugin) type Broken = Arc<str>;

#[derive(Debug)]
pub(super) struct Shared {
    core: Mutex<Core>,
    /// There may be something to write. One waiter.
    pub(super) work: Notify,
    progress: Told<Progress>,
}

#[derive(Debug, Clone, Default)]
struct Progress {
    durable: u64,
    broken: Option<Broken>,
}

#[derive(Debug)]
struct Core {
    image: Image,
    /// Encoded entries that no write has taken yet. Not kept while a snapshot is due.
    batch: Vec<u8>,
    /// The latest ack that no write has taken yet: it goes with the next.
    ack: Option<u64>,
    /// The next write is a snapshot: the log is new, cannot be trusted, or the batch grew too large.
    snapshot_due: bool,
    /// Something waits to become durable.
    urgent: bool,
    recorded: u64,
    next_frame: u64,
    /// Bytes of the log, and of the snapshot in it.
    size: usize,
    snapshot: usize,
    /// The outbox epoch and number up to which events are durable.
    events: (NonZeroU64, u64),
}

/// One write.
pub(super) struct Write {
    pub(super) bytes: Bytes,
    pub(super) whole: bool,
    ticket: u64,
    events: (NonZeroU64, u64),
}

impl Journal {
    /// Reads the log and begins a fresh one with what it says. `jobs_epoch` is the caller's; with 0 the journal has
    /// its own. Nothing is written before the writer runs.
    ///
    /// # Errors
    /// When another process has the log, or it cannot be read or is of another version. A damaged one is no error:
    /// it is set aside.
    pub(in crate::plugin) async fn open(
        mut disk: Box<dyn Disk>,
        jobs_epoch: u64,
    ) -> Result<(Self, Writer), OpenError> {
        let place = disk.place();
        let found = match disk.open().await?.map(|bytes| log::read(&bytes)) {
            None => None,
            Some(Ok(read)) => {
                tracing::info!(journal = %place, cut_off = read.cut_off, "the journal is taken up");
                Some(read.image)
            }
            Some(Err(Unusable::Version(found))) => {
                return Err(OpenError::Version {
                    place,
                    found,
                    known: log::VERSION,
                });
            }
            Some(Err(Unusable::Damaged { what, at })) => {
                let aside = disk.set_aside().await.unwrap_or_else(|error| error.to_string());
                tracing::error!(
                    journal = %place, what, at, aside,
                    "the journal is damaged and was set aside: the hub will ask for every pod again"
                );
                None
            }
        };
        let mut image = found.unwrap_or_else(|| Image::new(random_epoch(), random_epoch().get()));
        if jobs_epoch != 0 {
            image.apply(Entry::JobsEpoch(jobs_epoch));
        }
        let shared = Arc::new(Shared {
            work: Notify::new(),
            progress: Told::default(),
            core: Mutex::new(Core {
                events: image.position(),
                image,
                batch: Vec::new(),
                ack: None,
                snapshot_due: true,
                urgent: true,
                recorded: 0,
                next_frame: 1,
                size: 0,
                snapshot: 0,
            }),
        });
        let writer = Writer::new(Arc::clone(&shared), disk);
        Ok((Self(shared), writer))
    }

    /// Takes in a fact; it is on its way to the disk. Never waits.
    pub(in crate::plugin) fn record(&self, entry: Entry) -> Ticket {
        self.record_all([entry])
    }

    /// Takes in facts that become durable together or not at all.
    pub(in crate::plugin) fn record_all(&self, entries: impl IntoIterator<Item = Entry>) -> Ticket {
        let mut core = self.0.lock();
        for entry in entries {
            core.take_in(entry);
        }
        core.recorded += 1;
        core.urgent = true;
        let ticket = Ticket(core.recorded);
        drop(core);
        self.0.work.notify_one();
        ticket
    }

    /// Takes in an ack. It goes with the next write: a lost one only lets events be sent again.
    pub(in crate::plugin) fn record_ack(&self, seq: u64) {
        let mut core = self.0.lock();
        core.image.apply(Entry::Ack(seq));
        core.ack = Some(seq);
    }

    /// The ticket of all that was recorded so far.
    pub(in crate::plugin) fn recorded(&self) -> Ticket {
        Ticket(self.0.lock().recorded)
    }

    /// Waits until it is durable. Cancel safe.
    ///
    /// # Errors
    /// When the journal cannot be written now. What was recorded is kept in memory and written when it can be.
    pub(in crate::plugin) async fn durable(&self, ticket: Ticket) -> Result<(), Broken> {
        let settled = |progress: &Progress| progress.durable >= ticket.0 || progress.broken.is_some();
        let progress = self.0.progress.wait_for(settled).await;
        match &progress.broken {
            Some(broken) if progress.durable < ticket.0 => Err(Arc::clone(broken)),
            _ => Ok(()),
        }
    }

    /// Writes what waits for company too.
    pub(in crate::plugin) async fn flush(&self) -> Result<(), Broken> {
        let ticket = self.record_all([]);
        self.durable(ticket).await
    }

    /// Why it keeps nothing now; none when all is well.
    pub(in crate::plugin) fn broken(&self) -> Option<Broken> {
        self.0.progress.now().broken
    }

    /// The highest durable number of this outbox epoch.
    pub(in crate::plugin) fn durable_seq(&self, epoch: u64) -> u64 {
        let (durable, seq) = self.0.lock().events;
        if durable.get() == epoch { seq } else { 0 }
    }

    /// What was told last of a pod.
    pub(in crate::plugin) fn told(&self, uid: &str) -> Option<Mark> {
        self.0.lock().image.told(uid)
    }

    pub(in crate::plugin) fn outbox(&self) -> Snapshot {
        self.0.lock().image.outbox()
    }

    pub(in crate::plugin) fn jobs_epoch(&self) -> u64 {
        self.0.lock().image.jobs_epoch()
    }

    /// The records of pods, oldest first.
    pub(in crate::plugin) fn pods(&self) -> Vec<(String, Record)> {
        self.0.lock().image.pods().cloned().collect()
    }
}

impl Shared {
    /// What to write next; none when nothing waits.
    pub(super) fn cut(&self) -> Option<Write> {
        self.lock().cut()
    }

    pub(super) fn committed(&self, write: &Write) {
        let mut core = self.lock();
        core.events = write.events;
        if write.whole {
            (core.size, core.snapshot) = (0, write.bytes.len());
        }
        core.size += write.bytes.len();
        drop(core);
        self.progress.change(|progress| {
            progress.durable = write.ticket;
            progress.broken = None;
        });
    }

    /// A write has failed: what it held is in the image, and so in the snapshot that comes next.
    pub(super) fn failed(&self, why: Broken) {
        let mut core = self.lock();
        core.snapshot_due = true;
        core.urgent = true;
        core.batch = Vec::new();
        drop(core);
        self.stalled(why);
    }

    /// The present write takes too long.
    pub(super) fn stalled(&self, why: Broken) {
        self.progress.change(|progress| progress.broken = Some(why));
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        // Whole after every statement that can panic.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    fn take_in(&mut self, entry: Entry) {
        if !self.snapshot_due {
            // In the order of the image: the ack came before.
            if let Some(seq) = self.ack.take() {
                Entry::Ack(seq).encode(&mut self.batch);
            }
            entry.encode(&mut self.batch);
            if self.batch.len() > limits::JOURNAL_BATCH {
                self.snapshot_due = true;
                self.batch = Vec::new();
            }
        }
        self.image.apply(entry);
    }

    fn cut(&mut self) -> Option<Write> {
        if !self.urgent {
            return None;
        }
        let grown = self.size.saturating_sub(self.snapshot);
        let whole = self.snapshot_due || grown > limits::JOURNAL_GROWTH.max(self.snapshot);
        let bytes = if whole {
            self.next_frame = 1;
            self.batch = Vec::new();
            log::begin(&self.image, self.next_frame)
        } else {
            if let Some(seq) = self.ack {
                Entry::Ack(seq).encode(&mut self.batch);
            }
            let mut frame = Vec::new();
            log::frame(&mut frame, self.next_frame, &self.batch);
            self.batch.clear();
            frame
        };
        self.next_frame += 1;
        self.ack = None;
        self.snapshot_due = false;
        self.urgent = false;
        Some(Write {
            bytes: bytes.into(),
            whole,
            ticket: self.recorded,
            events: self.image.position(),
        })
    }
}

#[cfg(test)]
#[path = "keep_tests.rs"]
mod tests;
