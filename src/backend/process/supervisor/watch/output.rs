//! The two pipes of the command: what it says, and whether it was started.

use std::{
    io::{self, Read},
    os::fd::AsFd,
    time::SystemTime,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Failure, Watch};

/// Batches read after the end at most: a process outside may hold the pipe and write for ever.
const DRAIN_BATCHES: usize = 1024;

impl Watch {
    /// One batch; true when there may be more.
    pub(super) fn take_output(&mut self) -> bool {
        let Some(output) = &mut self.output else {
            return false;
        };
        match output.read(&mut self.buffer) {
            Ok(0) => {
                self.output = None;
                false
            }
            Ok(read) => {
                self.log.write(&self.buffer[..read], SystemTime::now());
                true
            }
            Err(error) => error.kind() == io::ErrorKind::Interrupted,
        }
    }

    /// The report pipe is written in one go, or closed by the command's start.
    pub(super) fn take_report(&mut self) {
        let Some(mut report) = self.report.take() else {
            return;
        };
        let mut text = Vec::new();
        let read = report.read_to_end(&mut text);
        if read.is_ok() && text.is_empty() {
            self.begun();
        } else {
            self.failure = Some(serde_json::from_slice(&text).unwrap_or(Failure {
                exit_code: 128,
                reason: "StartError".into(),
                message: "the command could not be started".into(),
            }));
        }
    }

    pub(super) fn drain(&mut self) {
        for _ in 0..DRAIN_BATCHES {
            let Some(output) = &self.output else { return };
            let mut fds = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
            if !matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..)) || !self.take_output() {
                return;
            }
        }
    }
}
