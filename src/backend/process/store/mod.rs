//! The state directory: who owns it, and what is kept of each pod.
//!
//! ```text
//! <state>/lock                 held while a plugin uses the directory; says which process
//! <state>/jobs-epoch           lost with the records: a hub then knows
//! <state>/pods/<uid>/pod.json  the pod was taken (written last of what a create writes)
//!                   /payload.json   as it came
//!                   /delete.json    its end was asked for
//!                   /volumes/<name>/...
//!                   /scratch/<container>/
//!                   /containers/<name>/<epoch>/   one run (see `spec`)
//! <state>/gone/<uid>           being removed
//! ```
//! Knows files and what must be durable when; knows nothing of what a pod is made of. Learn [`Store`].

mod epoch;
mod layout;
mod owner;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

pub(crate) use self::layout::{container_dir, discard, run_dir, runs, scratch_dir, volumes_dir};
use super::{
    plan::VolumePlan,
    spec::{read_record, write_record},
    volumes,
};
use crate::{interlink::is_uid, wire::PodRef};

const POD: &str = "pod.json";
const PAYLOAD: &str = "payload.json";
const DELETE: &str = "delete.json";
/// Written to see whether it can be.
const CHECK: &str = "check.json";

/// Version of the records; another one is not read.
const VERSION: u32 = 1;

/// A pod that was taken.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PodRecord {
    version: u32,
    namespace: String,
    name: String,
    /// When it was taken: `activeDeadlineSeconds` count from here.
    pub(crate) accepted_at: SystemTime,
}

/// The wish to end a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeleteRecord {
    /// The pod's own grace when absent.
    pub(crate) grace_seconds: Option<u64>,
}

/// A pod found on disk.
pub(crate) struct Found {
    pub(crate) pod: PodRef,
    pub(crate) record: PodRecord,
    pub(crate) payload: Vec<u8>,
    pub(crate) delete: Option<DeleteRecord>,
}

/// The state directory, held by this process.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
    epoch: u64,
    /// One check at a time: they write one file.
    checking: Mutex<()>,
    _lock: File,
}

impl Store {
    /// Opens the directory, makes it if need be, and takes its lock.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        volumes::private_dir(root)?;
        // Runs are told absolute paths: their working directory is another one.
        let root = root.canonicalize()?;
        let lock = owner::take(&root.join("lock"))?;
        let epoch = epoch::of(&root)?;
        volumes::private_dir(&root.join("pods"))?;
        volumes::private_dir(&root.join("gone"))?;
        let store = Self {
            root,
            epoch,
            checking: Mutex::default(),
            _lock: lock,
        };
        for left in fs::read_dir(store.root.join("gone"))?.flatten() {
            discard(&left.path());
        }
        Ok(store)
    }

    /// A number that is the same as long as the records are: see `Register.jobs_epoch`.
    pub(crate) fn jobs_epoch(&self) -> u64 {
        self.epoch
    }

    /// Tries what a create needs: that records can be written, durably.
    pub(crate) fn check(&self) -> io::Result<()> {
        let _checking = self.checking.lock().unwrap_or_else(PoisonError::into_inner);
        fs::metadata(self.pods_dir())?;
        write_record(&self.root, CHECK, &SystemTime::now())
    }

    /// Where the directories of all pods are.
    pub(crate) fn pods_dir(&self) -> PathBuf {
        self.root.join("pods")
    }

    /// The directory of a pod. The uid was checked.
    pub(crate) fn pod_dir(&self, uid: &str) -> PathBuf {
        self.root.join("pods").join(uid)
    }

    /// Records a pod with its volumes, durably; nothing is left behind when it fails.
    pub(crate) fn put(&self, pod: &PodRef, payload: &[u8], volumes: &[VolumePlan]) -> io::Result<PodRecord> {
        let dir = self.pod_dir(&pod.uid);
        let written = self.write(&dir, pod, payload, volumes);
        if written.is_err() {
            let _ = fs::remove_dir_all(&dir);
        }
        written
    }

    fn write(
        &self,
        dir: &Path,
        pod: &PodRef,
        payload: &[u8],
        volumes: &[VolumePlan],
    ) -> io::Result<PodRecord> {
        volumes::private_dir(dir)?;
        volumes::write(&volumes_dir(dir), volumes)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(dir.join(PAYLOAD))?;
        file.write_all(payload)?;
        file.sync_all()?;
        let record = PodRecord {
            version: VERSION,
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            accepted_at: SystemTime::now(),
        };
        write_record(dir, POD, &record)?;
        File::open(self.root.join("pods"))?.sync_all()?;
        Ok(record)
    }

    /// Records the wish to end a pod.
    pub(crate) fn put_delete(&self, uid: &str, delete: DeleteRecord) -> io::Result<()> {
        write_record(&self.pod_dir(uid), DELETE, &delete)
    }

    /// Forgets a pod. Its files go at once or, where that fails, at the next start.
    pub(crate) fn remove(&self, uid: &str) -> io::Result<()> {
        let gone = self.root.join("gone").join(uid);
        discard(&gone);
        fs::rename(self.pod_dir(uid), &gone)?;
        File::open(self.root.join("pods"))?.sync_all()?;
        discard(&gone);
        Ok(())
    }

    /// The pods that were taken before. What a create left unfinished is removed; what cannot be read is left
    /// alone and logged.
    pub(crate) fn load(&self) -> io::Result<Vec<Found>> {
        let mut pods = Vec::new();
        for entry in fs::read_dir(self.root.join("pods"))? {
            let dir = entry?.path();
            let Some(uid) = dir
                .file_name()
                .and_then(|name| name.to_str())
                .filter(|name| is_uid(name))
            else {
                tracing::warn!(dir = %dir.display(), "not a pod: left alone");
                continue;
            };
            match read(&dir, uid) {
                Ok(Some(found)) => pods.push(found),
                Ok(None) => discard(&dir),
                Err(error) => {
                    tracing::error!(dir = %dir.display(), %error, "the pod's record cannot be read: left alone")
                }
            }
        }
        Ok(pods)
    }
}

fn read(dir: &Path, uid: &str) -> io::Result<Option<Found>> {
    let Some(record) = read_record::<PodRecord>(dir, POD)? else {
        return Ok(None);
    };
    if record.version != VERSION {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("record of version {}", record.version),
        ));
    }
    Ok(Some(Found {
        pod: PodRef::new(uid, &record.namespace, &record.name),
        payload: fs::read(dir.join(PAYLOAD))?,
        delete: read_record(dir, DELETE)?,
        record,
    }))
}

#[cfg(test)]
mod tests;
