//! Short ways to make what a handler answers with.

use std::{
    collections::HashMap, io, os::unix::process::ExitStatusExt, process::ExitStatus, time::SystemTime,
};

use super::{Created, Deleted, ReaderGone, Which};
use crate::{
    code::{Code, reason},
    wire::{
        ContainerRunning, ContainerState, ContainerTerminated, ContainerWaiting, NodeStatus, PodRef,
        PodState, Presence, Status, container_state::State,
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

    /// Takes what `try_wait` says of the one process that is the pod: its exit ends every container that runs, a
    /// signal gives exit code 128 + signal.
    pub fn waited(&mut self, exit: io::Result<Option<ExitStatus>>) {
        self.observed_at = Some(SystemTime::now().into());
        if let Ok(Some(exit)) = exit {
            let signal = exit.signal().unwrap_or(0);
            let exit_code = exit.code().unwrap_or(128 + signal);
            self.containers
                .iter_mut()
                .for_each(|container| container.end(exit_code, signal));
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

    /// A container that has started now and is ready.
    pub fn running(name: impl Into<String>) -> Self {
        let running = ContainerRunning {
            started_at: Some(SystemTime::now().into()),
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
    pub fn end(&mut self, exit_code: i32, signal: i32) {
        let Some(State::Running(running)) = &self.state else {
            return;
        };
        self.state = Some(State::Terminated(ContainerTerminated {
            exit_code,
            signal,
            reason: if exit_code == 0 { "Completed" } else { "Error" }.to_owned(),
            started_at: running.started_at,
            finished_at: Some(SystemTime::now().into()),
            ..ContainerTerminated::default()
        }));
        self.ready = false;
    }
}

impl Which {
    /// Answers out of the states of all pods: all of them, or those asked for, ABSENT where there is none.
    pub fn of<'a>(self, all: impl Iterator<Item = &'a PodState>) -> Vec<PodState> {
        let Self::Pods(asked) = self else {
            return all.cloned().collect();
        };
        let uid = |state: &'a PodState| state.pod.as_ref().map_or("", |pod| pod.uid.as_str());
        let by_uid: HashMap<&str, &PodState> = all.map(|state| (uid(state), state)).collect();
        let find = |pod: PodRef| match by_uid.get(pod.uid.as_str()) {
            Some(&state) => state.clone(),
            None => PodState::absent(pod),
        };
        asked.into_iter().map(find).collect()
    }
}

impl Created {
    /// A pod that was taken just now, and the site's name for the work.
    pub fn new(job_id: impl ToString) -> Self {
        Self {
            job_id: job_id.to_string(),
            existed: false,
        }
    }
}

impl Deleted {
    /// Of what was there of the pod, if anything.
    pub fn of<T>(found: Option<T>) -> Self {
        Self {
            existed: found.is_some(),
        }
    }
}

impl Status {
    /// The pod cannot run on this plugin; what is wrong with it. Do not quote environments or files: they hold
    /// secrets.
    pub fn bad_pod(problem: impl ToString) -> Self {
        Self::new(Code::InvalidArgument, reason::BAD_POD, problem.to_string())
    }

    /// There is no such log (yet).
    pub fn no_log(problem: impl ToString) -> Self {
        Self::new(Code::NotFound, reason::NO_LOG, problem.to_string())
    }
}

impl NodeStatus {
    /// A node that takes pods, with its capacity as Kubernetes quantities.
    pub fn ready(cpu: impl ToString, memory: impl ToString, pods: impl ToString) -> Self {
        Self {
            ready: true,
            cpu: cpu.to_string(),
            memory: memory.to_string(),
            pods: pods.to_string(),
            ..Self::default()
        }
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
    fn a_container_ends_once() {
        let containers = vec![ContainerState::running("main")];
        let mut pod = PodState::present(PodRef::default(), "1", containers);
        pod.waited(Ok(None));
        assert!(pod.containers[0].ready);
        pod.waited(Ok(Some(ExitStatus::from_raw(9))));
        pod.waited(Ok(Some(ExitStatus::from_raw(0))));
        let Some(State::Terminated(ended)) = &pod.containers[0].state else {
            panic!("it runs")
        };
        assert_eq!(
            (ended.exit_code, ended.signal, ended.reason.as_str()),
            (137, 9, "Error")
        );
        assert!(!pod.containers[0].ready && ended.started_at.is_some());
    }

    #[test]
    fn a_pod_that_was_asked_for_and_is_not_there_is_absent() {
        let all = [PodState::present(PodRef::new("a", "n", "a"), "1", vec![])];
        let presence =
            |which: Which| -> Vec<_> { which.of(all.iter()).iter().map(PodState::presence).collect() };
        assert_eq!(presence(Which::All), [Presence::Present]);
        let asked = Which::Pods(vec![PodRef::new("b", "n", "b"), PodRef::new("a", "n", "a")]);
        assert_eq!(presence(asked), [Presence::Absent, Presence::Present]);
    }
}
