//! Creates: one at a time for a pod, run to the end whatever becomes of the call, remembered by pod uid.
//!
//! A submit that was begun must not be left half done because a link broke: the job would be there and nobody
//! would know it. So each runs in a task of its own, and who asks again for the same pod joins it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Create, Created, Handler, guard::guard};
use crate::{
    code::{Code, reason},
    wire::Status,
};

/// Creates that run at once, joined ones not counted. Calls that were given up leave theirs running, so this is
/// more than the calls open at once. The caller pays: RESOURCE_EXHAUSTED.
const MAX_RUNNING: usize = 256;
/// Pods whose job is remembered; for one that was pushed out the handler is asked again.
const MAX_REMEMBERED: usize = 10_000;
/// A create that takes longer than this is given up: it would hold its pod for ever.
const LIMIT: Duration = Duration::from_secs(3600);

type Outcome = Result<Created, Status>;
type Running = watch::Receiver<Option<Outcome>>;

/// The creates of one plugin, over all its connections.
#[derive(Debug)]
pub(super) struct Creates {
    table: Mutex<Table>,
    tasks: TaskTracker,
    end: CancellationToken,
}

#[derive(Debug, Default)]
struct Table {
    running: HashMap<String, Running>,
    /// Pod uid -> its turn and its job.
    jobs: HashMap<String, (u64, String)>,
    /// Turn -> pod uid, to push out the oldest.
    turns: BTreeMap<u64, String>,
    next_turn: u64,
}

impl Creates {
    pub(super) fn new() -> Self {
        Self {
            table: Mutex::default(),
            tasks: TaskTracker::new(),
            end: CancellationToken::new(),
        }
    }

    /// Creates the pod, or joins the create that runs, or answers with the job that is known.
    ///
    /// # Cancel safety
    /// A create that was begun goes on.
    pub(super) async fn create<H: Handler>(self: &Arc<Self>, handler: &Arc<H>, create: Create) -> Outcome {
        let (mut running, joined) = match self.begin(handler, create)? {
            Begun::Known(created) => return Ok(created),
            Begun::Running { running, joined } => (running, joined),
        };
        let outcome = match running.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        let mut outcome =
            outcome.unwrap_or_else(|| Err(outcome_unknown("the plugin was stopped during the create")));
        if let (Ok(created), true) = (&mut outcome, joined) {
            created.existed = true;
        }
        outcome
    }

    fn begin<H: Handler>(self: &Arc<Self>, handler: &Arc<H>, create: Create) -> Result<Begun, Status> {
        let uid = create.pod.uid.clone();
        let mut table = self.lock();
        if let Some(running) = table.running.get(&uid) {
            return Ok(Begun::Running {
                running: running.clone(),
                joined: true,
            });
        }
        if let Some((_, job_id)) = table.jobs.get(&uid) {
            return Ok(Begun::Known(Created {
                job_id: job_id.clone(),
                existed: true,
            }));
        }
        if table.running.len() >= MAX_RUNNING {
            let text = format!("{MAX_RUNNING} creates are under way; try again later");
            return Err(Status::new(Code::ResourceExhausted, reason::TOO_MANY_CALLS, text).not_started());
        }
        let (done, running) = watch::channel(None);
        table.running.insert(uid.clone(), running.clone());
        drop(table);

        let (creates, handler) = (Arc::clone(self), Arc::clone(handler));
        self.tasks.spawn(async move {
            let create = guard("create", async move { handler.create(create).await });
            let outcome = tokio::select! {
                biased;
                () = creates.end.cancelled() => Err(outcome_unknown("the plugin was stopped during the create")),
                outcome = tokio::time::timeout(LIMIT, create) => {
                    outcome.unwrap_or_else(|_| Err(outcome_unknown("the create took more than an hour")))
                }
            };
            creates.finish(&uid, &outcome);
            let _ = done.send(Some(outcome));
        });
        Ok(Begun::Running {
            running,
            joined: false,
        })
    }

    /// Waits until no create runs for this pod. Cancel safe.
    pub(super) async fn settled(&self, uid: &str) {
        let running = self.lock().running.get(uid).cloned();
        if let Some(mut running) = running {
            // An error says that its task has gone: settled as well.
            let _ = running.wait_for(Option::is_some).await;
        }
    }

    /// Forgets the job of a pod.
    pub(super) fn forget(&self, uid: &str) {
        let mut table = self.lock();
        if let Some((turn, _)) = table.jobs.remove(uid) {
            table.turns.remove(&turn);
        }
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

    fn finish(&self, uid: &str, outcome: &Outcome) {
        let mut table = self.lock();
        table.running.remove(uid);
        // Refusals are not remembered, and an empty job may have got its name when asked again.
        if let Ok(created) = outcome
            && !created.job_id.is_empty()
        {
            table.remember(uid, &created.job_id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // The table is whole after every statement.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Begun {
    Known(Created),
    Running { running: Running, joined: bool },
}

impl Table {
    fn remember(&mut self, uid: &str, job_id: &str) {
        let turn = self.next_turn;
        self.next_turn += 1;
        if let Some((older, _)) = self.jobs.insert(uid.to_owned(), (turn, job_id.to_owned())) {
            self.turns.remove(&older);
        }
        self.turns.insert(turn, uid.to_owned());
        if self.turns.len() > MAX_REMEMBERED
            && let Some((_, oldest)) = self.turns.pop_first()
        {
            self.jobs.remove(&oldest);
        }
    }
}

fn outcome_unknown(text: &str) -> Status {
    Status::new(Code::Unknown, reason::SUBMIT_UNKNOWN, text)
}
