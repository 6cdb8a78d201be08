//! A site: a batch system that outlives everything, and the plugin's handler that speaks to it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::watch, time::Instant};
use towline::{
    code::{Code, reason},
    plugin::{Create, Created, Delete, Deleted, Events, Handler, LogRequest, LogSink, Which},
    wire::{
        ContainerState, ContainerTerminated, LogChunk, LogPosition, LogsEnd, NodeStatus, PodEventType,
        PodRef, PodState, Status, Timestamp, container_state::State,
    },
};

use super::{
    life::Life,
    rng::Rng,
    trace::{note, violated},
};

/// One run of a job's only container.
#[derive(Debug, Clone)]
struct Run {
    began: Instant,
    ended: Option<Instant>,
}

/// A job in the batch system.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) pod: PodRef,
    pub(crate) version: u64,
    pub(crate) exit: Option<i32>,
    pub(crate) cancelled: bool,
    /// The plugin was told to delete the pod.
    deleting: bool,
    /// The plugin has forgotten the pod.
    pub(crate) forgotten: bool,
    runs: Vec<Run>,
    bytes_per_second: u64,
}

impl Job {
    fn len(&self, epoch: usize) -> u64 {
        let run = &self.runs[epoch - 1];
        let time = run.ended.unwrap_or_else(Instant::now) - run.began;
        u64::try_from(time.as_millis()).unwrap() * self.bytes_per_second / 1000
    }

    fn is_over(&self, epoch: usize) -> bool {
        self.runs[epoch - 1].ended.is_some()
    }

    fn state(&self, clock: &Clock) -> PodState {
        let state = match (self.exit, self.runs.last()) {
            (Some(exit_code), _) => State::Terminated(ContainerTerminated {
                exit_code,
                ..ContainerTerminated::default()
            }),
            (None, Some(run)) if run.ended.is_none() => State::Running(Default::default()),
            _ => State::Waiting(Default::default()),
        };
        let container = ContainerState {
            name: "main".into(),
            container_id: format!("v{}", self.version),
            restart_count: u32::try_from(self.runs.len().saturating_sub(1)).unwrap(),
            state: Some(state),
            ..ContainerState::default()
        };
        let mut state = PodState::present(
            self.pod.clone(),
            format!("job-{}", self.pod.name),
            vec![container],
        );
        state.observed_at = Some(clock.now());
        state
    }
}

/// The wall clock of a machine: it is wrong, and runs too fast or too slow.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    began: Instant,
    offset_ms: u64,
    per_mille: u64,
}

impl Clock {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        Self {
            began: Instant::now(),
            offset_ms: rng.between(0, 48 * 3_600_000),
            per_mille: rng.between(900, 1_101),
        }
    }

    fn now(&self) -> Timestamp {
        let passed = u64::try_from(self.began.elapsed().as_millis()).unwrap() * self.per_mille / 1_000;
        let at = 1_700_000_000_000 + self.offset_ms + passed;
        Timestamp {
            seconds: i64::try_from(at / 1_000).unwrap(),
            nanos: i32::try_from(at % 1_000).unwrap() * 1_000_000,
        }
    }
}

/// A log: what stands at an offset depends on the pod, the epoch and the offset.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text(u64);

impl Text {
    pub(crate) fn of(uid: &str, epoch: u64) -> Self {
        Self(uid.bytes().fold(epoch, |salt, byte| {
            salt.wrapping_mul(31).wrapping_add(byte.into())
        }))
    }

    pub(crate) fn at(self, offset: u64) -> u8 {
        (self.0.wrapping_add(offset.wrapping_mul(0x9e37_79b9)) >> 7) as u8
    }
}

/// The batch system: jobs by pod uid. It never fails and never forgets.
#[derive(Debug)]
pub(crate) struct Batch {
    jobs: Mutex<BTreeMap<String, Job>>,
    changed: watch::Sender<u64>,
}

impl Batch {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            jobs: Mutex::default(),
            changed: watch::Sender::new(0),
        })
    }

    pub(crate) fn job(&self, uid: &str) -> Option<Job> {
        self.jobs.lock().unwrap().get(uid).cloned()
    }

    /// Length of a log, and whether no more comes.
    pub(crate) fn log(&self, uid: &str, epoch: u64) -> Option<(u64, bool)> {
        let job = self.job(uid)?;
        let epoch = usize::try_from(epoch)
            .ok()
            .filter(|epoch| (1..=job.runs.len()).contains(epoch))?;
        Some((job.len(epoch), job.is_over(epoch)))
    }

    fn change(&self, uid: &str, change: impl FnOnce(&mut Job)) {
        if let Some(job) = self.jobs.lock().unwrap().get_mut(uid) {
            change(job);
            job.version += 1;
            note(|| format!("job {} is at v{} exit {:?}", job.pod.name, job.version, job.exit));
        }
        self.changed.send_modify(|count| *count += 1);
    }

    /// Accepts a job. A second one for the same pod is the worst that can happen.
    fn submit(self: &Arc<Self>, pod: &PodRef, rng: &mut Rng) {
        let mut jobs = self.jobs.lock().unwrap();
        if let Some(job) = jobs.get(&pod.uid) {
            violated("I4", format!("a second job for {} (first: {job:?})", pod.name));
            return;
        }
        note(|| format!("job {} is accepted", pod.name));
        let job = Job {
            pod: pod.clone(),
            version: 1,
            exit: None,
            cancelled: false,
            deleting: false,
            forgotten: false,
            runs: Vec::new(),
            bytes_per_second: rng.between(50, 20_000),
        };
        jobs.insert(pod.uid.clone(), job);
        drop(jobs);
        self.changed.send_modify(|count| *count += 1);
        tokio::spawn(live(self.clone(), pod.uid.clone(), rng.fork()));
    }

    fn cancel(&self, uid: &str) {
        let cancel = |job: &mut Job| {
            job.cancelled = true;
            job.deleting = true;
        };
        if let Some(job) = self.jobs.lock().unwrap().get_mut(uid) {
            cancel(job);
        }
        self.changed.send_modify(|count| *count += 1);
    }

    fn forget(&self, uid: &str) {
        if let Some(job) = self.jobs.lock().unwrap().get_mut(uid) {
            job.forgotten = true;
            note(|| format!("pod {} is forgotten by its plugin", job.pod.name));
        }
    }
}

/// The life of a job, whatever happens to plugins.
async fn live(batch: Arc<Batch>, uid: String, mut rng: Rng) {
    let mut changed = batch.changed.subscribe();
    let runs = if rng.one_in(4) { 2 } else { 1 };
    let exit = i32::from(rng.one_in(3));
    for run in 1..=runs {
        if !waits(&batch, &mut changed, &uid, rng.millis(100, 8_000)).await {
            break;
        }
        let began = Instant::now();
        batch.change(&uid, |job| job.runs.push(Run { began, ended: None }));
        let cancelled = !waits(&batch, &mut changed, &uid, rng.millis(1_000, 60_000)).await;
        let ended = Some(Instant::now());
        if cancelled {
            tokio::time::sleep(rng.millis(10, 3_000)).await;
            break;
        }
        batch.change(&uid, |job| {
            job.runs[run - 1].ended = ended;
            if run == runs {
                job.exit = Some(exit);
            }
        });
    }
    let ended = Instant::now();
    if batch.job(&uid).is_some_and(|job| job.exit.is_none()) {
        batch.change(&uid, |job| {
            if let Some(run) = job.runs.last_mut() {
                run.ended.get_or_insert(ended);
            }
            job.exit = Some(143);
        });
    }
}

/// False when the job was cancelled meanwhile.
async fn waits(batch: &Batch, changed: &mut watch::Receiver<u64>, uid: &str, time: Duration) -> bool {
    let until = Instant::now() + time;
    loop {
        if batch.job(uid).is_some_and(|job| job.cancelled) {
            return false;
        }
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(until) => return true,
            _ = changed.changed() => {}
        }
    }
}

/// What a site does wrong for a while.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mood {
    /// Longest wait before the batch system accepts, in milliseconds.
    pub(crate) submit_ms: u64,
    /// One submit in so many is accepted though the plugin believes that it failed (toil#5459).
    pub(crate) unsure_in: u64,
    /// One submit in so many is not taken now.
    pub(crate) busy_in: u64,
    /// One status read in so many fails.
    pub(crate) status_fails_in: u64,
    /// Longest wait between reading states and answering, in milliseconds.
    pub(crate) status_ms: u64,
}

/// One process of the plugin.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) batch: Arc<Batch>,
    pub(crate) life: Life,
    pub(crate) rng: Mutex<Rng>,
    pub(crate) mood: Mood,
    /// Asks the batch system before each submit; else only when the plugin says that one was begun before.
    pub(crate) looks_up_always: bool,
    pub(crate) clock: Clock,
}

impl Site {
    fn fork(&self) -> Rng {
        self.rng.lock().unwrap().fork()
    }

    fn known(&self, uid: &str) -> Option<Job> {
        self.batch.job(uid).filter(|job| !job.forgotten)
    }
}

impl Handler for Site {
    async fn create(&self, create: Create) -> Result<Created, Status> {
        self.life.gate().await;
        let mut rng = self.fork();
        let job_id = format!("job-{}", create.pod.name);
        // The job carries the uid as its tag: one that was accepted before is found.
        if (create.resumed || self.looks_up_always) && self.known(&create.pod.uid).is_some() {
            return Ok(Created {
                job_id,
                existed: true,
            });
        }
        if rng.one_in(self.mood.busy_in) {
            let busy = Status::new(Code::ResourceExhausted, reason::QUOTA, "the queue is full");
            return Err(busy.not_started());
        }
        self.life.sleep(rng.millis(1, self.mood.submit_ms)).await;
        self.batch.submit(&create.pod, &mut rng);
        self.life.sleep(rng.millis(1, self.mood.submit_ms)).await;
        if rng.one_in(self.mood.unsure_in) {
            return Err(Status::new(
                Code::Unknown,
                reason::SUBMIT_UNKNOWN,
                "sbatch timed out",
            ));
        }
        Ok(Created {
            job_id,
            existed: false,
        })
    }

    async fn delete(&self, delete: Delete) -> Result<Deleted, Status> {
        self.life.gate().await;
        let existed = self.known(&delete.pod.uid).is_some();
        if existed {
            self.batch.cancel(&delete.pod.uid);
        }
        Ok(Deleted { existed })
    }

    async fn status(&self, which: Which) -> Result<Vec<PodState>, Status> {
        self.life.gate().await;
        let mut rng = self.fork();
        if rng.one_in(self.mood.status_fails_in) {
            return Err(Status::new(Code::Internal, reason::PLUGIN_ERROR, "squeue failed"));
        }
        let states: Vec<PodState> = {
            let jobs = self.batch.jobs.lock().unwrap();
            jobs.values()
                .filter(|job| !job.forgotten)
                .map(|job| job.state(&self.clock))
                .collect()
        };
        let answer = which.of(states.iter());
        self.life.sleep(rng.millis(0, self.mood.status_ms)).await;
        Ok(answer)
    }

    async fn logs(&self, request: LogRequest, mut sink: LogSink) -> Result<LogsEnd, Status> {
        self.life.gate().await;
        let uid = request.pod.uid.clone();
        let unknown = || Status::new(Code::NotFound, reason::POD_NOT_FOUND, "no such pod");
        let (mut epoch, mut offset, mut reset) = (0, 0, false);
        if let Some(start) = request.start.filter(|start| start.epoch != 0) {
            (epoch, offset) = (start.epoch, start.offset);
        }
        let mut first = true;
        loop {
            self.life.gate().await;
            let job = self.known(&uid).ok_or_else(unknown)?;
            let runs = job.runs.len() as u64;
            if epoch > runs {
                (epoch, offset, reset) = (runs, 0, true);
            }
            if epoch == 0 && runs > 0 {
                epoch = runs;
            }
            let (len, over) = match epoch {
                0 => (0, job.exit.is_some()),
                epoch => self.batch.log(&uid, epoch).ok_or_else(unknown)?,
            };
            let to = len.min(offset + 4_000);
            if first || to > offset {
                let text = Text::of(&uid, epoch);
                let data: Bytes = (offset..to).map(|at| text.at(at)).collect();
                let chunk = LogChunk {
                    at: Some(LogPosition { epoch, offset }),
                    next_offset: to,
                    data,
                    reset,
                    ..LogChunk::default()
                };
                sink.send(chunk).await?;
                (first, reset, offset) = (false, false, to);
            } else if over || !request.options.follow {
                return Ok(LogsEnd {
                    next: Some(LogPosition { epoch, offset }),
                    eof: over,
                    reset: false,
                });
            } else {
                tokio::select! {
                    biased;
                    () = sink.cancelled() => return Err(Status::new(Code::Cancelled, "", "the reader has gone")),
                    () = self.life.sleep(Duration::from_millis(500)) => {}
                }
            }
        }
    }

    async fn node(&self) -> NodeStatus {
        self.life.gate().await;
        NodeStatus::ready(4, "8Gi", 100)
    }

    fn attach(&self, events: Events) {
        tokio::spawn(watch_jobs(
            self.batch.clone(),
            self.life.clone(),
            self.clock.clone(),
            events,
        ));
    }
}

/// Tells every change of every job while the process lives; after a start, everything once.
async fn watch_jobs(batch: Arc<Batch>, life: Life, clock: Clock, events: Events) {
    let mut told: BTreeMap<String, u64> = BTreeMap::new();
    let mut changed = batch.changed.subscribe();
    loop {
        if life.is_over() {
            return;
        }
        let jobs = batch.jobs.lock().unwrap().clone();
        for (uid, job) in jobs {
            if job.forgotten {
                continue;
            }
            if told.insert(uid.clone(), job.version) != Some(job.version) {
                events.pod(PodEventType::Updated, job.state(&clock));
            }
            if job.deleting && job.exit.is_some() {
                batch.forget(&uid);
                let mut absent = PodState::absent(job.pod.clone());
                absent.observed_at = Some(clock.now());
                events.pod(PodEventType::Deleted, absent);
            }
        }
        tokio::select! {
            biased;
            () = life.over() => return,
            _ = changed.changed() => {}
        }
    }
}
