//! Where a log is read from: which run, and from which byte of it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::seek;
use crate::{
    backend::process::spec,
    code::{Code, reason},
    wire::{LogOptions, LogPosition, Status},
};

/// A place in the log of a container.
pub(super) struct Start {
    /// Run and offset; none when no run has a log yet.
    pub(super) at: Option<(u64, u64)>,
    /// The position that was asked for is not of this log.
    pub(super) reset: bool,
    /// A line begins there.
    pub(super) line_start: bool,
}

/// Finds the place that a reader asked for: a position, or what the options say.
pub(super) fn find(
    container_dir: &Path,
    options: &LogOptions,
    asked: Option<LogPosition>,
) -> Result<Start, Status> {
    let epochs = epochs(container_dir).map_err(|error| unreadable(&error))?;
    let mut reset = false;
    let at = match asked {
        Some(asked) => {
            let known = asked.epoch == 0 && asked.offset == 0
                || epochs.contains(&asked.epoch)
                    && exists(container_dir, asked).map_err(|error| unreadable(&error))?;
            reset = !known;
            if known && asked.epoch != 0 {
                Some((asked.epoch, asked.offset))
            } else {
                epochs.last().map(|epoch| (*epoch, 0))
            }
        }
        None => {
            let epoch = if options.previous {
                previous(&epochs)?
            } else {
                epochs.last().copied()
            };
            match epoch {
                Some(epoch) => {
                    let dir = run_dir(container_dir, epoch).join(spec::LOG);
                    Some((epoch, begin(&dir, options).map_err(|error| unreadable(&error))?))
                }
                None => None,
            }
        }
    };
    let before = match at {
        Some((epoch, offset)) => {
            let dir = run_dir(container_dir, epoch).join(spec::LOG);
            seek::byte_before(&dir, offset).map_err(|error| unreadable(&error))?
        }
        None => None,
    };
    Ok(Start {
        at,
        reset,
        line_start: before.is_none_or(|byte| byte == b'\n'),
    })
}

fn begin(dir: &Path, options: &LogOptions) -> io::Result<u64> {
    let mut at = seek::oldest(dir)?;
    if let Some(since) = &options.since_time {
        let seconds = u64::try_from(since.seconds).unwrap_or(0);
        let nanos = seconds
            .saturating_mul(1_000_000_000)
            .saturating_add(u64::try_from(since.nanos).unwrap_or(0));
        at = at.max(seek::since(dir, nanos)?);
    }
    if let Some(lines) = options.tail {
        at = at.max(seek::tail(dir, lines)?);
    }
    Ok(at)
}

/// True when the log reaches to this offset, or once did: what was rotated away is a gap, not another log.
fn exists(container_dir: &Path, at: LogPosition) -> io::Result<bool> {
    let run = run_dir(container_dir, at.epoch);
    let recorded = spec::read_record::<spec::Exit>(&run, spec::EXIT)?.map_or(0, |exit| exit.log_end);
    Ok(at.offset <= recorded.max(seek::end(&run.join(spec::LOG))?))
}

fn previous(epochs: &[u64]) -> Result<Option<u64>, Status> {
    match epochs {
        [.., previous, _] => Ok(Some(*previous)),
        _ => Err(Status::new(
            Code::NotFound,
            reason::NO_LOG,
            "the container has no previous run",
        )),
    }
}

pub(super) fn run_dir(container_dir: &Path, epoch: u64) -> PathBuf {
    container_dir.join(epoch.to_string())
}

/// The runs that have a log, rising.
pub(super) fn epochs(container_dir: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(container_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut epochs = Vec::new();
    for entry in entries {
        let entry = entry?;
        let epoch = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u64>().ok())
            .filter(|epoch| *epoch > 0);
        if let Some(epoch) = epoch
            && entry.path().join(spec::LOG).is_dir()
        {
            epochs.push(epoch);
        }
    }
    epochs.sort_unstable();
    Ok(epochs)
}

pub(super) fn unreadable(error: &io::Error) -> Status {
    match error.kind() {
        io::ErrorKind::NotFound => Status::new(Code::OutOfRange, reason::LOG_GONE, "the log was removed"),
        _ => Status::new(
            Code::Internal,
            reason::PLUGIN_ERROR,
            format!("cannot read the log: {error}"),
        ),
    }
}
