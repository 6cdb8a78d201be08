//! A disk in memory, with the faults of real ones: for tests and simulations. It starts no thread and reads no
//! clock, so under a paused clock the same steps give the same result.

use std::{
    future, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use tokio::sync::watch;

use super::{Disk, OpenError};

/// What outlives a process. Clones are the same medium.
#[derive(Debug, Clone, Default)]
pub struct Medium(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    /// Changes when a write may go on, or the process has crashed.
    turn: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// The process that has it; all others are gone.
    process: u64,
    log: Option<Vec<u8>>,
    /// What a failed write may have left behind the log.
    limbo: Vec<u8>,
    aside: Option<Vec<u8>>,
    /// Bytes that all of it may take.
    room: Option<usize>,
    /// Writes that fail from here on.
    failing: u64,
    held: bool,
    writes: u64,
    crash_at: Option<(u64, usize)>,
    crashed: bool,
}

impl Medium {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The disk as a new process sees it. What a former process still writes is lost.
    pub fn disk(&self) -> MemoryDisk {
        let mut state = self.lock();
        state.process += 1;
        state.crashed = false;
        let process = state.process;
        drop(state);
        self.wake();
        MemoryDisk {
            medium: self.clone(),
            process,
        }
    }

    /// Ends the present process. Of what a failed write left, the first `keep` bytes stay.
    pub fn crash(&self, keep: usize) {
        self.lock().crash(keep);
        self.wake();
    }

    /// Lets the process crash inside its write of this number (1 is the first ever made here). Of an append the first
    /// `keep` bytes stay; a replacement happens when all of it is kept.
    pub fn crash_at(&self, write: u64, keep: usize) {
        self.lock().crash_at = Some((write, keep));
    }

    /// Waits until the process has crashed.
    pub async fn crashed(&self) {
        let mut turn = self.0.turn.subscribe();
        while !self.lock().crashed {
            // The sender lives as long as this medium.
            let _ = turn.changed().await;
        }
    }

    /// How many writes were begun.
    pub fn writes(&self) -> u64 {
        self.lock().writes
    }

    /// How many bytes all of it may take; none for any number.
    pub fn set_room(&self, room: Option<usize>) {
        self.lock().room = room;
    }

    /// Lets the next writes fail to sync: their bytes may be there, or not.
    pub fn fail(&self, writes: u64) {
        self.lock().failing = writes;
    }

    /// Writes wait from now on, until [`Medium::release`].
    pub fn hold(&self) {
        self.lock().held = true;
    }

    /// Writes go on.
    pub fn release(&self) {
        self.lock().held = false;
        self.wake();
    }

    /// The log as it is.
    pub fn log(&self) -> Option<Vec<u8>> {
        self.lock().log.clone()
    }

    /// Puts a log there, whatever it holds.
    pub fn set_log(&self, log: Option<Vec<u8>>) {
        self.lock().log = log;
    }

    /// The log that was found damaged.
    pub fn aside(&self) -> Option<Vec<u8>> {
        self.lock().aside.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        self.0.turn.send_modify(|turn| *turn += 1);
    }
}

impl State {
    fn crash(&mut self, keep: usize) {
        let mut kept = std::mem::take(&mut self.limbo);
        kept.truncate(keep);
        if let Some(log) = &mut self.log {
            log.extend(kept);
        }
        self.process += 1;
        self.crashed = true;
        // It was meant for the process that is gone.
        self.crash_at = None;
    }

    /// One write, when its turn has come. None: the process did not see its end.
    fn write(&mut self, bytes: &[u8], whole: bool) -> Option<io::Result<()>> {
        self.writes += 1;
        if let Some((_, keep)) = self.crash_at.take_if(|(write, _)| *write == self.writes) {
            if !whole {
                self.limbo = bytes.to_vec();
            } else if keep >= bytes.len() {
                self.log = Some(bytes.to_vec());
            }
            self.crash(keep);
            return None;
        }
        let used = self.log.as_ref().map_or(0, Vec::len);
        let free = self.room.map_or(usize::MAX, |room| room.saturating_sub(used));
        let failure = if free < bytes.len() {
            Some(io::Error::from(io::ErrorKind::StorageFull))
        } else if self.failing > 0 {
            self.failing -= 1;
            Some(io::Error::other("the sync failed"))
        } else {
            None
        };
        if let Some(error) = failure {
            if !whole {
                self.limbo = bytes[..bytes.len().min(free)].to_vec();
            }
            return Some(Err(error));
        }
        match &mut self.log {
            Some(log) if !whole => log.extend(bytes),
            log => *log = Some(bytes.to_vec()),
        }
        self.limbo.clear();
        Some(Ok(()))
    }
}

/// A [`Disk`] on a [`Medium`].
#[derive(Debug)]
pub struct MemoryDisk {
    medium: Medium,
    process: u64,
}

impl MemoryDisk {
    async fn write(&self, bytes: &[u8], whole: bool) -> io::Result<()> {
        let mut turn = self.medium.0.turn.subscribe();
        loop {
            match self.turn(bytes, whole) {
                Turn::Done(result) => return result,
                // The sender lives as long as this disk.
                Turn::Wait => {
                    let _ = turn.changed().await;
                }
                Turn::Gone => future::pending().await,
            }
        }
    }

    fn turn(&self, bytes: &[u8], whole: bool) -> Turn {
        let mut state = self.medium.lock();
        if state.process != self.process {
            return Turn::Gone;
        }
        if state.held {
            return Turn::Wait;
        }
        let written = state.write(bytes, whole);
        drop(state);
        if let Some(result) = written {
            return Turn::Done(result);
        }
        self.medium.wake();
        Turn::Gone
    }
}

enum Turn {
    Done(io::Result<()>),
    Wait,
    /// Its process is gone and sees nothing more.
    Gone,
}

impl Disk for MemoryDisk {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn open(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, OpenError>> {
        let log = self.medium.log().map(Bytes::from);
        future::ready(Ok(log)).boxed()
    }

    fn append(&mut self, bytes: Bytes) -> BoxFuture<'_, io::Result<()>> {
        async move { self.write(&bytes, false).await }.boxed()
    }

    fn replace(&mut self, bytes: Bytes) -> BoxFuture<'_, io::Result<()>> {
        async move { self.write(&bytes, true).await }.boxed()
    }

    fn set_aside(&mut self) -> BoxFuture<'_, io::Result<String>> {
        let mut state = self.medium.lock();
        state.aside = state.log.take();
        drop(state);
        future::ready(Ok("aside".to_owned())).boxed()
    }
}
