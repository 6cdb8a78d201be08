//! A batch system that outlives every host, and the plugin's handler that speaks to it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::sleep;
use towline::{
    code::{Code, reason},
    plugin::{Create, Created, Delete, Deleted, Events, Handler, LogRequest, LogSink, Which},
    wire::{
        ContainerState, ContainerTerminated, LogChunk, LogPosition, LogsEnd, NodeStatus, PodEventType,
        PodRef, PodState, Status, container_state::State,
    },
};

use super::trace::{note, now, violated};

/// How often the plugin looks what has changed.
const LOOK: Duration = Duration::from_millis(250);

/// A job: what it is follows from the time alone, whatever happens to plugins.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pod: PodRef,
    starts: Duration,
    ends: Duration,
    pub(crate) exit: i32,
    bytes_per_second: u64,
    pub(crate) cancelled: bool,
}

impl Job {
    /// Queued, running, ended.
    pub(crate) fn version(&self) -> u64 {
        1 + u64::from(self.starts <= now()) + u64::from(self.is_over())
    }

    fn is_over(&self) -> bool {
        self.ends <= now()
    }

    /// Length of its log so far.
    pub(crate) fn len(&self) -> u64 {
        let ran = now().min(self.ends).saturating_sub(self.starts);
        u64::try_from(ran.as_millis()).unwrap() * self.bytes_per_second / 1_000
    }

    fn state(&self) -> PodState {
        let version = self.version();
        let state = match version {
            1 => State::Waiting(Default::default()),
            2 => State::Running(Default::default()),
            _ => State::Terminated(ContainerTerminated {
                exit_code: self.exit,
                ..ContainerTerminated::default()
            }),
        };
        let container = ContainerState {
            name: "main".into(),
            container_id: format!("v{version}"),
            state: Some(state),
            ..ContainerState::default()
        };
        let mut state = PodState::present(self.pod.clone(), job_id(&self.pod), vec![container]);
        // The wall's time would make two runs of one seed differ.
        state.observed_at = None;
        state
    }
}

fn job_id(pod: &PodRef) -> String {
    format!("job-{}", pod.name)
}

/// What stands in a pod's log at an offset.
pub(crate) fn text_at(uid: &str, offset: u64) -> u8 {
    let salt = uid
        .bytes()
        .fold(7u64, |salt, byte| salt.wrapping_mul(31).wrapping_add(byte.into()));
    (salt.wrapping_add(offset.wrapping_mul(0x9e37_79b9)) >> 7) as u8
}

/// Jobs by pod uid.
#[derive(Debug, Default)]
pub(crate) struct Batch(Mutex<BTreeMap<String, Job>>);

impl Batch {
    pub(crate) fn job(&self, uid: &str) -> Option<Job> {
        self.0.lock().unwrap().get(uid).cloned()
    }

    /// Takes a job. A second one for the same pod is the worst that can happen.
    fn submit(&self, pod: &PodRef) {
        let mut jobs = self.0.lock().unwrap();
        if jobs.contains_key(&pod.uid) {
            drop(jobs);
            return violated(format!("a second job for {}", pod.name));
        }
        let starts = now() + Duration::from_millis(fastrand::u64(100..5_000));
        let job = Job {
            pod: pod.clone(),
            starts,
            ends: starts + Duration::from_millis(fastrand::u64(5_000..60_000)),
            exit: fastrand::i32(0..3),
            bytes_per_second: fastrand::u64(100..5_000),
            cancelled: false,
        };
        jobs.insert(pod.uid.clone(), job);
        drop(jobs);
        note(format!("{} is submitted", pod.name));
    }

    fn cancel(&self, uid: &str) -> bool {
        match self.0.lock().unwrap().get_mut(uid) {
            Some(job) => {
                job.cancelled = true;
                job.ends = job.ends.min(now());
                job.starts = job.starts.min(job.ends);
                true
            }
            None => false,
        }
    }

    fn all(&self) -> Vec<Job> {
        let mut jobs: Vec<_> = self.0.lock().unwrap().values().cloned().collect();
        jobs.retain(|job| !(job.cancelled && job.is_over()));
        jobs
    }
}

/// One process of a plugin.
#[derive(Debug, Clone)]
pub(crate) struct Site(pub(crate) Arc<Batch>);

impl Handler for Site {
    async fn create(&self, create: Create) -> Result<Created, Status> {
        let answer = |existed| Created {
            job_id: job_id(&create.pod),
            existed,
        };
        // As the contract has it: only a create that may have been submitted before is looked for by its tag.
        if create.resumed && self.0.job(&create.pod.uid).is_some() {
            note(format!("{} is found again", create.pod.name));
            return Ok(answer(true));
        }
        sleep(Duration::from_millis(fastrand::u64(1..2_000))).await;
        self.0.submit(&create.pod);
        sleep(Duration::from_millis(fastrand::u64(1..2_000))).await;
        Ok(answer(false))
    }

    async fn delete(&self, delete: Delete) -> Result<Deleted, Status> {
        let existed = self.0.cancel(&delete.pod.uid);
        note(format!("{} is deleted at its site: {existed}", delete.pod.name));
        Ok(Deleted { existed })
    }

    async fn status(&self, which: Which) -> Result<Vec<PodState>, Status> {
        let states: Vec<_> = self.0.all().iter().map(Job::state).collect();
        sleep(Duration::from_millis(fastrand::u64(0..500))).await;
        Ok(which.of(states.iter()))
    }

    async fn logs(&self, request: LogRequest, mut sink: LogSink) -> Result<LogsEnd, Status> {
        let uid = request.pod.uid.clone();
        let mut offset = request.start.map_or(0, |start| start.offset);
        let mut first = true;
        loop {
            let job = self
                .0
                .job(&uid)
                .ok_or_else(|| Status::new(Code::NotFound, reason::POD_NOT_FOUND, "no such pod"))?;
            let (over, to) = (job.is_over(), job.len().min(offset + 8_000));
            if first || to > offset {
                let data: Bytes = (offset..to).map(|at| text_at(&uid, at)).collect();
                let chunk = LogChunk {
                    at: Some(LogPosition { epoch: 1, offset }),
                    next_offset: to,
                    data,
                    ..LogChunk::default()
                };
                sink.send(chunk).await?;
                (first, offset) = (false, to);
            } else if over || !request.options.follow {
                return Ok(LogsEnd {
                    next: Some(LogPosition { epoch: 1, offset }),
                    eof: over,
                    reset: false,
                });
            } else {
                tokio::select! {
                    biased;
                    () = sink.cancelled() => return Err(Status::new(Code::Cancelled, "", "the reader has gone")),
                    () = sleep(LOOK) => {}
                }
            }
        }
    }

    async fn node(&self) -> NodeStatus {
        NodeStatus::ready(4, "8Gi", 100)
    }

    fn attach(&self, events: Events) {
        tokio::spawn(watch_jobs(self.0.clone(), events));
    }
}

/// Tells every change of every job; after a start, everything once.
async fn watch_jobs(batch: Arc<Batch>, events: Events) {
    let mut told: BTreeMap<String, u64> = BTreeMap::new();
    loop {
        let jobs = batch.all();
        for gone in told.keys().cloned().collect::<Vec<_>>() {
            if !jobs.iter().any(|job| job.pod.uid == gone)
                && let Some(job) = batch.job(&gone)
            {
                told.remove(&gone);
                let mut absent = PodState::absent(job.pod);
                absent.observed_at = None;
                events.pod(PodEventType::Deleted, absent);
            }
        }
        for job in jobs {
            if told.insert(job.pod.uid.clone(), job.version()) != Some(job.version()) {
                events.pod(PodEventType::Updated, job.state());
            }
        }
        sleep(LOOK).await;
    }
}
