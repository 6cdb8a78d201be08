//! What the hub keeps over a restart: placements and last states, creates in hand, deletes that wait, plugins.
//!
//! Knows rows and files; must not know connections, calls or how a row came about. Learn [`Store`] (put now, durable
//! when [`Store::committed`] returns) and [`Recovered`] (what an earlier life has left).
//!
//! ```text
//! put -> queue (the latest of each key) -> one transaction, one fsync -> committed
//!                     ^                                 |
//!                     +-------- failed: kept, tried again
//! ```
//!
//! | file | question it answers |
//! |---|---|
//! | `queue` | what waits to be written, and who writes it |
//! | `disk`, `place`, `memory` | the file beneath, or memory that forgets like a disk |
//! | `row`, `key`, `seal` | what a row holds, what it is called, how secrets in it are hidden |
//! | `migrate`, `compact` | how an older file becomes one of this version, and a large one small |
//! | `meter` | what is counted |
//!
//! Everything that is queued when a transaction begins goes into it, so the cost of an fsync is shared by all who wait
//! for it. Without a state directory the store keeps nothing and everything counts as committed.

mod compact;
#[cfg(test)]
mod compact_tests;
mod disk;
mod key;
mod memory;
mod meter;
mod migrate;
mod place;
mod queue;
mod row;
mod seal;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod upgrade_tests;

use std::{path::PathBuf, sync::Arc};

use tokio_util::sync::{CancellationToken, DropGuard};

pub use memory::MemoryFile;
pub(crate) use meter::Meter;
pub(crate) use queue::Unkept;
pub(crate) use row::{CreateRow, DeleteRow, MarkRow, PluginRow, PodRow};

use self::{disk::Disk, key::Key, place::Place, queue::Queue, seal::Seal};

/// Where a hub keeps its state.
#[derive(Debug, Clone, Default)]
pub enum StateDir {
    /// Nowhere: a restart forgets.
    #[default]
    None,
    /// In this directory, which is made when it is missing. `key_file` seals what holds secrets; by default it is the
    /// file `key` in the directory, made when it is missing.
    Path {
        /// The directory.
        dir: PathBuf,
        /// 32 bytes as 64 hexadecimal digits.
        key_file: Option<PathBuf>,
    },
    /// In memory that can lose what was not synced, for tests and simulations.
    Memory(MemoryFile),
}

/// What stops a hub from using its state directory.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("{0} is in use by another hub; give each hub a state directory of its own")]
    InUse(PathBuf),
    /// Written by a version that this one does not know.
    #[error(
        "{file} has version {found}; this towline reads versions 1 to {known}: use the towline that wrote it, or another state directory"
    )]
    Version {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u64,
        /// The latest version that this build reads; it writes no other.
        known: u64,
    },
    /// The key file cannot be used.
    #[error("key file {file}: {problem}")]
    Key {
        /// The file.
        file: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The file system refused.
    #[error("state directory {file}: {source}")]
    Io {
        /// The file or directory.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// What an earlier life has left, by key.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) pods: Vec<PodRow>,
    pub(crate) plugins: Vec<PluginRow>,
    pub(crate) creates: Vec<CreateRow>,
    pub(crate) deletes: Vec<DeleteRow>,
    /// Uids that were deleted, the oldest first.
    pub(crate) tombstones: Vec<String>,
    /// The former file, when it could not be read: everything must come from the plugins again.
    pub(crate) damaged: Option<PathBuf>,
}

/// The store. Every method may be called from any task.
#[derive(Debug)]
pub(crate) struct Store {
    queue: Arc<Queue>,
    seal: Option<Seal>,
    /// Orders tombstones.
    buried: std::sync::atomic::AtomicU64,
    /// Tells the writer to finish.
    _end: Option<DropGuard>,
    #[cfg(test)]
    writer: Option<tokio::task::JoinHandle<()>>,
}

impl Store {
    /// A store that keeps nothing.
    pub(crate) fn none(meter: Meter) -> Self {
        Self {
            queue: Queue::new(meter),
            seal: None,
            buried: 0.into(),
            _end: None,
            #[cfg(test)]
            writer: None,
        }
    }

    /// Opens a store and reads what is in it. A damaged file is moved aside. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(crate) fn open(place: &StateDir, meter: Meter) -> Result<(Self, Recovered), StoreError> {
        let (place, seal) = match place {
            StateDir::None => return Ok((Self::none(meter), Recovered::default())),
            StateDir::Path { dir, key_file } => {
                place::private_dir(dir)?;
                (
                    Place::File(dir.join("hub.redb")),
                    Seal::open(dir, key_file.as_deref())?,
                )
            }
            StateDir::Memory(file) => (Place::Memory(file.clone(), file.life()), Seal::of(file.key())),
        };
        let (disk, rows, damaged) = Disk::open(place, meter.clone())?;
        let (recovered, buried) = row::read_all(rows, &seal, damaged);
        let queue = Queue::new(meter);
        let end = CancellationToken::new();
        let _writer = tokio::spawn(queue::write(queue.clone(), disk, end.clone()));
        let store = Self {
            queue,
            seal: Some(seal),
            buried: buried.into(),
            _end: Some(end.drop_guard()),
            #[cfg(test)]
            writer: Some(_writer),
        };
        Ok((store, recovered))
    }

    /// Whether a restart finds what was put.
    pub(crate) fn is_durable(&self) -> bool {
        self.seal.is_some()
    }

    /// Keeps the latest of a pod.
    pub(crate) fn put_pod(&self, row: &PodRow) {
        self.put(|_| (Key::Pod(row.uid.clone()), Some(row.to_bytes())));
    }

    /// Forgets a pod.
    pub(crate) fn drop_pod(&self, uid: &str) {
        self.put(|_| (Key::Pod(uid.to_owned()), None));
    }

    /// Keeps the latest of a plugin, with its mark.
    pub(crate) fn put_plugin(&self, row: &PluginRow) {
        self.put(|_| (Key::Plugin(row.name.clone()), Some(row.to_bytes())));
        self.put_mark(&row.name, row.mark);
    }

    /// Keeps what was applied of a plugin's outbox.
    pub(crate) fn put_mark(&self, plugin: &str, mark: MarkRow) {
        self.put(|_| (Key::Mark(plugin.to_owned()), Some(mark.to_bytes())));
    }

    /// Forgets a plugin.
    pub(crate) fn drop_plugin(&self, name: &str) {
        self.put(|_| (Key::Plugin(name.to_owned()), None));
        self.put(|_| (Key::Mark(name.to_owned()), None));
    }

    /// Keeps a create until [`Store::drop_create`]; its payload is sealed.
    pub(crate) fn put_create(&self, row: &CreateRow) {
        self.put(|seal| (Key::Create(row.uid.clone()), Some(row.to_bytes(seal))));
    }

    /// Forgets a create: it has ended.
    pub(crate) fn drop_create(&self, uid: &str) {
        self.put(|_| (Key::Create(uid.to_owned()), None));
    }

    /// Keeps a delete until [`Store::drop_delete`]; the pod in it is sealed.
    pub(crate) fn put_delete(&self, row: &DeleteRow) {
        self.put(|seal| (row.key(), Some(row.to_bytes(seal))));
    }

    /// Forgets a delete: it is confirmed.
    pub(crate) fn drop_delete(&self, plugin: &str, uid: &str) {
        self.put(|_| {
            let key = Key::Delete {
                plugin: plugin.to_owned(),
                uid: uid.to_owned(),
            };
            (key, None)
        });
    }

    /// Keeps that this uid was deleted.
    pub(crate) fn bury(&self, uid: &str) {
        let order = self.buried.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.put(|_| (Key::Tombstone(uid.to_owned()), Some(order.to_be_bytes().to_vec())));
    }

    /// Forgets that this uid was deleted.
    pub(crate) fn unbury(&self, uid: &str) {
        self.put(|_| (Key::Tombstone(uid.to_owned()), None));
    }

    /// Whether the last change of this pod is not on the disk yet.
    pub(crate) fn holds_pod(&self, uid: &str) -> bool {
        self.queue.holds(&Key::Pod(uid.to_owned()))
    }

    /// Waits until everything that was put before this call is on the disk. At once without a state directory.
    ///
    /// # Errors
    /// When it could not be written (it stays queued and is tried again), or not in time.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn committed(&self) -> Result<(), Unkept> {
        self.queue.committed().await
    }

    /// Writes what is left and lets the files go.
    ///
    /// # Errors
    /// As [`Store::committed`].
    #[cfg(test)]
    async fn close(self) -> Result<(), Unkept> {
        let written = self.committed().await;
        let Self { _end, writer, .. } = self;
        drop(_end);
        if let Some(writer) = writer {
            let _ = writer.await;
        }
        written
    }

    /// Whether the last write worked.
    ///
    /// # Errors
    /// The text of what went wrong.
    pub(crate) fn health(&self) -> Result<(), String> {
        self.queue.health()
    }

    fn put(&self, row: impl FnOnce(&Seal) -> (Key, Option<Vec<u8>>)) {
        if let Some(seal) = &self.seal {
            let (key, value) = row(seal);
            self.queue.put(key, value);
        }
    }
}
