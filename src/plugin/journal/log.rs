//! The bytes of a journal: a header, a snapshot, and what came after it. Pure.
//!
//! ```text
//! header   "TWJOURNL"  version u32  crc u32
//! frame    "TWJF"  number u64  length u32  crc u32 (of number, length and entries)  entries
//! ```
//!
//! The first frame is a snapshot: entries that make the whole image. Each further one is a batch that was written
//! and synced as one, before the next was begun. So a crash can spoil the last frame alone, and it spoils all of it:
//! it is cut off. A spoiled frame with a good one behind it is damage.

use bytes::{BufMut, Bytes};

use super::{entry::Entry, image::Image, mark::random_epoch};

/// Of the format; another one is not read.
pub(crate) const VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"TWJOURNL";
const HEADER: usize = 16;
const FRAME: &[u8; 4] = b"TWJF";
const FRAME_HEAD: usize = 20;

/// What was found in the bytes of a journal.
#[derive(Debug, PartialEq)]
pub(crate) struct Read {
    pub(crate) image: Image,
    /// Bytes at the end that a crash had left unfinished.
    pub(crate) cut_off: usize,
}

/// Why a journal cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// It is another version's.
    Version(u32),
    /// It is not what was written; what is wrong, and where.
    Damaged { what: &'static str, at: usize },
}

/// The bytes of a fresh journal with this image.
pub(crate) fn begin(image: &Image, number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_slice(MAGIC);
    out.put_u32_le(VERSION);
    out.put_u32_le(crc(&out));
    let mut entries = Vec::new();
    image
        .entries()
        .iter()
        .for_each(|entry| entry.encode(&mut entries));
    frame(&mut out, number, &entries);
    out
}

/// Appends a frame.
pub(crate) fn frame(out: &mut Vec<u8>, number: u64, entries: &[u8]) {
    out.put_slice(FRAME);
    let body = out.len();
    out.put_u64_le(number);
    // Batches and images are bounded far below 4 GiB.
    out.put_u32_le(u32::try_from(entries.len()).unwrap_or(u32::MAX));
    out.put_u32_le(sum(&out[body..body + 12], entries));
    out.put_slice(entries);
}

/// Reads a journal.
pub(crate) fn read(bytes: &Bytes) -> Result<Read, Unusable> {
    let damaged = |what, at| Err(Unusable::Damaged { what, at });
    let Some(header) = bytes.get(..HEADER) else {
        return damaged("it ends inside its header", bytes.len());
    };
    if &header[..8] != MAGIC || le_u32(&header[12..]) != crc(&header[..12]) {
        return damaged("its header is not that of a journal", 0);
    }
    let version = le_u32(&header[8..]);
    if version != VERSION {
        return Err(Unusable::Version(version));
    }
    // Both are said by the snapshot.
    let mut image = Image::new(random_epoch(), 0);
    let (mut at, mut last) = (HEADER, None);
    while at < bytes.len() {
        let Some((number, entries)) = frame_at(bytes, at).filter(|(number, _)| follows(last, *number)) else {
            let Some(last) = last else {
                return damaged("its snapshot is not whole", at);
            };
            let good = (at + 1..bytes.len())
                .any(|later| frame_at(bytes, later).is_some_and(|(number, _)| number > last));
            if good {
                return damaged("a record is spoiled, and good ones follow", at);
            }
            break;
        };
        let len = FRAME_HEAD + entries.len();
        let Some(entries) = Entry::decode_all(entries) else {
            return damaged("a record is not understood", at);
        };
        entries.into_iter().for_each(|entry| image.apply(entry));
        at += len;
        last = Some(number);
    }
    if last.is_none() {
        return damaged("it has no snapshot", at);
    }
    Ok(Read {
        image,
        cut_off: bytes.len() - at,
    })
}

/// Frames are numbered without a gap, so that a lost one is seen.
fn follows(last: Option<u64>, number: u64) -> bool {
    last.is_none_or(|last| number == last.wrapping_add(1))
}

fn frame_at(bytes: &Bytes, at: usize) -> Option<(u64, Bytes)> {
    let head = bytes.get(at..at.checked_add(FRAME_HEAD)?)?;
    if &head[..4] != FRAME {
        return None;
    }
    let number = u64::from_le_bytes(head[4..12].try_into().ok()?);
    let len = usize::try_from(le_u32(&head[12..])).ok()?;
    let start = at + FRAME_HEAD;
    let end = start.checked_add(len)?;
    let entries = bytes.get(start..end)?;
    (le_u32(&head[16..]) == sum(&head[4..16], entries)).then(|| (number, bytes.slice(start..end)))
}

fn le_u32(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .take(4)
        .rev()
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// CRC-32 (IEEE 802.3).
pub(super) fn crc(bytes: &[u8]) -> u32 {
    sum(bytes, &[])
}

/// CRC-32 of both parts.
fn sum(head: &[u8], tail: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| (crc >> 8) ^ TABLE[usize::from((crc as u8) ^ byte)];
    !head.iter().chain(tail).fold(!0, step)
}

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let (mut crc, mut bit) = (index as u32, 0);
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
