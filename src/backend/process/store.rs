//! The state directory: who owns it, and what is kept of each pod.
//!
//! ```text
//! <state>/lock                 held while a plugin uses the directory
//! <state>/pods/<uid>/pod.json  the pod was taken (written last of what a create writes)
//!                   /payload.json   as it came
//!                   /delete.json    its end was asked for
//!                   /volumes/<name>/...
//!                   /scratch/<container>/
//!                   /containers/<name>/<epoch>/   one run (see `spec`)
//! <state>/gone/<uid>           being removed
//! ```

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use super::{
    plan::VolumePlan,
    spec::{read_record, write_record},
    volumes,
};
use crate::{interlink::is_uid, wire::PodRef};

const POD: &str = "pod.json";
const PAYLOAD: &str = "payload.json";
const DELETE: &str = "delete.json";

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
    _lock: File,
}

impl Store {
    /// Opens the directory, makes it if need be, and takes its lock.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        volumes::private_dir(root)?;
        // Runs are told absolute paths: their working directory is another one.
        let root = root.canonicalize()?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(root.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(
                    io::ErrorKind::ResourceBusy,
                    "another plugin uses it; give each plugin a state directory of its own",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        volumes::private_dir(&root.join("pods"))?;
        volumes::private_dir(&root.join("gone"))?;
        let store = Self { root, _lock: lock };
        for left in fs::read_dir(store.root.join("gone"))?.flatten() {
            discard(&left.path());
        }
        Ok(store)
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

/// Where the volumes of a pod are.
pub(crate) fn volumes_dir(pod_dir: &Path) -> PathBuf {
    pod_dir.join("volumes")
}

/// Where a container works that does not say where.
pub(crate) fn scratch_dir(pod_dir: &Path, container: &str) -> PathBuf {
    pod_dir.join("scratch").join(container)
}

/// Where the runs of a container are.
pub(crate) fn container_dir(pod_dir: &Path, container: &str) -> PathBuf {
    pod_dir.join("containers").join(container)
}

/// Where one run is.
pub(crate) fn run_dir(pod_dir: &Path, container: &str, epoch: u64) -> PathBuf {
    container_dir(pod_dir, container).join(epoch.to_string())
}

/// How many runs of a container were begun.
pub(crate) fn runs(pod_dir: &Path, container: &str) -> io::Result<u64> {
    let entries = match fs::read_dir(container_dir(pod_dir, container)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut highest = 0;
    for entry in entries {
        let epoch = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        highest = highest.max(epoch.unwrap_or(0));
    }
    Ok(highest)
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

/// Deletes a directory as far as possible.
pub(crate) fn discard(dir: &Path) {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(dir = %dir.display(), %error, "a removed pod's files could not all be deleted");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const UID: &str = "3f0c9d0e-8f0b-4c53-9e1b-5d2f9a4b7c11";

    #[test]
    fn two_plugins_do_not_share_a_state_directory() {
        let dir = tempfile::tempdir().unwrap();
        let first = Store::open(dir.path()).unwrap();
        let error = Store::open(dir.path()).unwrap_err();
        assert!(error.to_string().contains("another plugin"), "{error}");
        drop(first);
        Store::open(dir.path()).unwrap();
    }

    #[test]
    fn a_pod_is_found_again_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.put(&PodRef::new(UID, "ns", "name"), b"{}", &[]).unwrap();
        store
            .put_delete(
                UID,
                DeleteRecord {
                    grace_seconds: Some(3),
                },
            )
            .unwrap();
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(store.pod_dir(UID)), 0o700);
        assert_eq!(mode(store.pod_dir(UID).join(PAYLOAD)), 0o600);
        let found = store.load().unwrap();
        assert_eq!(
            (
                found.len(),
                found[0].pod.name.as_str(),
                found[0].payload.as_slice()
            ),
            (1, "name", &b"{}"[..])
        );
        assert_eq!(found[0].delete.unwrap().grace_seconds, Some(3));
        store.remove(UID).unwrap();
        assert!(store.load().unwrap().is_empty());
        assert!(!store.root.join("gone").join(UID).exists());
    }

    #[test]
    fn what_a_create_left_unfinished_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        fs::create_dir_all(store.pod_dir(UID).join("volumes/v")).unwrap();
        assert!(store.load().unwrap().is_empty());
        assert!(!store.pod_dir(UID).exists());
    }
}
