//! What outlives the process: the manifest of every pod that the upstream may have.
//!
//! ```text
//! <state>/bridge.lock      held while a bridge uses the directory
//! <state>/pods/<uid>.json  written before the create is sent, removed when the delete is confirmed
//! ```
//! The upstream is asked about its pods by their manifests, so they must be known after a restart. A manifest holds no
//! Secret, but the values of its environment: files have mode 0600, directories 0700.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{backend::file::write_record, interlink::Pod};

/// Version of the records; another one is not read.
const VERSION: u32 = 1;

/// What is kept of a pod.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    /// The upstream took it; until then nobody knows.
    pub(super) created: bool,
    /// The upstream's name for it; empty when it did not say.
    pub(super) job_id: String,
    /// Somebody else created it, or was about to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) adopted: bool,
    pub(super) pod: Pod,
}

impl Record {
    /// Of a pod that is about to be sent.
    pub(super) fn new(pod: Pod) -> Self {
        Self {
            version: VERSION,
            created: false,
            job_id: String::new(),
            adopted: false,
            pod,
        }
    }

    /// Of a pod that somebody else created, or was about to.
    pub(super) fn adopted(pod: Pod) -> Self {
        Self {
            adopted: true,
            ..Self::new(pod)
        }
    }

    /// The same, taken by the upstream.
    pub(super) fn taken(&self, job_id: &str) -> Self {
        Self {
            created: true,
            job_id: job_id.to_owned(),
            ..self.clone()
        }
    }
}

fn name(uid: &str) -> String {
    format!("{uid}.json")
}

/// The directory of the records, held by this process.
#[derive(Debug)]
pub(super) struct Records {
    dir: PathBuf,
    _lock: File,
}

impl Records {
    /// Makes the directory if need be, takes it, and reads what is there.
    pub(super) fn open(state: &Path) -> io::Result<(Self, Vec<Record>)> {
        let dir = state.join("pods");
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(state.join("bridge.lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let text =
                    "another plugin uses it; stop that one, or give each plugin a state directory of its own";
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let records = Self { dir, _lock: lock };
        let found = records.load()?;
        Ok((records, found))
    }

    /// Writes a record, durably and whole or not at all.
    pub(super) fn put(&self, record: &Record) -> io::Result<()> {
        write_record(&self.dir, &name(record.pod.uid()), record)
    }

    /// Forgets a pod, durably.
    pub(super) fn remove(&self, uid: &str) -> io::Result<()> {
        match fs::remove_file(self.path(uid)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => File::open(&self.dir)?.sync_all(),
        }
    }

    fn path(&self, uid: &str) -> PathBuf {
        self.dir.join(name(uid))
    }

    fn load(&self) -> io::Result<Vec<Record>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let name = path
                .file_stem()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            match path.extension().and_then(|extension| extension.to_str()) {
                // Left by a write that was cut off: what it was to replace is there.
                Some("new") => fs::remove_file(&path)?,
                Some("json") => match read(&path, name) {
                    Ok(record) => found.push(record),
                    Err(error) => {
                        tracing::error!(path = %path.display(), %error, "a pod's record cannot be read: left alone");
                    }
                },
                _ => tracing::warn!(path = %path.display(), "not a pod's record: left alone"),
            }
        }
        Ok(found)
    }
}

fn read(path: &Path, uid: &str) -> io::Result<Record> {
    let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text.to_owned());
    // The error of the JSON itself might quote the record.
    let record: Record = serde_json::from_slice(&fs::read(path)?).map_err(|_| invalid("not a record"))?;
    if record.version != VERSION {
        return Err(invalid(&format!("record of version {}", record.version)));
    }
    if record.pod.uid() != uid {
        return Err(invalid("record of another pod"));
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::*;

    const UID: &str = "3f0c9d0e-8f0b-4c53-9e1b-5d2f9a4b7c11";

    fn record() -> Record {
        let pod =
            json!({"metadata": {"uid": UID, "name": "p", "namespace": "ns"}, "spec": {"containers": []}});
        Record::new(Pod::from_value(pod).unwrap())
    }

    #[test]
    fn a_record_outlives_the_process_and_is_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let (records, found) = Records::open(dir.path()).unwrap();
        assert!(found.is_empty());
        records.put(&record()).unwrap();
        records.put(&record().taken("42")).unwrap();
        let mode = fs::metadata(records.path(UID)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(records);
        let (records, found) = Records::open(dir.path()).unwrap();
        assert_eq!(
            (found.len(), found[0].created, found[0].job_id.as_str()),
            (1, true, "42")
        );
        records.remove(UID).unwrap();
        records.remove(UID).unwrap();
        drop(records);
        assert!(Records::open(dir.path()).unwrap().1.is_empty());
    }

    #[test]
    fn two_bridges_do_not_share_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let _first = Records::open(dir.path()).unwrap();
        let error = Records::open(dir.path()).unwrap_err();
        assert!(error.to_string().contains("another plugin uses it"), "{error}");
    }

    #[test]
    fn what_cannot_be_read_is_left_alone_and_the_rest_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (records, _) = Records::open(dir.path()).unwrap();
        records.put(&record()).unwrap();
        let broken = records.dir.join("6c03dd86-2168-4807-949d-090b9489517f.json");
        fs::write(&broken, "{\"pod\":").unwrap();
        fs::write(records.dir.join("draft.new"), "{").unwrap();
        drop(records);
        let (records, found) = Records::open(dir.path()).unwrap();
        assert_eq!(found.len(), 1);
        assert!(broken.exists());
        assert!(!records.dir.join("draft.new").exists());
    }
}
