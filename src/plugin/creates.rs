//! Creates: one at a time for a pod, run to the end whatever becomes of the call, remembered by pod uid.
//!
//! A submit that was begun must not be left half done because a link broke: the job would be there and nobody
//! would know it. So each that is not done at once runs in a task of its own, and who asks again for the same pod joins it.
//!
//! ```text
//! unknown -> SUBMITTING (durable) -> handler -> JOB (durable) -> answer
//!    ^           |    ^                |
//!    |  refused  |    +-- not known ---+        a create of a pod in SUBMITTING is asked again as `resumed`
//!    +-----------+--------------------- delete
//! ```

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{
    Create, Created, Handler,
    guard::guard,
    journal::{Journal, Record, Ticket},
    remembered::Remembered,
};
use crate::{
    code::{Code, reason},
    connection::told::Told,
    planted::{self, Bug},
    wire::Status,
};

/// Creates that run at once, joined ones not counted. Calls that were given up leave theirs running, so this is
/// more than the calls open at once. The caller pays: RESOURCE_EXHAUSTED.
const MAX_RUNNING: usize = 256;
/// A create that takes longer than this is given up: it would hold its pod for ever.
const LIMIT: Duration = Duration::from_secs(3600);

type Outcome = Result<Created, Status>;
/// Told when it has ended. Who joins it is answered in the order of the calls.
type Running = Arc<Told<Option<Outcome>>>;

/// The creates of one plugin, over all its connections.
#[derive(Debug)]
pub(super) struct Creates {
    table: Mutex<Table>,
    tasks: TaskTracker,
    end: CancellationToken,
    journal: OnceLock<Journal>,
}

#[derive(Debug, Default)]
struct Table {
    running: HashMap<Arc<str>, Running>,
    remembered: Remembered,
}

impl Creates {
    pub(super) fn new() -> Self {
        Self {
            table: Mutex::default(),
            tasks: TaskTracker::new(),
            end: CancellationToken::new(),
            journal: OnceLock::new(),
        }
    }

    /// Goes on with what the journal says of pods. Before the first create.
    pub(super) fn keep_in(&self, journal: Journal) {
        let mut table = self.lock();
        for (uid, record) in journal.pods() {
            table.remembered.put(None, &uid.into(), record);
        }
        drop(table);
        let _ = self.journal.set(journal);
    }

    /// Ends the running creates when it is dropped.
    pub(super) fn end_on_drop(&self) -> DropGuard {
        self.end.clone().drop_guard()
    }

    /// Creates the pod, or joins the create that runs, or answers with the job that is known.
    ///
    /// # Cancel safety
    /// A create that was begun goes on.
    pub(super) async fn create<H: Handler>(self: &Arc<Self>, handler: &Arc<H>, create: Create) -> Outcome {
        let (running, joined) = match self.begin(handler, create)? {
            Begun::Known(job_id, ticket) => {
                self.durable(ticket).await.map_err(job_not_kept)?;
                return Ok(Created {
                    job_id,
                    existed: true,
                });
            }
            Begun::Running { running, joined } => (running, joined),
        };
        let outcome = running.wait_for(Option::is_some).await;
        let mut outcome = outcome.unwrap_or_else(stopped);
        if let (Ok(created), true) = (&mut outcome, joined) {
            created.existed = true;
        }
        outcome
    }

    fn begin<H: Handler>(self: &Arc<Self>, handler: &Arc<H>, mut create: Create) -> Result<Begun, Status> {
        let uid: Arc<str> = create.pod.uid.as_str().into();
        let mut table = self.lock();
        if let Some(running) = table.running.get(&uid)
            && !planted::is(Bug::CreatesNotJoined)
        {
            return Ok(Begun::Running {
                running: running.clone(),
                joined: true,
            });
        }
        match table.remembered.get(&uid) {
            Some((Record::Job(job_id), ticket)) => return Ok(Begun::Known(job_id.clone(), ticket)),
            Some((Record::Submitting, _)) => create.resumed = true,
            None => {}
        }
        if let Some(broken) = self.journal.get().and_then(Journal::broken) {
            return Err(not_ready(&broken));
        }
        if table.running.len() >= MAX_RUNNING {
            let text = format!("{MAX_RUNNING} creates are under way; try again later");
            return Err(Status::new(Code::ResourceExhausted, reason::TOO_MANY_CALLS, text).not_started());
        }
        let running = Running::default();
        table.running.insert(uid.clone(), running.clone());
        let journal = (self.journal.get()).filter(|_| !planted::is(Bug::SubmitNotRecorded));
        let ticket = table.remembered.put(journal, &uid, Record::Submitting);
        drop(table);

        let (creates, handler) = (Arc::clone(self), Arc::clone(handler));
        let mut landing = Landing {
            creates: creates.clone(),
            uid: uid.clone(),
            running: running.clone(),
            outcome: None,
        };
        let mut work = Box::pin(async move {
            tokio::select! {
                biased;
                () = creates.end.cancelled() => stopped(),
                outcome = creates.run(handler, create, uid, ticket) => outcome,
            }
        });
        // One that is done at once needs no task.
        match (&mut work).now_or_never() {
            Some(outcome) => landing.end(outcome),
            None => drop(self.tasks.spawn(async move { landing.end(work.await) })),
        }
        Ok(Begun::Running {
            running,
            joined: false,
        })
    }

    /// One create, each step durable before the next.
    async fn run<H: Handler>(
        &self,
        handler: Arc<H>,
        create: Create,
        uid: Arc<str>,
        ticket: Ticket,
    ) -> Outcome {
        let resumed = create.resumed;
        if let Err(broken) = self.durable(ticket).await {
            self.refused(&uid, resumed);
            return Err(not_ready(&broken));
        }
        let work = guard("create", async move { handler.create(create).await });
        let outcome = tokio::time::timeout(LIMIT, work)
            .await
            .unwrap_or_else(|_| Err(outcome_unknown("the create took more than an hour")));
        match &outcome {
            // One without a job yet may have got its name when asked again.
            Ok(created) if created.job_id.is_empty() => {}
            Ok(created) => {
                let job = Record::Job(created.job_id.clone());
                let ticket = self.lock().remembered.put(self.journal.get(), &uid, job);
                self.durable(ticket).await.map_err(job_not_kept)?;
            }
            Err(status) if nothing_begun(status) => self.refused(&uid, resumed),
            Err(_) => {}
        }
        outcome
    }

    /// Refusals are not remembered. Of an earlier attempt that was left open nothing is known by them.
    fn refused(&self, uid: &str, resumed: bool) {
        if !resumed {
            self.lock().remembered.remove(self.journal.get(), uid);
        }
    }

    /// Waits until no create runs for this pod. Cancel safe.
    pub(super) async fn settled(&self, uid: &str) {
        let running = self.lock().running.get(uid).cloned();
        if let Some(running) = running {
            running.wait_for(Option::is_some).await;
        }
    }

    /// Forgets the job of a pod that was deleted.
    ///
    /// # Errors
    /// UNAVAILABLE when that cannot be written down: the delete is to be repeated.
    pub(super) async fn forget(&self, uid: &str) -> Result<(), Status> {
        let forgotten = self.lock().remembered.remove(self.journal.get(), uid);
        // A repeated delete waits for what the first has recorded.
        let ticket = forgotten.or_else(|| self.journal.get().map(Journal::recorded));
        self.durable(ticket.unwrap_or_default()).await.map_err(|broken| {
            let text = format!("the pod was ended, but that cannot be kept: {broken}");
            Status::new(Code::Unavailable, reason::NOT_READY, text)
        })
    }

    /// Lets the running creates finish until the deadline, then ends them.
    pub(super) async fn stop(&self, deadline: tokio::time::Instant) {
        self.tasks.close();
        if tokio::time::timeout_at(deadline, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                creates = self.tasks.len(),
                "creates did not finish in time; their outcome is not known"
            );
            self.end.cancel();
        }
    }

    async fn durable(&self, ticket: Ticket) -> Result<(), Arc<str>> {
        match self.journal.get() {
            Some(journal) => journal.durable(ticket).await,
            None => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // The table is whole after every statement.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Begun {
    Known(String, Ticket),
    Running { running: Running, joined: bool },
}

/// Tells the end of a create also when its task is dropped or panics.
struct Landing {
    creates: Arc<Creates>,
    uid: Arc<str>,
    running: Running,
    outcome: Option<Outcome>,
}

impl Landing {
    fn end(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let outcome = self.outcome.take().unwrap_or_else(stopped);
        self.creates.lock().running.remove(&self.uid);
        self.running.change(|told| *told = Some(outcome));
    }
}

fn stopped() -> Outcome {
    Err(outcome_unknown("the plugin was stopped during the create"))
}

/// Whether a failed create has surely begun nothing.
fn nothing_begun(status: &Status) -> bool {
    let refusal = matches!(
        status.kind(),
        Code::InvalidArgument | Code::FailedPrecondition | Code::Unimplemented
    );
    status.not_started || refusal
}

fn outcome_unknown(text: &str) -> Status {
    Status::new(Code::Unknown, reason::SUBMIT_UNKNOWN, text)
}

/// The hub asks for the state then, which tells the job.
fn job_not_kept(broken: Arc<str>) -> Status {
    outcome_unknown(&format!(
        "the pod was submitted, but its job cannot be kept: {broken}"
    ))
}

fn not_ready(broken: &str) -> Status {
    // It may pass: a hub repeats this one, and does not fail the pod for good as a refusal would.
    Status::new(Code::Unavailable, reason::NOT_READY, broken).not_started()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::{
        connection::LogSink,
        plugin::{Delete, Deleted, LogRequest, Which},
        wire::{LogsEnd, NodeStatus, PodRef, PodState},
    };

    /// Notes that it was asked, and never answers.
    #[derive(Default)]
    struct Asked(AtomicBool);

    impl Handler for Asked {
        async fn create(&self, _: Create) -> Result<Created, Status> {
            self.0.store(true, Ordering::Relaxed);
            std::future::pending().await
        }
        async fn delete(&self, _: Delete) -> Result<Deleted, Status> {
            std::future::pending().await
        }
        async fn status(&self, _: Which) -> Result<Vec<PodState>, Status> {
            std::future::pending().await
        }
        async fn logs(&self, _: LogRequest, _: LogSink) -> Result<LogsEnd, Status> {
            std::future::pending().await
        }
        async fn node(&self) -> NodeStatus {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn a_create_that_comes_after_the_end_is_not_begun() {
        let (creates, handler) = (Arc::new(Creates::new()), Arc::new(Asked::default()));
        drop(creates.end_on_drop());
        let create = Create {
            pod: PodRef::new("11111111-2222-3333-4444-555555555555", "default", "late"),
            payload: bytes::Bytes::new(),
            attempt: 1,
            metadata: HashMap::new(),
            resumed: false,
        };
        assert_eq!(creates.create(&handler, create).await, stopped());
        assert!(!handler.0.load(Ordering::Relaxed));
    }
}
