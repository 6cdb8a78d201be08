//! Where to begin: the last lines, or the first line since a time.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

use super::segment::{self, Times};

/// Bytes looked at in one go.
const BLOCK: u64 = 64 << 10;

/// Raw offset of the oldest byte that is kept; 0 for an empty log.
pub(crate) fn oldest(dir: &Path) -> io::Result<u64> {
    Ok(segment::bases(dir)?.first().copied().unwrap_or(0))
}

/// Raw offset after the newest byte.
pub(crate) fn end(dir: &Path) -> io::Result<u64> {
    match segment::bases(dir)?.last() {
        Some(base) => Ok(base + segment::len(dir, *base)?),
        None => Ok(0),
    }
}

/// Start of the last `lines` lines. An unfinished line counts as one, as in tail(1).
pub(crate) fn tail(dir: &Path, lines: u64) -> io::Result<u64> {
    let end = end(dir)?;
    if lines == 0 {
        return Ok(end);
    }
    let mut found = 0;
    let mut block = vec![0; BLOCK as usize];
    let bases = segment::bases(dir)?;
    for base in bases.iter().rev() {
        let Some(file) = open(dir, *base)? else { break };
        let mut right = segment::len(dir, *base)?.min(end.saturating_sub(*base));
        while right > 0 {
            let left = right.saturating_sub(BLOCK);
            let part = &mut block[..(right - left) as usize];
            file.read_exact_at(part, left)?;
            for (index, _) in part.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
                let after = base + left + index as u64 + 1;
                // The newline that ends the log begins no line.
                if after < end {
                    found += 1;
                    if found == lines {
                        return Ok(after);
                    }
                }
            }
            right = left;
        }
    }
    Ok(bases.first().copied().unwrap_or(0))
}

/// Start of the first line that began at `nanos` or later; the end when there is none.
pub(crate) fn since(dir: &Path, nanos: u64) -> io::Result<u64> {
    for base in segment::bases(dir)? {
        let mut times = Times::open(dir, base);
        let count = times.count();
        if count == 0 || times.get(count - 1).is_some_and(|last| last.nanos < nanos) {
            continue;
        }
        let first = times.first_where(|stamp| stamp.nanos >= nanos);
        let Some(stamp) = times.get(first) else { continue };
        if stamp.offset == 0 || byte_before(dir, stamp.offset)?.is_none_or(|byte| byte == b'\n') {
            return Ok(stamp.offset);
        }
        return line_after(dir, stamp.offset);
    }
    end(dir)
}

/// The raw byte before an offset; none when there is none or it is not kept.
pub(crate) fn byte_before(dir: &Path, offset: u64) -> io::Result<Option<u8>> {
    let Some(before) = offset.checked_sub(1) else {
        return Ok(None);
    };
    let bases = segment::bases(dir)?;
    let Some(base) = bases.iter().rev().find(|base| **base <= before) else {
        return Ok(None);
    };
    let Some(file) = open(dir, *base)? else {
        return Ok(None);
    };
    let mut byte = [0];
    Ok((file.read_at(&mut byte, before - base)? == 1).then_some(byte[0]))
}

/// Start of the next line at or after `offset`.
fn line_after(dir: &Path, offset: u64) -> io::Result<u64> {
    let mut block = vec![0; BLOCK as usize];
    for base in segment::bases(dir)? {
        let len = segment::len(dir, base)?;
        if base + len <= offset {
            continue;
        }
        let Some(file) = open(dir, base)? else { continue };
        let mut at = offset.saturating_sub(base);
        loop {
            let read = file.read_at(&mut block, at)?;
            if read == 0 {
                break;
            }
            if let Some(index) = block[..read].iter().position(|byte| *byte == b'\n') {
                return Ok(base + at + index as u64 + 1);
            }
            at += read as u64;
        }
    }
    end(dir)
}

fn open(dir: &Path, base: u64) -> io::Result<Option<File>> {
    match File::open(segment::log_path(dir, base)) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
