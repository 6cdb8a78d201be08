//! The raw bytes of one run's log, as a growing file with gaps.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::segment::{self, Times};
use crate::backend::process::{run, spec, spec::RunState};

/// What is at the present position.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// So many bytes are in the buffer.
    Bytes(usize),
    /// So many bytes were lost; the position has moved past them.
    Gap(u64),
    /// Nothing yet.
    Nothing,
    /// The run has ended, and this is its end.
    End,
}

/// Reads one run's log.
#[derive(Debug)]
pub(crate) struct Source {
    run_dir: PathBuf,
    dir: PathBuf,
    /// Which run.
    pub(crate) epoch: u64,
    /// Raw offset of the next byte.
    pub(crate) position: u64,
    open: Option<Open>,
    /// Where the log of the ended run ends.
    end: Option<u64>,
}

#[derive(Debug)]
struct Open {
    base: u64,
    file: File,
    times: Times,
}

impl Source {
    /// The log of a run, to be read from `position` on.
    pub(crate) fn new(run_dir: &Path, epoch: u64, position: u64) -> Self {
        Self {
            run_dir: run_dir.to_owned(),
            dir: run_dir.join(spec::LOG),
            epoch,
            position,
            open: None,
            end: None,
        }
    }

    /// Looks what is at the position. Bytes stay unread until [`Source::advance`].
    pub(crate) fn look(&mut self, buffer: &mut [u8]) -> io::Result<Found> {
        // Asked before the files: what they hold after the end is all there will ever be.
        let ended = self.ended()?;
        if let Some(read) = self.read(buffer)? {
            return Ok(Found::Bytes(read));
        }
        let base = self.open.as_ref().map(|open| open.base);
        let bases = segment::bases(&self.dir)?;
        // A segment is complete once there is a later one: what came in between is read first.
        if let Some(read) = self.read(buffer)? {
            return Ok(Found::Bytes(read));
        }
        let next = match base {
            Some(base) => bases.iter().copied().find(|next| *next > base),
            None => match bases.iter().rposition(|base| *base <= self.position) {
                Some(found) if self.covers(bases[found], bases.get(found + 1).copied())? => {
                    Some(bases[found])
                }
                Some(found) => bases.get(found + 1).copied(),
                None => bases.first().copied(),
            },
        };
        if let Some(next) = next {
            if !self.enter(next)? {
                // Rotated away just now; look again.
                return self.look(buffer);
            }
            if next > self.position {
                let gap = next - self.position;
                self.position = next;
                return Ok(Found::Gap(gap));
            }
            return self.look(buffer);
        }
        match (ended, self.end) {
            (true, Some(end)) if end > self.position => {
                let gap = end - self.position;
                self.position = end;
                Ok(Found::Gap(gap))
            }
            (true, _) => Ok(Found::End),
            (false, _) => Ok(Found::Nothing),
        }
    }

    /// Moves on by bytes that [`Source::look`] gave.
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.position += bytes as u64;
    }

    /// When the byte at `offset`, within what was last looked at, came.
    pub(crate) fn time_of(&mut self, offset: u64) -> Option<u64> {
        let open = self.open.as_mut()?;
        open.times.time_of(offset)
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(open) = &self.open else { return Ok(None) };
        let read = open.file.read_at(buffer, self.position - open.base)?;
        Ok((read > 0).then_some(read))
    }

    /// True when the position lies in the segment, its end included unless a later segment goes on there.
    fn covers(&self, base: u64, next: Option<u64>) -> io::Result<bool> {
        let end = base + segment::len(&self.dir, base)?;
        Ok(self.position < end
            || (self.position == end && next.is_none_or(|next| next > end))
            || next.is_none())
    }

    fn enter(&mut self, base: u64) -> io::Result<bool> {
        match File::open(segment::log_path(&self.dir, base)) {
            Ok(file) => {
                self.open = Some(Open {
                    base,
                    file,
                    times: Times::open(&self.dir, base),
                });
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn ended(&mut self) -> io::Result<bool> {
        if self.end.is_none()
            && let RunState::Exited(exit) = run::look(&self.run_dir)?
        {
            self.end = Some(exit.log_end);
        }
        Ok(self.end.is_some())
    }
}
