//! The task of one pod: does what its machine says, until the pod was deleted.

use std::{
    ops::ControlFlow,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures::future::select_all;
use tokio::sync::watch;

use super::{
    Shared,
    machine::{Action, Ending, Machine},
    plan::Plan,
    run::{self, Run},
    spec::{Exit, Mount, RunSpec, RunState},
    state,
    store::{self, DeleteRecord, PodRecord},
    takeup, termination, volumes,
};
use crate::wire::{PodEventType, PodState, Status};

/// Names the file of the termination message to a container.
const TERMINATION_LOG: &str = "TOWLINE_TERMINATION_LOG";

/// One pod that runs, has run, or is being ended.
pub(crate) struct Lifecycle {
    plan: Arc<Plan>,
    machine: Machine,
    /// Beside the machine's slots: the present run of each.
    runs: Vec<Option<Run>>,
    dir: PathBuf,
    shared: Arc<Shared>,
    delete: watch::Receiver<Option<DeleteRecord>>,
    told: watch::Sender<PodState>,
    was_told: Option<PodState>,
}

impl Lifecycle {
    /// The task of a pod as it is on disk: fresh, or with runs of an earlier plugin process.
    pub(crate) fn new(
        plan: Arc<Plan>,
        record: &PodRecord,
        shared: Arc<Shared>,
        delete: watch::Receiver<Option<DeleteRecord>>,
    ) -> (Self, watch::Receiver<PodState>) {
        let now = Instant::now();
        let dir = shared.store.pod_dir(&plan.pod.uid);
        let deadline = plan.active_seconds.and_then(|seconds| {
            let active = record.accepted_at.elapsed().unwrap_or_default();
            let left = Duration::from_secs(seconds).saturating_sub(active);
            Some((now.checked_add(left)?, seconds))
        });
        let (mut slots, mut runs) = (Vec::new(), Vec::new());
        for container in &plan.containers {
            let (slot, run) = takeup::find(&dir, container);
            slots.push(slot);
            runs.push(run);
        }
        let mut machine = Machine::new(slots, plan.policy, plan.grace, deadline);
        if let Some(record) = *delete.borrow() {
            machine.end(
                Ending::Deleted,
                record.grace_seconds.map(Duration::from_secs),
                now,
            );
        }
        for (index, run) in runs.iter_mut().enumerate() {
            match run {
                Some(found) => {
                    let seen = found.state();
                    if matches!(seen, RunState::Exited(_)) {
                        *run = None;
                    }
                    machine.observe(index, seen, now);
                }
                None => machine.observe(index, RunState::Exited(takeup::unreadable()), now),
            }
        }
        let (told, watch) = watch::channel(state::pod_state(&plan, &machine, SystemTime::now()));
        (
            Self {
                plan,
                machine,
                runs,
                dir,
                shared,
                delete,
                told,
                was_told: None,
            },
            watch,
        )
    }

    /// Runs the pod until it is deleted.
    pub(crate) async fn run(mut self) {
        self.tell();
        loop {
            loop {
                let actions = self.machine.actions(Instant::now());
                if actions.is_empty() {
                    break;
                }
                for action in actions {
                    self.act(action).await;
                }
            }
            self.tell();
            let deleting = self.delete.borrow_and_update().is_some();
            if deleting && self.machine.is_over() {
                return self.forget().await;
            }
            if self.wait().await.is_break() {
                return;
            }
        }
    }

    /// Waits until something has happened, and takes it in. Breaks when the backend was dropped.
    async fn wait(&mut self) -> ControlFlow<()> {
        let wake_at = self.machine.wake_at();
        let wake = async {
            match wake_at {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            (index, seen) = any_change(&mut self.runs) => {
                if matches!(seen, RunState::Exited(_)) && let Some(run) = self.runs.get_mut(index) {
                    *run = None;
                }
                self.machine.observe(index, seen, Instant::now());
            }
            () = wake => {}
            changed = self.delete.changed() => {
                if changed.is_err() {
                    return ControlFlow::Break(());
                }
                let asked = *self.delete.borrow_and_update();
                if let Some(record) = asked {
                    let grace = record.grace_seconds.map(Duration::from_secs);
                    self.machine.end(Ending::Deleted, grace, Instant::now());
                }
            }
        }
        ControlFlow::Continue(())
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Start { slot, epoch } => match self.start(slot, epoch).await {
                Ok(run) => {
                    if let Some(place) = self.runs.get_mut(slot) {
                        *place = Some(run);
                    }
                }
                Err(status) => {
                    let exit = Exit::not_started(128, "StartError", status.message);
                    self.keep_failure(slot, epoch, &exit);
                    self.machine.observe(slot, RunState::Exited(exit), Instant::now());
                }
            },
            Action::Stop { slot, grace_seconds } => {
                if let Some(Some(run)) = self.runs.get(slot)
                    && let Err(status) = run.stop(grace_seconds)
                {
                    tracing::error!(pod = %self.plan.pod, %status, "a container could not be told to stop");
                }
            }
        }
    }

    async fn start(&self, slot: usize, epoch: u64) -> Result<Run, Status> {
        let Some(container) = self.plan.containers.get(slot) else {
            return Err(failed("the container is not in the pod"));
        };
        let scratch = store::scratch_dir(&self.dir, &container.name);
        volumes::private_dir(&scratch).map_err(|error| failed(&format!("its directory: {error}")))?;
        let mut mounts = volumes::mounts(&store::volumes_dir(&self.dir), container)
            .map_err(|error| failed(&format!("its volumes: {error}")))?;
        let working_dir = match &container.working_dir {
            Some(dir) => dir.clone(),
            None => scratch.to_string_lossy().into_owned(),
        };
        let dir = store::run_dir(&self.dir, &container.name, epoch);
        let message = termination::file(&dir);
        // Without a volume the container has the host's root, and the file is under its variable alone.
        if !mounts.is_empty() {
            let target = PathBuf::from(&container.termination_path);
            if mounts.iter().all(|mount| mount.target != target) {
                mounts.push(Mount {
                    source: message.clone(),
                    target,
                    read_only: false,
                    optional: true,
                });
            }
        }
        let mut env = container.env.clone();
        if env.iter().all(|(name, _)| name != TERMINATION_LOG) {
            env.push((TERMINATION_LOG.to_owned(), message.to_string_lossy().into_owned()));
        }
        let spec = RunSpec {
            argv: container.argv.clone(),
            env,
            working_dir: Some(working_dir),
            mounts,
            grace_seconds: self.plan.grace.as_secs(),
            post_start: container.post_start.clone(),
            pre_stop: container.pre_stop.clone(),
            no_new_privileges: container.no_new_privileges,
            termination: Some(container.termination),
            log_cap: self.shared.config.log_cap,
            log_segment: self.shared.config.log_segment,
            pod_uid: self.plan.pod.uid.clone(),
            container: container.name.clone(),
        };
        // The present run and the one before (`kubectl logs -p`) are kept.
        if epoch > 2 {
            store::discard(&store::run_dir(&self.dir, &container.name, epoch - 2));
        }
        tracing::info!(pod = %self.plan.pod, container = container.name, epoch, "a container starts");
        Run::start(&dir, &spec, &self.shared.config.program).await
    }

    /// A run that could not be begun has ended, also for the next plugin process.
    fn keep_failure(&self, slot: usize, epoch: u64, exit: &Exit) {
        let Some(container) = self.plan.containers.get(slot) else {
            return;
        };
        let dir = store::run_dir(&self.dir, &container.name, epoch);
        // What was begun keeps its own records.
        if !matches!(run::was_begun(&dir), Ok(false)) {
            return;
        }
        if let Err(error) = run::record_failure(&dir, exit) {
            tracing::error!(pod = %self.plan.pod, %error, "the failed start of a container could not be recorded");
        }
    }

    /// Tells the state if it is another one than was told last.
    fn tell(&mut self) {
        let state = state::pod_state(&self.plan, &self.machine, SystemTime::now());
        if let Some(word) = state::event(self.was_told.as_ref(), &state, &self.machine) {
            self.told.send_replace(state.clone());
            self.shared.push(word, state.clone());
            self.was_told = Some(state);
        }
    }

    async fn forget(self) {
        let (shared, uid) = (self.shared.clone(), self.plan.pod.uid.clone());
        let removed = tokio::task::spawn_blocking(move || shared.store.remove(&uid)).await;
        if let Ok(Err(error)) = removed {
            tracing::error!(pod = %self.plan.pod, %error, "a deleted pod's directory could not be removed");
        }
        self.shared.pods().remove(&self.plan.pod.uid);
        tracing::info!(pod = %self.plan.pod, "the pod is gone");
        self.shared.push(
            PodEventType::Deleted,
            state::absent(&self.plan.pod, SystemTime::now()),
        );
    }
}

async fn any_change(runs: &mut [Option<Run>]) -> (usize, RunState) {
    let live: Vec<_> = runs
        .iter_mut()
        .enumerate()
        .filter_map(|(index, run)| {
            run.as_mut()
                .map(|run| Box::pin(async move { (index, run.changed().await) }))
        })
        .collect();
    if live.is_empty() {
        return std::future::pending().await;
    }
    select_all(live).await.0
}

fn failed(text: &str) -> Status {
    Status::new(
        crate::code::Code::Internal,
        crate::code::reason::PLUGIN_ERROR,
        text,
    )
}
