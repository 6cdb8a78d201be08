//! The plugin runtime against a hub that is played by the test, over a transport in memory and in paused time.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::{
    collections::{HashMap, VecDeque},
    future::pending,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinHandle,
    time::Instant,
};
use towline::{
    code::{CloseCode, Code},
    connection::{self, Accepted, BoxFuture, Connection, Peer},
    limits,
    plugin::*,
    transport::memory::{self, Memory},
    wire::*,
};

#[path = "plugin/journal.rs"]
mod journal;

/// A handler whose creates wait for a permit, when it has a gate.
#[derive(Default)]
struct Pods {
    gate: Option<Semaphore>,
    begun: AtomicUsize,
    states: Mutex<Vec<PodState>>,
    events: OnceLock<Events>,
    /// Whether it keeps its events.
    silent: bool,
}

impl Pods {
    fn push(&self, uid: &str, version: u32) {
        self.events
            .get()
            .unwrap()
            .pod(PodEventType::Updated, state(uid, version));
    }
}

impl Handler for Pods {
    async fn create(&self, create: Create) -> Result<Created, Status> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        match create.pod.name.as_str() {
            "panics" => panic!("as asked"),
            "refused" => Err(Status::bad_pod("no")),
            _ => Ok(Created::new(format!("job-of-{}", create.pod.uid))),
        }
    }
    async fn delete(&self, _: Delete) -> Result<Deleted, Status> {
        Ok(Deleted { existed: true })
    }
    async fn status(&self, which: Which) -> Result<Vec<PodState>, Status> {
        Ok(which.of(self.states.lock().unwrap().iter()))
    }
    async fn logs(&self, request: LogRequest, sink: LogSink) -> Result<LogsEnd, Status> {
        request.answer("some log", sink).await
    }
    async fn node(&self) -> NodeStatus {
        NodeStatus::ready("1", "1Gi", "5")
    }
    fn attach(&self, events: Events) {
        if !self.silent {
            let _ = self.events.set(events);
        }
    }
}

fn state(uid: &str, version: u32) -> PodState {
    PodState::present(pod(uid, "a"), version.to_string(), vec![])
}

fn pod(uid: &str, name: &str) -> PodRef {
    PodRef::new(uid, "default", name)
}

/// Dials into the test, or fails as told.
struct Dials {
    ends: mpsc::UnboundedSender<Memory>,
    failures: Mutex<VecDeque<DialFailure>>,
    times: Arc<Mutex<Vec<Instant>>>,
}

impl Dialer for Dials {
    type Transport = Memory;

    async fn dial(&self) -> Result<Memory, DialFailure> {
        self.times.lock().unwrap().push(Instant::now());
        if let Some(failure) = self.failures.lock().unwrap().pop_front() {
            return Err(failure);
        }
        let (near, far) = memory::pair(limits::MAX_MESSAGE);
        self.ends.send(far).unwrap();
        Ok(near)
    }
}

/// The hub's side: keeps the events that come.
#[derive(Clone)]
struct HubPeer {
    events: mpsc::UnboundedSender<PodEvent>,
    nodes: mpsc::UnboundedSender<NodeStatus>,
    gone: watch::Sender<Option<CloseCode>>,
}

impl Peer for HubPeer {
    fn request(&self, _: Request, _: CancelSignal) -> BoxFuture<Response> {
        Box::pin(pending())
    }
    fn stream_logs(&self, _: StreamLogs, _: LogSink) -> BoxFuture<Result<LogsEnd, Status>> {
        Box::pin(pending())
    }
    fn pod_event(&self, event: PodEvent) {
        self.events.send(event).unwrap();
    }
    fn event_ack(&self, _: EventAck) {}
    fn node_status(&self, status: NodeStatus) {
        self.nodes.send(status).unwrap();
    }
    fn going_away(&self, code: CloseCode, _: &str, _: Duration) {
        self.gone.send_replace(Some(code));
    }
}

/// A running plugin and the hub that the test plays.
struct Play<H = Pods> {
    pods: Arc<H>,
    ends: mpsc::UnboundedReceiver<Memory>,
    times: Arc<Mutex<Vec<Instant>>>,
    peer: HubPeer,
    events: mpsc::UnboundedReceiver<PodEvent>,
    nodes: mpsc::UnboundedReceiver<NodeStatus>,
    states: watch::Receiver<LinkState>,
    shutdown: CancellationToken,
    run: JoinHandle<Result<(), ConfigError>>,
}

impl Play {
    fn new(pods: Pods) -> Self {
        Self::with(pods, [])
    }

    fn with(pods: Pods, failures: impl IntoIterator<Item = DialFailure>) -> Self {
        let pods = Arc::new(pods);
        let plugin = Plugin::new(PluginConfig::new("ws://hub", "site"), Arc::clone(&pods));
        Self::start(pods, plugin, failures)
    }
}

impl<H: Handler> Play<H> {
    fn start(pods: Arc<H>, plugin: Plugin<Arc<H>>, failures: impl IntoIterator<Item = DialFailure>) -> Self {
        let (ends_tx, ends) = mpsc::unbounded_channel();
        let (events_tx, events) = mpsc::unbounded_channel();
        let (nodes_tx, nodes) = mpsc::unbounded_channel();
        let times = Arc::default();
        let dialer = Dials {
            ends: ends_tx,
            failures: Mutex::new(failures.into_iter().collect()),
            times: Arc::clone(&times),
        };
        let (states, shutdown) = (plugin.states(), CancellationToken::new());
        Self {
            pods,
            ends,
            times,
            peer: HubPeer {
                events: events_tx,
                nodes: nodes_tx,
                gone: watch::Sender::new(None),
            },
            events,
            nodes,
            states,
            run: tokio::spawn(plugin.run_with(dialer, shutdown.clone())),
            shutdown,
        }
    }

    async fn registered(&mut self) -> Accepted<Memory> {
        let end = self.ends.recv().await.unwrap();
        connection::accept(end).await.unwrap()
    }

    fn welcome(&self, accepted: Accepted<Memory>, applied: EventAck) -> Connection {
        let welcome = Welcome {
            session: "s".to_owned(),
            features: accepted.register.features.clone(),
            applied: Some(applied),
            ..Welcome::default()
        };
        accepted.welcome(welcome, Arc::new(self.peer.clone()))
    }

    async fn link(&mut self) -> Connection {
        let accepted = self.registered().await;
        self.welcome(accepted, EventAck::default())
    }

    async fn reach(&mut self, state: LinkState) {
        self.states.wait_for(|now| *now == state).await.unwrap();
    }

    async fn event(&mut self) -> (u64, String) {
        let event = self.events.recv().await.unwrap();
        (event.seq, event.state.unwrap().job_id)
    }

    /// How long it took from each dial to the next, in seconds.
    fn gaps(&self) -> Vec<f64> {
        let times = self.times.lock().unwrap();
        times
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).as_secs_f64())
            .collect()
    }
}

fn create(uid: &str, name: &str) -> Request {
    let payload = format!(r#"{{"pod": {{"metadata": {{"uid": "{uid}"}}, "spec": {{}}}}, "container": []}}"#);
    ask(request::Op::CreatePod(CreatePod {
        pod: Some(pod(uid, name)),
        payload: payload.into(),
    }))
}

fn ask(op: request::Op) -> Request {
    Request {
        op: Some(op),
        ..Request::default()
    }
}

fn created(response: Response) -> (String, bool) {
    match response.result {
        Some(response::Result::CreatePod(created)) => (created.job_id, created.existed),
        other => panic!("not a create's result: {other:?}"),
    }
}

fn about(seconds: f64, expected: f64, below: f64, above: f64) {
    let range = expected * below - 0.01..=expected * above + 0.01;
    assert!(range.contains(&seconds), "{seconds} s is not about {expected} s");
}

#[tokio::test(start_paused = true)]
async fn a_plugin_registers_with_what_it_is_and_serves_calls() {
    let mut play = Play::new(Pods::default());
    let accepted = play.registered().await;
    let register = accepted.register.clone();
    assert_eq!(
        (register.plugin.as_str(), register.role()),
        ("site", Role::Plugin)
    );
    assert_eq!(register.features, ["flow_control", "events", "zstd"]);
    assert_eq!(register.node_status, Some(NodeStatus::ready("1", "1Gi", "5")));
    let outbox = register.outbox.unwrap();
    assert!(outbox.epoch != 0 && outbox.next_seq == 1 && outbox.oldest_seq == 1);
    assert_ne!(register.jobs_epoch, 0);

    let hub = play.welcome(accepted, EventAck::default());
    play.reach(LinkState::Ready).await;
    assert_eq!(
        created(hub.call(create("u1", "a")).await.unwrap()),
        ("job-of-u1".to_owned(), false)
    );
    let mut log = hub
        .stream_logs(StreamLogs {
            pod: Some(pod("u1", "a")),
            ..StreamLogs::default()
        })
        .await
        .unwrap();
    assert_eq!(log.next().await.unwrap().data, "some log");
    assert!(log.next().await.unwrap_err().unwrap().eof);
}

#[tokio::test(start_paused = true)]
async fn a_created_pod_is_not_created_again_until_it_is_deleted() {
    let mut play = Play::new(Pods::default());
    let hub = play.link().await;
    hub.call(create("u1", "a")).await.unwrap();
    assert_eq!(
        created(hub.call(create("u1", "a")).await.unwrap()),
        ("job-of-u1".to_owned(), true)
    );
    assert_eq!(play.pods.begun.load(Ordering::SeqCst), 1);
    let delete = DeletePod {
        pod: Some(pod("u1", "a")),
        ..DeletePod::default()
    };
    hub.call(ask(request::Op::DeletePod(delete))).await.unwrap();
    assert!(!created(hub.call(create("u1", "a")).await.unwrap()).1);
    assert_eq!(play.pods.begun.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn creates_of_one_pod_join_and_a_refusal_is_not_remembered() {
    let mut play = Play::new(Pods {
        gate: Some(Semaphore::new(0)),
        ..Pods::default()
    });
    let hub = play.link().await;
    let (first, second) = (hub.call(create("u1", "a")), hub.call(create("u1", "a")));
    let open = async {
        while play.pods.begun.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        play.pods.gate.as_ref().unwrap().add_permits(1);
    };
    let (first, second, ()) = tokio::join!(first, second, open);
    let (mut first, mut second) = (created(first.unwrap()), created(second.unwrap()));
    if first.1 {
        (first, second) = (second, first);
    }
    assert_eq!(
        (first, second),
        (("job-of-u1".to_owned(), false), ("job-of-u1".to_owned(), true))
    );
    assert_eq!(play.pods.begun.load(Ordering::SeqCst), 1);

    play.pods.gate.as_ref().unwrap().add_permits(2);
    for _ in 0..2 {
        assert_eq!(
            hub.call(create("u2", "refused")).await.unwrap_err().reason,
            "BAD_POD"
        );
    }
    assert_eq!(play.pods.begun.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn a_create_outlives_its_link_and_the_next_one_answers_its_job() {
    let mut play = Play::new(Pods {
        gate: Some(Semaphore::new(0)),
        ..Pods::default()
    });
    let end = play.ends.recv().await.unwrap();
    let faults = end.faults();
    let accepted = connection::accept(end).await.unwrap();
    let hub = play.welcome(accepted, EventAck::default());
    let pods = Arc::clone(&play.pods);
    let cut = async {
        while pods.begun.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        faults.cut();
    };
    let (lost, ()) = tokio::join!(hub.call(create("u1", "a")), cut);
    assert_eq!(lost.unwrap_err().reason, "SESSION_LOST");
    pods.gate.as_ref().unwrap().add_permits(1);

    let hub = play.link().await;
    assert_eq!(
        created(hub.call(create("u1", "a")).await.unwrap()),
        ("job-of-u1".to_owned(), true)
    );
    assert_eq!(pods.begun.load(Ordering::SeqCst), 1, "one pod, one job");
}

#[tokio::test(start_paused = true)]
async fn nothing_but_register_is_sent_before_welcome() {
    let mut play = Play::new(Pods::default());
    play.pods.push("u1", 1);
    let end = play.ends.recv().await.unwrap();
    let mut accepted = Box::pin(connection::accept(end));
    let accepted = accepted.as_mut().await.unwrap();
    play.pods.push("u2", 2);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(play.events.is_empty());
    let outbox = accepted.register.outbox.unwrap();
    assert_eq!((outbox.oldest_seq, outbox.next_seq), (1, 2));
    play.welcome(accepted, EventAck::default());
    assert_eq!(play.event().await, (1, "1".to_owned()));
    assert_eq!(play.event().await, (2, "2".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn after_a_loss_everything_above_what_the_hub_has_applied_is_sent_again() {
    let mut play = Play::new(Pods::default());
    let hub = play.link().await;
    for (uid, version) in [("u1", 1), ("u2", 2), ("u3", 3)] {
        play.pods.push(uid, version);
    }
    let mut epoch = 0;
    for _ in 0..3 {
        epoch = play.events.recv().await.unwrap().epoch;
    }
    hub.send_ack(EventAck { epoch, seq: 1 });
    hub.close(CloseCode::IDLE, "");
    play.reach(LinkState::Backoff).await;
    play.pods.push("u2", 4);

    let accepted = play.registered().await;
    play.welcome(accepted, EventAck { epoch, seq: 1 });
    assert_eq!(play.event().await, (3, "3".to_owned()));
    assert_eq!(
        play.event().await,
        (4, "4".to_owned()),
        "the newer state took a new number"
    );
    assert!(play.events.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_is_ahead_of_the_outbox_gets_a_new_epoch() {
    let mut play = Play::new(Pods::default());
    play.pods.push("u1", 1);
    let accepted = play.registered().await;
    let epoch = accepted.register.outbox.as_ref().unwrap().epoch;
    play.welcome(accepted, EventAck { epoch, seq: 9 });
    let accepted = play.registered().await;
    assert_ne!(accepted.register.outbox.as_ref().unwrap().epoch, epoch);
    play.welcome(accepted, EventAck { epoch, seq: 9 });
    assert_eq!(play.event().await, (1, "1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn node_statuses_are_pushed() {
    let mut play = Play::new(Pods::default());
    let _hub = play.link().await;
    play.pods.events.get().unwrap().node(NodeStatus {
        reason: "drained".to_owned(),
        ..NodeStatus::default()
    });
    assert_eq!(play.nodes.recv().await.unwrap().reason, "drained");
}

#[tokio::test(start_paused = true)]
async fn a_handler_without_events_is_polled() {
    let mut play = Play::new(Pods {
        silent: true,
        ..Pods::default()
    });
    let accepted = play.registered().await;
    assert_eq!(accepted.register.features, ["flow_control", "zstd"]);
    assert_eq!(accepted.register.outbox, None);
}

#[tokio::test(start_paused = true)]
async fn states_come_in_pages_that_are_true_as_of_the_outbox() {
    let mut play = Play::new(Pods::default());
    *play.pods.states.lock().unwrap() = (0..5).map(|i| state(&format!("u{i}"), i)).collect();
    let hub = play.link().await;
    play.pods.push("u1", 1);
    play.pods.push("u2", 2);
    let (mut token, mut uids) = (String::new(), Vec::new());
    loop {
        let page = GetStatus {
            all: true,
            page_size: 2,
            page_token: token,
            ..GetStatus::default()
        };
        let response = hub.call(ask(request::Op::GetStatus(page))).await.unwrap();
        let Some(response::Result::GetStatus(page)) = response.result else {
            panic!("not a status")
        };
        assert!(page.as_of == 2 && page.pods.len() <= 2 && page.pods.iter().all(|state| state.seq == 2));
        uids.extend(page.pods.into_iter().map(|state| state.pod.unwrap().uid));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(uids, ["u0", "u1", "u2", "u3", "u4"]);

    let listed = GetStatus {
        pods: vec![pod("u9", "a")],
        ..GetStatus::default()
    };
    let response = hub.call(ask(request::Op::GetStatus(listed))).await.unwrap();
    let Some(response::Result::GetStatus(page)) = response.result else {
        panic!("not a status")
    };
    assert_eq!(page.pods[0].presence(), Presence::Absent);
}

#[tokio::test(start_paused = true)]
async fn bad_requests_and_panics_are_answered_and_the_link_stays() {
    let mut play = Play::new(Pods::default());
    let hub = play.link().await;
    let mut other_uid = create("u1", "a");
    if let Some(request::Op::CreatePod(op)) = &mut other_uid.op {
        op.pod = Some(pod("u2", "a"));
    }
    let no_json = ask(request::Op::CreatePod(CreatePod {
        pod: Some(pod("u1", "a")),
        payload: "{".into(),
    }));
    let cases = [
        (create("u1", "panics"), Code::Internal, "PLUGIN_ERROR"),
        (
            ask(request::Op::HttpRequest(HttpRequest::default())),
            Code::Unimplemented,
            "NOT_SUPPORTED",
        ),
        (Request::default(), Code::Unimplemented, "NO_SUCH_OP"),
        (
            ask(request::Op::DeletePod(DeletePod::default())),
            Code::InvalidArgument,
            "BAD_POD",
        ),
        (create("../etc", "a"), Code::InvalidArgument, "BAD_POD"),
        (create("u1", "a/b"), Code::InvalidArgument, "BAD_POD"),
        (other_uid, Code::InvalidArgument, "BAD_POD"),
        (no_json, Code::InvalidArgument, "BAD_POD"),
    ];
    for (request, code, reason) in cases {
        let status = hub.call(request.clone()).await.unwrap_err();
        assert_eq!(
            (status.kind(), status.reason.as_str()),
            (code, reason),
            "{request:?}: {status}"
        );
    }
    assert!(hub.is_open());
    hub.call(create("u1", "a")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn failed_dials_are_tried_again_ever_more_slowly_and_never_given_up() {
    let failures = (0..12).map(|_| DialFailure::new("nobody there"));
    let mut play = Play::with(Pods::default(), failures);
    let _hub = play.link().await;
    let gaps = play.gaps();
    for (gap, expected) in gaps
        .iter()
        .zip([1.0, 1.6, 2.56, 4.096, 6.554, 10.486, 16.777, 20.0, 20.0, 20.0])
    {
        about(*gap, expected, 0.8, 1.2);
    }
    assert_eq!(gaps.len(), 12);
}

#[tokio::test(start_paused = true)]
async fn a_close_code_and_the_hubs_wish_decide_the_next_dial() {
    let mut busy = DialFailure::new("busy");
    busy.retry_after = Duration::from_secs(33);
    let mut play = Play::with(Pods::default(), [busy, DialFailure::new("wrong token").slow()]);
    play.link().await.close(CloseCode::SUPERSEDED, "");
    play.link().await.close(CloseCode::SUPERSEDED, "");
    let accepted = play.registered().await;
    accepted
        .refuse(CloseCode::FORBIDDEN, "not this name", Duration::ZERO)
        .await;
    let accepted = play.registered().await;
    accepted
        .refuse(CloseCode::OVERLOADED, "later", Duration::from_secs(90))
        .await;
    play.registered().await;
    let gaps = play.gaps();
    for (gap, expected) in gaps.iter().zip([33.0, 300.0, 60.0, 120.0, 300.0, 90.0]) {
        // Refusals and closes take up to two seconds themselves.
        about(*gap, expected, 1.0, 1.3);
    }
    assert_eq!(gaps.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_lets_open_calls_finish_and_ends() {
    let mut play = Play::new(Pods {
        gate: Some(Semaphore::new(0)),
        ..Pods::default()
    });
    let hub = play.link().await;
    let mut gone = play.peer.gone.subscribe();
    let finish = async {
        while play.pods.begun.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        play.shutdown.cancel();
        let code = *gone.wait_for(Option::is_some).await.unwrap();
        assert_eq!(code, Some(CloseCode::DRAIN));
        play.pods.gate.as_ref().unwrap().add_permits(1);
    };
    let (answer, ()) = tokio::join!(hub.call(create("u1", "a")), finish);
    assert_eq!(created(answer.unwrap()).0, "job-of-u1");
    assert_eq!(hub.ended().await.code, CloseCode::DRAIN);
    play.run.await.unwrap().unwrap();
    assert_eq!(*play.states.borrow(), LinkState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_within_its_grace_though_a_create_hangs() {
    let mut play = Play::new(Pods {
        gate: Some(Semaphore::new(0)),
        ..Pods::default()
    });
    let hub = play.link().await;
    let call = tokio::spawn(async move { hub.call(create("u1", "a")).await });
    while play.pods.begun.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    play.shutdown.cancel();
    let run = tokio::time::timeout(Duration::from_secs(10), play.run).await;
    run.expect("within ten seconds").unwrap().unwrap();
    assert!(call.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_during_backoff_ends_at_once() {
    let failure = DialFailure::new("wrong token").slow();
    let mut play = Play::with(Pods::default(), [failure]);
    play.reach(LinkState::Backoff).await;
    play.shutdown.cancel();
    let run = tokio::time::timeout(Duration::from_secs(1), play.run).await;
    run.expect("at once").unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_setting_that_cannot_be_right_ends_the_run_at_once() {
    let plugin = Plugin::new(PluginConfig::new("ws://hub", "No Label"), Pods::default());
    let error = plugin.run(CancellationToken::new()).await.unwrap_err();
    assert_eq!((error.key, error.value.as_str()), ("name", "No Label"));
}

#[test]
fn the_example_is_a_complete_plugin_in_under_forty_lines() {
    let example = include_str!("../examples/custom_plugin.rs");
    assert!(example.lines().count() < 40);
    let calls: HashMap<_, _> = ["create", "delete", "status", "logs", "node"]
        .map(|call| (call, example.contains(&format!("async fn {call}("))))
        .into();
    assert!(calls.values().all(|&there| there), "{calls:?}");
}
