//! The files of a log: `<base>.log` holds raw bytes from offset `base`, `<base>.times` its timestamp index.
//!
//! An index record is 16 bytes, little endian: raw offset (u64), nanoseconds since 1970 (u64). It says that the
//! bytes from that offset to the next record's were read from the pipe at that time. A record is written before
//! its bytes, so that every byte a reader sees has a time.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// Bytes of one index record.
pub(crate) const RECORD: u64 = 16;

/// The file of the bytes from `base` on.
pub(crate) fn log_path(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("{base:020}.log"))
}

/// The timestamp index beside it.
pub(crate) fn times_path(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("{base:020}.times"))
}

/// The base offsets of the segments, rising.
pub(crate) fn bases(dir: &Path) -> io::Result<Vec<u64>> {
    let mut bases = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let base = name
            .to_str()
            .and_then(|name| name.strip_suffix(".log"))
            .and_then(|base| base.parse::<u64>().ok());
        bases.extend(base);
    }
    bases.sort_unstable();
    Ok(bases)
}

/// Length of a segment; 0 when it has gone meanwhile.
pub(crate) fn len(dir: &Path, base: u64) -> io::Result<u64> {
    match fs::metadata(log_path(dir, base)) {
        Ok(meta) => Ok(meta.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// One record of an index: bytes from `offset` on came at `nanos`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) offset: u64,
    pub(crate) nanos: u64,
}

impl Stamp {
    pub(crate) fn encode(self) -> [u8; RECORD as usize] {
        let mut record = [0; RECORD as usize];
        record[..8].copy_from_slice(&self.offset.to_le_bytes());
        record[8..].copy_from_slice(&self.nanos.to_le_bytes());
        record
    }

    fn decode(record: &[u8]) -> Option<Self> {
        let (offset, nanos) = record.split_at_checked(8)?;
        Some(Self {
            offset: u64::from_le_bytes(offset.try_into().ok()?),
            nanos: u64::from_le_bytes(nanos.try_into().ok()?),
        })
    }
}

/// Records cached at a time.
const BLOCK: u64 = 256;

/// A timestamp index under reading, perhaps still growing.
#[derive(Debug)]
pub(crate) struct Times {
    file: Option<File>,
    /// The record in force, and its number.
    at: Option<(u64, Stamp)>,
    block: Vec<u8>,
    first: u64,
}

impl Times {
    /// Opens the index of a segment. One that is missing answers no times.
    pub(crate) fn open(dir: &Path, base: u64) -> Self {
        Self {
            file: File::open(times_path(dir, base)).ok(),
            at: None,
            block: Vec::new(),
            first: 0,
        }
    }

    /// The number of whole records.
    pub(crate) fn count(&self) -> u64 {
        self.file
            .as_ref()
            .and_then(|file| file.metadata().ok())
            .map_or(0, |meta| meta.len() / RECORD)
    }

    /// A record by number.
    pub(crate) fn get(&mut self, number: u64) -> Option<Stamp> {
        if let Some(stamp) = self.cached(number) {
            return Some(stamp);
        }
        let file = self.file.as_ref()?;
        self.block.resize((BLOCK * RECORD) as usize, 0);
        let read = file.read_at(&mut self.block, number * RECORD).unwrap_or(0);
        self.block.truncate(read);
        self.first = number;
        self.cached(number)
    }

    fn cached(&self, number: u64) -> Option<Stamp> {
        let skip = usize::try_from(number.checked_sub(self.first)?.checked_mul(RECORD)?).ok()?;
        Stamp::decode(self.block.get(skip..skip.checked_add(RECORD as usize)?)?)
    }

    /// The time of the byte at `offset`; none when nothing is known.
    pub(crate) fn time_of(&mut self, offset: u64) -> Option<u64> {
        let mut number = match self.at {
            Some((number, stamp)) if stamp.offset <= offset => number,
            _ => self.first_where(|stamp| stamp.offset > offset).saturating_sub(1),
        };
        let mut stamp = self.get(number)?;
        while let Some(next) = self.get(number + 1).filter(|next| next.offset <= offset) {
            number += 1;
            stamp = next;
        }
        self.at = Some((number, stamp));
        Some(stamp.nanos)
    }

    /// Number of the first record that satisfies `past`, which is false, then true along the index.
    pub(crate) fn first_where(&mut self, past: impl Fn(Stamp) -> bool) -> u64 {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle) {
                Some(stamp) if !past(stamp) => low = middle + 1,
                _ => high = middle,
            }
        }
        low
    }
}
