//! The termination message: what a container says of its own end, in a file or with the end of its log.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use serde::{Deserialize, Serialize};

use super::log::segment;

/// The file, in the directory of the run.
const FILE: &str = "termination-log";
/// Bytes of the message at most: the kubelet's bound. The end of a longer one is kept.
const MESSAGE_MAX: u64 = 4 << 10;
/// Of a log that stands for the message, bytes and lines at most: the kubelet's bounds.
const LOG_MAX: u64 = 2 << 10;
const LOG_LINES: usize = 80;

/// How a container may say why it ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Termination {
    /// The end of its log stands for a message that it did not write, when it failed (FallbackToLogsOnError).
    pub or_log: bool,
}

impl Termination {
    /// Makes the file.
    pub(crate) fn create(self, run_dir: &Path) -> io::Result<()> {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(file(run_dir))
            .map(drop)
    }

    /// What the container wrote, trimmed; empty when it wrote nothing, or put something else in the file's place.
    pub(crate) fn read(self, run_dir: &Path) -> String {
        // A link would be followed to anywhere, and a FIFO waited for.
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(O_NOFOLLOW | O_NONBLOCK)
            .open(file(run_dir));
        match opened {
            Ok(file) if file.metadata().is_ok_and(|meta| meta.is_file()) => {
                text(&tail(file, MESSAGE_MAX).unwrap_or_default())
            }
            _ => String::new(),
        }
    }
}

/// Where a run's message is.
pub(crate) fn file(run_dir: &Path) -> PathBuf {
    run_dir.join(FILE)
}

/// The end of a log, trimmed.
pub(crate) fn last_words(log_dir: &Path) -> String {
    let mut bytes = Vec::new();
    for base in segment::bases(log_dir).unwrap_or_default().into_iter().rev() {
        let left = LOG_MAX - bytes.len() as u64;
        let opened = File::open(segment::log_path(log_dir, base));
        let Ok(mut earlier) = opened.and_then(|file| tail(file, left)) else {
            break;
        };
        earlier.append(&mut bytes);
        bytes = earlier;
        if bytes.len() as u64 >= LOG_MAX {
            break;
        }
    }
    let text = text(&bytes);
    let lines = text.lines().count();
    text.lines()
        .skip(lines.saturating_sub(LOG_LINES))
        .collect::<Vec<_>>()
        .join("\n")
}

fn tail(mut file: File, most: u64) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn the_end_of_a_long_message_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let message = Termination::default();
        message.create(dir.path()).unwrap();
        assert_eq!(message.read(dir.path()), "");
        fs::write(file(dir.path()), format!("x{}\n", "y".repeat(4095))).unwrap();
        assert_eq!(message.read(dir.path()), "y".repeat(4095));
    }

    #[test]
    fn a_link_a_fifo_or_nothing_in_its_place_is_no_message() {
        let dir = tempfile::tempdir().unwrap();
        let message = Termination::default();
        assert_eq!(message.read(dir.path()), "");
        symlink("/etc/hostname", file(dir.path())).unwrap();
        assert_eq!(message.read(dir.path()), "");
        fs::remove_file(file(dir.path())).unwrap();
        nix::unistd::mkfifo(&file(dir.path()), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(message.read(dir.path()), "");
    }

    #[test]
    fn last_words_are_eighty_lines_of_at_most_two_kibibytes_over_segments() {
        let dir = tempfile::tempdir().unwrap();
        let lines: String = (0..100).map(|n| format!("{n}\n")).collect();
        let (first, second) = lines.split_at(100);
        fs::write(segment::log_path(dir.path(), 0), first).unwrap();
        fs::write(segment::log_path(dir.path(), 100), second).unwrap();
        let said = last_words(dir.path());
        assert_eq!((said.lines().count(), said.lines().next()), (80, Some("20")));
        fs::write(segment::log_path(dir.path(), 290), "z".repeat(5000)).unwrap();
        assert_eq!(last_words(dir.path()), "z".repeat(2048));
    }
}
