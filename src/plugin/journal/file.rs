//! A journal in a directory.
//!
//! ```text
//! <dir>/lock                  held while a process uses the journal; its pid is in it
//! <dir>/journal-00000007      the log; of several the highest counts, the others are left over
//! <dir>/journal-00000008.new  a replacement that is being written
//! <dir>/damaged-00000006      a log that could not be understood
//! ```

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};

use super::{Disk, OpenError};

const LOG: &str = "journal-";
const DAMAGED: &str = "damaged-";
const DRAFT: &str = ".new";

/// A [`Disk`] in a directory of its own, which is made when it is missing (0700, its files 0600).
#[derive(Debug)]
pub struct FileDisk {
    dir: PathBuf,
    files: Arc<Mutex<Files>>,
}

#[derive(Debug)]
struct Files {
    dir: PathBuf,
    lock: Option<File>,
    /// The highest number seen.
    number: u64,
    /// The present log, while it can be trusted.
    log: Option<File>,
}

impl FileDisk {
    /// Touches nothing yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        let files = Files {
            dir: dir.clone(),
            lock: None,
            number: 0,
            log: None,
        };
        Self {
            dir,
            files: Arc::new(Mutex::new(files)),
        }
    }

    /// Files are slow: off the runtime's own threads.
    fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Files) -> T + Send + 'static,
    ) -> BoxFuture<'static, Result<T, io::Error>> {
        let files = Arc::clone(&self.files);
        let work = move || work(&mut files.lock().unwrap_or_else(PoisonError::into_inner));
        async move { tokio::task::spawn_blocking(work).await.map_err(io::Error::other) }.boxed()
    }
}

impl Disk for FileDisk {
    fn place(&self) -> String {
        self.dir.display().to_string()
    }

    fn open(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, OpenError>> {
        let place = self.place();
        let opened = self.with(Files::open);
        async move {
            opened
                .await
                .unwrap_or_else(|source| Err(OpenError::Unusable { place, source }))
        }
        .boxed()
    }

    fn append(&mut self, bytes: Bytes) -> BoxFuture<'_, io::Result<()>> {
        let done = self.with(move |files| files.append(&bytes));
        async move { done.await.flatten() }.boxed()
    }

    fn replace(&mut self, bytes: Bytes) -> BoxFuture<'_, io::Result<()>> {
        let done = self.with(move |files| files.replace(&bytes));
        async move { done.await.flatten() }.boxed()
    }

    fn set_aside(&mut self) -> BoxFuture<'_, io::Result<String>> {
        let done = self.with(Files::set_aside);
        async move { done.await.flatten() }.boxed()
    }
}

impl Files {
    fn open(&mut self) -> Result<Option<Bytes>, OpenError> {
        let place = self.dir.display().to_string();
        let unusable = |place: String| move |source| OpenError::Unusable { place, source };
        private_dir(&self.dir).map_err(unusable(place.clone()))?;
        if self.lock.is_none() {
            let locked = lock(&self.dir.join("lock")).map_err(unusable(place.clone()))?;
            self.lock = Some(locked.map_err(|pid| OpenError::InUse {
                place: place.clone(),
                pid,
            })?);
        }
        let numbers = self.numbers().map_err(unusable(place))?;
        let Some(&number) = numbers.iter().max() else {
            return Ok(None);
        };
        self.number = number;
        let path = self.log_path(number);
        let bytes = fs::read(&path).map_err(unusable(path.display().to_string()))?;
        Ok(Some(bytes.into()))
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Taken out: after an error nobody knows what the file holds.
        let mut log = self
            .log
            .take()
            .ok_or_else(|| io::Error::other("the log must be written afresh"))?;
        log.write_all(bytes)?;
        log.sync_data()?;
        self.log = Some(log);
        Ok(())
    }

    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.log = None;
        self.number += 1;
        let (path, draft) = (self.log_path(self.number), self.draft_path(self.number));
        let written = self.publish(&draft, &path, bytes);
        let log = written.inspect_err(|_| {
            // Room for the next try.
            let _ = fs::remove_file(&draft);
        })?;
        self.log = Some(log);
        for older in self.numbers()?.into_iter().filter(|&number| number < self.number) {
            let path = self.log_path(older);
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(file = %path.display(), %error, "a former journal could not be removed");
            }
        }
        Ok(())
    }

    fn publish(&self, draft: &Path, path: &Path, bytes: &[u8]) -> io::Result<File> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(draft, path)?;
        File::open(&self.dir)?.sync_all()?;
        Ok(file)
    }

    fn set_aside(&mut self) -> io::Result<String> {
        let aside = self.dir.join(format!("{DAMAGED}{:08}", self.number));
        fs::rename(self.log_path(self.number), &aside)?;
        // Damage that comes again must not fill the disk: the newest is kept.
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path != aside && name(&path).starts_with(DAMAGED) {
                fs::remove_file(path)?;
            }
        }
        Ok(aside.display().to_string())
    }

    /// The numbers of all logs. What a replacement left unfinished is removed.
    fn numbers(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let Some(number) = name(&path).strip_prefix(LOG) else {
                continue;
            };
            if number.ends_with(DRAFT) {
                fs::remove_file(&path)?;
            } else if let Ok(number) = number.parse() {
                numbers.push(number);
            }
        }
        Ok(numbers)
    }

    fn log_path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{LOG}{number:08}"))
    }

    fn draft_path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{LOG}{number:08}{DRAFT}"))
    }
}

fn name(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
}

/// Makes a directory that only its owner may enter; it is there after a power cut too.
fn private_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        private_dir(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// The lock, or the process that has it.
fn lock(path: &Path) -> io::Result<Result<File, Option<u32>>> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0)?;
            // For people; the lock holds without it, also on a full disk.
            let _ = writeln!(file, "{}", std::process::id());
            Ok(Ok(file))
        }
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            Ok(Err(pid.trim().parse().ok()))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
