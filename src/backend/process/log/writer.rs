//! The writing end, in the supervisor: keeps what it can, counts what it cannot, never fails.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use super::segment::{self, Stamp};

/// Batches this close share an index record: it bounds the index of a chatty container to 16 KB/s.
const SAME_TIME: u64 = 1_000_000;
/// A full disk is tried again this often.
const RETRY: Duration = Duration::from_secs(1);
/// A segment is not smaller than this, in bytes.
const SEGMENT_MIN: u64 = 4 << 10;

/// Writes one log.
#[derive(Debug)]
pub(crate) struct LogWriter {
    dir: PathBuf,
    cap: u64,
    segment: u64,
    current: Option<Current>,
    /// Full segments, oldest first: base and length.
    full: VecDeque<(u64, u64)>,
    full_bytes: u64,
    end: u64,
    lost: u64,
    retry_at: Option<Instant>,
    nanos: u64,
}

#[derive(Debug)]
struct Current {
    base: u64,
    len: u64,
    log: File,
    times: File,
    stamped: Option<Stamp>,
}

impl LogWriter {
    /// A new log in the empty directory `dir`, of at most `cap` bytes in segments of `segment` bytes.
    pub(crate) fn new(dir: &Path, cap: u64, segment: u64) -> Self {
        Self {
            dir: dir.to_owned(),
            cap: cap.max(4 * SEGMENT_MIN),
            // A quarter, so that the cap takes little more than it must.
            segment: segment.min(cap / 4).max(SEGMENT_MIN),
            current: None,
            full: VecDeque::new(),
            full_bytes: 0,
            end: 0,
            lost: 0,
            retry_at: None,
            nanos: 0,
        }
    }

    /// Raw bytes taken so far.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Of these, bytes that were not kept for want of disk.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// Appends a batch that was read at `now`. What the disk does not take is lost and counted; readers see a gap,
    /// because the next segment is named by the offset that follows.
    pub(crate) fn write(&mut self, mut batch: &[u8], now: SystemTime) {
        let nanos = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos() as u64);
        // The index is searched by time: a clock that steps back must not unsort it.
        self.nanos = self.nanos.max(nanos);
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            self.lose(batch.len());
            return;
        }
        self.retry_at = None;
        while !batch.is_empty() {
            match self.append(batch) {
                Ok(written) => {
                    self.end += written as u64;
                    batch = &batch[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.close();
                    self.lose(batch.len());
                    self.retry_at = Some(Instant::now() + RETRY);
                    return;
                }
            }
        }
    }

    fn lose(&mut self, bytes: usize) {
        self.end += bytes as u64;
        self.lost += bytes as u64;
    }

    fn append(&mut self, batch: &[u8]) -> io::Result<usize> {
        if self
            .current
            .as_ref()
            .is_some_and(|current| current.len >= self.segment || current.is_spoiled())
        {
            self.close();
        }
        let current = match &mut self.current {
            Some(current) => current,
            None => {
                let opened = open(&self.dir, self.end)?;
                self.current.insert(opened)
            }
        };
        let stamp = Stamp {
            offset: self.end,
            nanos: self.nanos,
        };
        if current
            .stamped
            .is_none_or(|last| stamp.nanos - last.nanos >= SAME_TIME)
        {
            current.times.write_all(&stamp.encode())?;
            current.stamped = Some(stamp);
        }
        let room = usize::try_from(self.segment - current.len).unwrap_or(usize::MAX);
        let written = current.log.write(&batch[..batch.len().min(room)])?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        current.len += written as u64;
        self.trim();
        Ok(written)
    }

    fn close(&mut self) {
        let Some(current) = self.current.take() else {
            return;
        };
        if current.len == 0 {
            self.remove(current.base);
        } else {
            self.full.push_back((current.base, current.len));
            self.full_bytes += current.len;
        }
    }

    fn trim(&mut self) {
        let open = self.current.as_ref().map_or(0, |current| current.len);
        while self.full_bytes + open > self.cap {
            let Some((base, len)) = self.full.pop_front() else {
                return;
            };
            self.full_bytes -= len;
            self.remove(base);
        }
    }

    /// A segment that cannot be removed only takes space.
    fn remove(&self, base: u64) {
        let _ = fs::remove_file(segment::log_path(&self.dir, base));
        let _ = fs::remove_file(segment::times_path(&self.dir, base));
    }
}

impl Current {
    /// Somebody has shortened or removed the file: what is added to it would stand at a wrong offset, or nowhere. The
    /// next segment is named by the right one, so readers see what is missing.
    fn is_spoiled(&self) -> bool {
        self.log
            .metadata()
            .is_ok_and(|file| file.len() != self.len || file.nlink() == 0)
    }
}

fn open(dir: &Path, base: u64) -> io::Result<Current> {
    let create = |path: PathBuf| {
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
    };
    // The index first: a segment that is seen has one.
    let times = create(segment::times_path(dir, base))?;
    let log = create(segment::log_path(dir, base)).inspect_err(|_| {
        let _ = fs::remove_file(segment::times_path(dir, base));
    })?;
    Ok(Current {
        base,
        len: 0,
        log,
        times,
        stamped: None,
    })
}
