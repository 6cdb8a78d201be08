//! What a journal needs of a disk.

use std::io;

use bytes::Bytes;
use futures::future::BoxFuture;

/// One log of bytes that outlives the process. [`super::FileDisk`] keeps it in a directory, [`super::memory`] in
/// memory with faults.
///
/// One call at a time is made. After an error the log is not appended to again before it was replaced: what a
/// failed sync left behind is not known.
pub trait Disk: Send + Sync + 'static {
    /// Where it is, for people.
    fn place(&self) -> String;

    /// Takes the log for this process alone and reads it; none when there is none yet.
    fn open(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, OpenError>>;

    /// Adds to the end. Durable on return.
    fn append(&mut self, bytes: Bytes) -> BoxFuture<'_, io::Result<()>>;

    /// Puts this in the place of the whole log, as one step: a crash leaves the one or the other. Durable on return.
    fn replace(&mut self, bytes: Bytes) -> BoxFuture<'_, io::Result<()>>;

    /// Keeps a damaged log for people, out of the way; tells where.
    fn set_aside(&mut self) -> BoxFuture<'_, io::Result<String>>;
}

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{place} is used by {}: give each plugin a state directory of its own", holder(*.pid))]
    InUse {
        /// The directory.
        place: String,
        /// The process, when it said so.
        pid: Option<u32>,
    },
    /// Another version of towline wrote it.
    #[error(
        "{place} is a journal of version {found}, and only version {known} is read: use the towline that wrote it, or \
         move it away"
    )]
    Version {
        /// The file.
        place: String,
        /// Its version.
        found: u32,
        /// The version that is read.
        known: u32,
    },
    /// It cannot be read.
    #[error("{place} cannot be used: {source}")]
    Unusable {
        /// The directory or file.
        place: String,
        /// Why.
        source: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
