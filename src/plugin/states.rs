//! Short ways to make what a handler answers with.

use std::time::SystemTime;

use bytes::Bytes;

use super::ReaderGone;
use crate::{
    code::Code,
    limits,
    wire::{
        ContainerRunning, ContainerState, ContainerTerminated, ContainerWaiting, LogChunk, LogPosition,
        PodRef, PodState, Presence, Status, container_state::State,
    },
};

impl PodState {
    /// The state of a pod that the plugin has, observed now.
    pub fn present(pod: PodRef, job_id: impl Into<String>, containers: Vec<ContainerState>) -> Self {
        Self {
            pod: Some(pod),
            job_id: job_id.into(),
            presence: Presence::Present.into(),
            containers,
            observed_at: Some(SystemTime::now().into()),
            ..Self::default()
        }
    }

    /// The plugin is sure that it does not have this pod.
    pub fn absent(pod: PodRef) -> Self {
        Self {
            pod: Some(pod),
            presence: Presence::Absent.into(),
            observed_at: Some(SystemTime::now().into()),
            ..Self::default()
        }
    }
}

impl ContainerState {
    /// A container that does not run yet, with one CamelCase word why.
    pub fn waiting(name: impl Into<String>, reason: impl Into<String>) -> Self {
        let waiting = ContainerWaiting {
            reason: reason.into(),
            ..ContainerWaiting::default()
        };
        Self {
            name: name.into(),
            state: Some(State::Waiting(waiting)),
            ..Self::default()
        }
    }

    /// A container that runs and is ready.
    pub fn running(name: impl Into<String>, since: SystemTime) -> Self {
        let running = ContainerRunning {
            started_at: Some(since.into()),
        };
        Self {
            name: name.into(),
            ready: true,
            started: true,
            state: Some(State::Running(running)),
            ..Self::default()
        }
    }

    /// A running container ends now and will not be started again: `Completed` with exit code 0, else `Error`.
    /// One that does not run stays as it is.
    pub fn end(&mut self, exit_code: i32) {
        let Some(State::Running(running)) = &self.state else {
            return;
        };
        self.state = Some(State::Terminated(ContainerTerminated {
            exit_code,
            reason: if exit_code == 0 { "Completed" } else { "Error" }.to_owned(),
            started_at: running.started_at,
            finished_at: Some(SystemTime::now().into()),
            ..ContainerTerminated::default()
        }));
        self.ready = false;
    }
}

impl LogChunk {
    /// Cuts log bytes, without prefixes, that start at `offset` of the log `epoch` into chunks to send. No bytes
    /// give one empty chunk: the open acknowledgement.
    pub fn cut(epoch: u64, offset: u64, data: impl Into<Bytes>) -> impl Iterator<Item = Self> + Send {
        let (mut rest, mut offset, mut first) = (data.into(), offset, true);
        std::iter::from_fn(move || {
            if rest.is_empty() && !std::mem::take(&mut first) {
                return None;
            }
            first = false;
            let data = rest.split_to(rest.len().min(limits::LOG_CHUNK));
            let at = Some(LogPosition { epoch, offset });
            offset += data.len() as u64;
            Some(Self {
                at,
                next_offset: offset,
                data,
                ..Self::default()
            })
        })
    }
}

/// So that a handler may leave with `?` when its reader has gone.
impl From<ReaderGone> for Status {
    fn from(gone: ReaderGone) -> Self {
        Self::new(Code::Cancelled, "", gone.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_cut_without_a_gap_and_none_give_one_empty_chunk() {
        let sizes = |len: usize| -> Vec<_> {
            LogChunk::cut(1, 5, vec![b'x'; len])
                .map(|chunk| (chunk.at.map_or(0, |at| at.offset), chunk.next_offset))
                .collect()
        };
        assert_eq!(sizes(0), [(5, 5)]);
        assert_eq!(sizes(3), [(5, 8)]);
        assert_eq!(sizes(limits::LOG_CHUNK + 1), [(5, 32_773), (32_773, 32_774)]);
    }

    #[test]
    fn a_container_ends_once() {
        let mut container = ContainerState::running("main", SystemTime::UNIX_EPOCH);
        container.end(3);
        container.end(0);
        let Some(State::Terminated(ended)) = container.state else {
            panic!("it runs")
        };
        assert_eq!(
            (ended.exit_code, ended.reason.as_str(), container.ready),
            (3, "Error", false)
        );
        assert_eq!(ended.started_at, Some(SystemTime::UNIX_EPOCH.into()));
    }
}
