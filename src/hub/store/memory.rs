//! A file in memory that forgets what was not synced, for tests and simulations.

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Granularity of what a crash keeps or loses, in bytes: a page cache writes pages back in any order.
const PAGE: usize = 4096;

/// A file that a crash can cut back to what was synced. Clones are the same file.
///
/// ```
/// # use towline::hub::{Hub, HubConfig, MemoryFile, StateDir};
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let file = MemoryFile::default();
/// let config = HubConfig { state_dir: StateDir::Memory(file.clone()), ..HubConfig::default() };
/// let hub = Hub::new(config.clone()).unwrap();
/// drop(hub);
/// file.crash(7); // some of what was not synced is lost
/// let hub = Hub::new(config).unwrap();
/// # });
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemoryFile {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    synced: Vec<u8>,
    /// What reads see.
    present: Vec<u8>,
    /// Pages written since the last sync, and whether the length changed.
    dirty: BTreeSet<usize>,
    fail: Option<String>,
    /// From the how-many-th write or sync on it fails, counted down.
    #[cfg(test)]
    fail_after: Option<u64>,
    syncs: u64,
    /// Bytes of all writes.
    written: u64,
    /// A handle of before a crash must not write any more.
    life: u64,
}

/// A fault that was asked for.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Broken(String);

impl MemoryFile {
    /// The machine dies: of what was not synced, each page is kept or lost as `seed` has it.
    pub fn crash(&self, mut seed: u64) {
        let mut state = self.lock();
        let mut kept = state.synced.clone();
        let dirty: Vec<usize> = std::mem::take(&mut state.dirty).into_iter().collect();
        for page in dirty {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            if seed >> 63 == 0 {
                continue;
            }
            let from = page * PAGE;
            let to = (from + PAGE).min(state.present.len());
            if from < to {
                if kept.len() < to {
                    kept.resize(to, 0);
                }
                kept[from..to].copy_from_slice(&state.present[from..to]);
            }
        }
        state.synced.clone_from(&kept);
        state.present = kept;
        state.life += 1;
    }

    /// The process that has it open ends, the machine does not: nothing is lost, but it writes no more.
    pub fn next_life(&self) {
        self.lock().life += 1;
    }

    /// From now on every write and sync fails with this text; none lets them work again.
    pub fn fail(&self, why: Option<&str>) {
        self.lock().fail = why.map(str::to_owned);
    }

    /// So many more writes and syncs work, and none after them; none: as before.
    #[cfg(test)]
    pub(super) fn fail_after(&self, steps: Option<u64>) {
        self.lock().fail_after = steps;
    }

    /// How often it was synced.
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    /// How many bytes were written to it, also over others.
    pub fn written(&self) -> u64 {
        self.lock().written
    }

    /// A copy of what it holds.
    pub fn bytes(&self) -> Vec<u8> {
        self.lock().present.clone()
    }

    /// Replaces what it holds, as synced.
    pub fn set_bytes(&self, bytes: &[u8]) {
        let mut state = self.lock();
        state.synced = bytes.to_vec();
        state.present = bytes.to_vec();
        state.dirty.clear();
    }

    pub(super) fn len(&self) -> u64 {
        self.lock().present.len() as u64
    }

    pub(super) fn clear(&self) {
        self.set_bytes(&[]);
    }

    /// The same key for every life.
    pub(super) fn key(&self) -> [u8; 32] {
        [7; 32]
    }

    pub(super) fn check(&self) -> Result<(), Broken> {
        self.lock().works()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life that who opens it now belongs to.
    pub(super) fn life(&self) -> u64 {
        self.lock().life
    }

    pub(super) fn handle(&self, life: u64) -> Handle {
        Handle {
            file: self.clone(),
            life,
        }
    }
}

impl State {
    /// A write or sync is to be made.
    fn step(&mut self) -> io::Result<()> {
        #[cfg(test)]
        if let Some(steps) = &mut self.fail_after {
            *steps = steps
                .checked_sub(1)
                .ok_or_else(|| io::Error::other("as asked for"))?;
        }
        self.works().map_err(io::Error::other)
    }

    fn works(&self) -> Result<(), Broken> {
        self.fail.clone().map_or(Ok(()), |why| Err(Broken(why)))
    }
}

/// The file as one life of the hub sees it.
#[derive(Debug)]
pub(super) struct Handle {
    file: MemoryFile,
    life: u64,
}

impl Handle {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.file.lock();
        if state.life == self.life {
            return Ok(state);
        }
        Err(io::Error::other("the machine of this handle has died"))
    }
}

impl redb::StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state()?.present.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state()?;
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes = from
            .checked_add(out.len())
            .and_then(|to| state.present.get(from..to))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state()?;
        state.step()?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let before = state.present.len();
        state.present.resize(len, 0);
        let (low, high) = (before.min(len), before.max(len));
        for page in low / PAGE..high.div_ceil(PAGE) {
            state.dirty.insert(page);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state()?;
        state.step()?;
        let State {
            synced,
            present,
            dirty,
            ..
        } = &mut *state;
        synced.resize(present.len(), 0);
        for page in std::mem::take(dirty) {
            let from = page * PAGE;
            let to = (from + PAGE).min(present.len());
            if from < to {
                synced[from..to].copy_from_slice(&present[from..to]);
            }
        }
        state.syncs += 1;
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state()?;
        state.step()?;
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let to = from.checked_add(data.len()).ok_or(io::ErrorKind::InvalidInput)?;
        let Some(bytes) = state.present.get_mut(from..to) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        bytes.copy_from_slice(data);
        state.written += data.len() as u64;
        for page in from / PAGE..to.div_ceil(PAGE) {
            state.dirty.insert(page);
        }
        Ok(())
    }
}
