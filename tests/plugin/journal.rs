//! The plugin's journal at work: killed and started again on the same disk, and with a disk that fails.

use tokio::sync::Notify;
use towline::plugin::journal::memory::Medium;

use super::*;

/// Where a create stops for ever.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    BeforeSubmit,
    AfterSubmit,
}

/// A batch system that outlives its plugin, and finds jobs by the uid that they are tagged with.
#[derive(Default)]
struct Site {
    /// Pod uids in the order of their submits.
    jobs: Mutex<Vec<String>>,
    /// What is told of each pod at the start of a plugin.
    states: Mutex<Vec<PodState>>,
    stop: Mutex<Option<Stop>>,
    stopped: Notify,
    calls: AtomicUsize,
}

impl Site {
    fn jobs_of(&self, uid: &str) -> usize {
        let jobs = self.jobs.lock().unwrap();
        jobs.iter().filter(|job| *job == uid).count()
    }
}

/// A plugin's handler for it, new for each process.
struct Batch {
    site: Arc<Site>,
    events: OnceLock<Events>,
}

impl Batch {
    async fn stop_at(&self, stop: Stop) {
        if *self.site.stop.lock().unwrap() == Some(stop) {
            self.site.stopped.notify_one();
            pending::<()>().await;
        }
    }

    fn push(&self, state: PodState) {
        self.events.get().unwrap().pod(PodEventType::Updated, state);
    }
}

impl Handler for Batch {
    async fn create(&self, create: Create) -> Result<Created, Status> {
        self.site.calls.fetch_add(1, Ordering::SeqCst);
        let uid = create.pod.uid;
        if create.pod.name == "lost" {
            // It was submitted, but the answer of the batch system was lost.
            if !create.resumed {
                self.site.jobs.lock().unwrap().push(uid);
                return Err(Status::new(Code::Unknown, "SUBMIT_UNKNOWN", "no answer"));
            }
        }
        self.stop_at(Stop::BeforeSubmit).await;
        if !(create.resumed && self.site.jobs_of(&uid) > 0) {
            self.site.jobs.lock().unwrap().push(uid.clone());
        }
        self.stop_at(Stop::AfterSubmit).await;
        Ok(Created::new(format!("job-of-{uid}")))
    }
    async fn delete(&self, delete: Delete) -> Result<Deleted, Status> {
        self.site
            .jobs
            .lock()
            .unwrap()
            .retain(|job| *job != delete.pod.uid);
        Ok(Deleted { existed: true })
    }
    async fn status(&self, which: Which) -> Result<Vec<PodState>, Status> {
        Ok(which.of(self.site.states.lock().unwrap().iter()))
    }
    async fn logs(&self, request: LogRequest, sink: LogSink) -> Result<LogsEnd, Status> {
        request.answer("", sink).await
    }
    async fn node(&self) -> NodeStatus {
        NodeStatus::ready("1", "1Gi", "5")
    }
    fn attach(&self, events: Events) {
        assert!(self.events.set(events).is_ok());
        let states = self.site.states.lock().unwrap().clone();
        states.into_iter().for_each(|state| self.push(state));
    }
}

/// A process of the plugin.
fn start(site: &Arc<Site>, change: impl FnOnce(Plugin<Arc<Batch>>) -> Plugin<Arc<Batch>>) -> Play<Batch> {
    let batch = Arc::new(Batch {
        site: Arc::clone(site),
        events: OnceLock::new(),
    });
    let plugin = Plugin::new(PluginConfig::new("ws://hub", "site"), Arc::clone(&batch));
    Play::start(batch, change(plugin), [])
}

fn start_on(site: &Arc<Site>, medium: &Medium) -> Play<Batch> {
    let disk = medium.disk();
    start(site, |plugin| plugin.with_disk(disk))
}

/// Kills a process: nothing of it goes on.
async fn kill<H>(play: Play<H>) {
    play.run.abort();
    assert!(play.run.await.unwrap_err().is_cancelled());
}

fn delete(uid: &str) -> Request {
    ask(request::Op::DeletePod(DeletePod {
        pod: Some(pod(uid, "a")),
        ..DeletePod::default()
    }))
}

fn epoch(accepted: &Accepted<Memory>) -> u64 {
    accepted.register.outbox.as_ref().unwrap().epoch
}

#[tokio::test(start_paused = true)]
async fn wherever_a_create_is_killed_its_pod_runs_once() {
    // The first write is the fresh log, the second says that a submit begins, the third its job.
    let writes = (1..=3).flat_map(|write| [0, 10, usize::MAX].map(|keep| (Some((write, keep)), None)));
    let stops = [Stop::BeforeSubmit, Stop::AfterSubmit].map(|stop| (None, Some(stop)));
    for (write, stop) in writes.chain(stops) {
        let (site, medium) = (Arc::new(Site::default()), Medium::new());
        if let Some((write, keep)) = write {
            medium.crash_at(write, keep);
        }
        *site.stop.lock().unwrap() = stop;
        let mut play = start_on(&site, &medium);
        let hub = play.link().await;
        let killed = async {
            tokio::select! {
                () = medium.crashed() => {}
                () = site.stopped.notified() => {}
            }
            kill(play).await;
        };
        let (lost, ()) = tokio::join!(hub.call(create("u1", "a")), killed);
        assert_eq!(lost.unwrap_err().reason, "SESSION_LOST", "{write:?}");
        *site.stop.lock().unwrap() = None;

        let mut play = start_on(&site, &medium);
        let hub = play.link().await;
        let (job, _) = created(hub.call(create("u1", "a")).await.unwrap());
        assert_eq!(job, "job-of-u1");
        assert_eq!(site.jobs_of("u1"), 1, "crash in write {write:?}");
        kill(play).await;

        // Its job was durable before it was answered.
        let calls = site.calls.load(Ordering::SeqCst);
        let mut play = start_on(&site, &medium);
        let hub = play.link().await;
        let known = created(hub.call(create("u1", "a")).await.unwrap());
        assert_eq!(known, ("job-of-u1".to_owned(), true));
        assert_eq!(site.calls.load(Ordering::SeqCst), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_of_unknown_outcome_is_resumed_when_it_comes_again() {
    let (site, medium) = (Arc::new(Site::default()), Medium::new());
    for restart in [false, true] {
        let mut play = start_on(&site, &medium);
        let hub = play.link().await;
        let uid = format!("u{restart}");
        let unknown = hub.call(create(&uid, "lost")).await.unwrap_err();
        assert_eq!(unknown.reason, "SUBMIT_UNKNOWN");
        let (play, hub) = if restart {
            kill(play).await;
            let mut play = start_on(&site, &medium);
            let hub = play.link().await;
            (play, hub)
        } else {
            (play, hub)
        };
        created(hub.call(create(&uid, "lost")).await.unwrap());
        assert_eq!(site.jobs_of(&uid), 1);
        kill(play).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_killed_plugin_goes_on_where_its_outbox_stood_and_tells_each_state_once() {
    let (site, medium) = (Arc::new(Site::default()), Medium::new());
    let mut play = start_on(&site, &medium);
    let accepted = play.registered().await;
    let (first, jobs) = (epoch(&accepted), accepted.register.jobs_epoch);
    let hub = play.welcome(accepted, EventAck::default());
    for uid in ["u1", "u2", "u3"] {
        play.pods.push(state(uid, 1));
    }
    for seq in 1..=3 {
        assert_eq!(play.event().await.0, seq);
    }
    // The ack is not written down before the kill.
    hub.send_ack(EventAck { epoch: first, seq: 1 });
    medium.hold();
    play.pods.push(state("u4", 1));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(play.events.is_empty(), "what is not durable is not sent");
    kill(play).await;
    medium.crash(0);
    medium.release();

    // The next process finds all four pods as they were, and one that ended meanwhile.
    *site.states.lock().unwrap() = ["u1", "u2", "u3", "u4"].map(|uid| state(uid, 1)).to_vec();
    site.states.lock().unwrap().push(state("u2", 2));
    let mut play = start_on(&site, &medium);
    let accepted = play.registered().await;
    assert_eq!((epoch(&accepted), accepted.register.jobs_epoch), (first, jobs));
    play.welcome(accepted, EventAck { epoch: first, seq: 1 });
    play.pods.push(state("u5", 1));
    let mut told = Vec::new();
    for _ in 0..4 {
        let event = play.events.recv().await.unwrap();
        assert_eq!(event.epoch, first);
        let state = event.state.unwrap();
        told.push((event.seq, state.pod.unwrap().uid, state.job_id));
    }
    let expected = [(3, "u3", "1"), (4, "u4", "1"), (5, "u2", "2"), (6, "u5", "1")];
    let expected = expected.map(|(seq, uid, version)| (seq, uid.to_owned(), version.to_owned()));
    assert_eq!(told, expected);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(play.events.is_empty());
}

#[tokio::test(start_paused = true)]
async fn states_are_told_as_of_a_number_that_is_durable() {
    let (site, medium) = (Arc::new(Site::default()), Medium::new());
    let mut play = start_on(&site, &medium);
    let hub = play.link().await;
    play.pods.push(state("u1", 1));
    assert_eq!(play.event().await.0, 1);
    medium.hold();
    play.pods.push(state("u1", 2));
    let status = || {
        ask(request::Op::GetStatus(GetStatus {
            all: true,
            ..GetStatus::default()
        }))
    };
    let as_of = async || match hub.call(status()).await.unwrap().result {
        Some(response::Result::GetStatus(page)) => page.as_of,
        other => panic!("not a status: {other:?}"),
    };
    assert_eq!(as_of().await, 1);
    medium.release();
    assert_eq!(play.event().await, (2, "2".to_owned()));
    assert_eq!(as_of().await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_cannot_write_takes_no_pods_and_recovers() {
    let (site, medium) = (Arc::new(Site::default()), Medium::new());
    let mut play = start_on(&site, &medium);
    let hub = play.link().await;
    created(hub.call(create("u1", "a")).await.unwrap());

    for full in [false, true] {
        if full {
            medium.set_room(Some(0));
        } else {
            medium.fail(u64::MAX);
        }
        play.pods.push(state("u1", u32::from(full) + 1));
        let node = play.nodes.recv().await.unwrap();
        let start = "the plugin's state cannot be written to memory: ";
        assert!(!node.ready && node.reason.starts_with(start), "{node:?}");
        assert_eq!(node.cpu, "1", "what the node has stays as it is");
        // The handler may say what it likes.
        let events = play.pods.events.get().unwrap().clone();
        events.node(NodeStatus::ready("2", "1Gi", "5"));
        let node = play.nodes.recv().await.unwrap();
        assert_eq!((node.ready, node.cpu.as_str()), (false, "2"));

        let calls = site.calls.load(Ordering::SeqCst);
        let refused = hub.call(create("u2", "a")).await.unwrap_err();
        assert_eq!(
            (refused.kind(), refused.reason.as_str(), refused.not_started),
            (Code::Unavailable, "NOT_READY", true)
        );
        assert!(refused.message.starts_with(start), "{refused}");
        assert_eq!(site.calls.load(Ordering::SeqCst), calls);
        // Of a pod that is known nothing has to be written.
        assert!(created(hub.call(create("u1", "a")).await.unwrap()).1);
        let kept = hub.call(delete("u9")).await.unwrap_err();
        assert_eq!(kept.kind(), Code::Unavailable);
        assert!(play.events.is_empty());

        medium.fail(0);
        medium.set_room(None);
        let node = play.nodes.recv().await.unwrap();
        assert_eq!(node, NodeStatus::ready("2", "1Gi", "5"));
        assert_eq!(play.event().await.1, (u32::from(full) + 1).to_string());
        created(hub.call(create("u2", "a")).await.unwrap());
        hub.call(delete("u2")).await.unwrap();
        events.node(NodeStatus::ready("1", "1Gi", "5"));
        assert!(play.nodes.recv().await.unwrap().ready);
    }
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_cannot_write_registers_as_not_ready() {
    let (site, medium) = (Arc::new(Site::default()), Medium::new());
    medium.fail(u64::MAX);
    let mut play = start_on(&site, &medium);
    let accepted = play.registered().await;
    let node = accepted.register.node_status.clone().unwrap();
    assert!(
        !node.ready && node.reason.ends_with("the sync failed"),
        "{node:?}"
    );
    play.welcome(accepted, EventAck::default());
    medium.fail(0);
    assert!(play.nodes.recv().await.unwrap().ready);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_pod_is_forgotten_for_good_and_only_after_its_end() {
    let (site, medium) = (Arc::new(Site::default()), Medium::new());
    let mut play = start_on(&site, &medium);
    let hub = play.link().await;
    created(hub.call(create("u1", "a")).await.unwrap());
    hub.call(delete("u1")).await.unwrap();
    kill(play).await;
    let mut play = start_on(&site, &medium);
    let hub = play.link().await;
    assert!(!created(hub.call(create("u1", "a")).await.unwrap()).1);
    assert_eq!(site.jobs_of("u1"), 1);

    // The end was written down, but the plugin was killed before it could say so.
    medium.crash_at(medium.writes() + 1, usize::MAX);
    let killed = async {
        medium.crashed().await;
        kill(play).await;
    };
    let (lost, ()) = tokio::join!(hub.call(delete("u1")), killed);
    assert!(lost.is_err());
    let mut play = start_on(&site, &medium);
    let hub = play.link().await;
    hub.call(delete("u1")).await.unwrap();
    assert_eq!(site.jobs_of("u1"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_new_epoch_for_a_hub_that_is_ahead_is_kept_too() {
    let (site, medium) = (Arc::new(Site::default()), Medium::new());
    let mut play = start_on(&site, &medium);
    play.pods.push(state("u1", 1));
    let accepted = play.registered().await;
    let old = epoch(&accepted);
    play.welcome(accepted, EventAck { epoch: old, seq: 9 });
    let accepted = play.registered().await;
    let new = epoch(&accepted);
    assert_ne!(new, old);
    play.welcome(accepted, EventAck { epoch: old, seq: 9 });
    assert_eq!(play.event().await, (1, "1".to_owned()));
    kill(play).await;
    let mut play = start_on(&site, &medium);
    let accepted = play.registered().await;
    assert_eq!(epoch(&accepted), new);
    play.welcome(accepted, EventAck { epoch: new, seq: 0 });
    assert_eq!(play.event().await, (1, "1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_state_directory_holds_over_a_stop_and_serves_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let site = Arc::new(Site::default());
    let link = dir.path().join("link");
    let run = || {
        let mut config = PluginConfig::new("ws://hub", "site");
        config.state_dir = Some(link.clone());
        let batch = Arc::new(Batch {
            site: Arc::clone(&site),
            events: OnceLock::new(),
        });
        let plugin = Plugin::new(config, Arc::clone(&batch));
        Play::start(batch, plugin, [])
    };
    let mut play = run();
    let accepted = play.registered().await;
    let first = (epoch(&accepted), accepted.register.jobs_epoch);
    let hub = play.welcome(accepted, EventAck::default());
    created(hub.call(create("u1", "a")).await.unwrap());
    play.pods.push(state("u1", 1));
    assert_eq!(play.event().await.0, 1);
    hub.send_ack(EventAck {
        epoch: first.0,
        seq: 1,
    });

    let second = run().run.await.unwrap().unwrap_err();
    let expected = format!(
        "state_dir is {:?}: it must be a directory of this plugin alone, and process {} uses it",
        link.to_str().unwrap(),
        std::process::id()
    );
    assert_eq!(second.to_string(), expected);

    // The answer comes after the ack was taken in.
    created(hub.call(create("u1", "a")).await.unwrap());
    play.shutdown.cancel();
    play.run.await.unwrap().unwrap();
    *site.states.lock().unwrap() = vec![state("u1", 1)];
    let mut play = run();
    let accepted = play.registered().await;
    assert_eq!((epoch(&accepted), accepted.register.jobs_epoch), first);
    let outbox = accepted.register.outbox.unwrap();
    assert_eq!((outbox.oldest_seq, outbox.next_seq, outbox.acked_seq), (2, 2, 1));
    let hub = play.welcome(accepted, EventAck::default());
    assert!(created(hub.call(create("u1", "a")).await.unwrap()).1);
    assert_eq!(site.jobs_of("u1"), 1);
}
