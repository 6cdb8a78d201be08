//! A plugin whose answers a test gives by hand.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::sleep,
};
use towline::{
    code::CloseCode,
    connection::{BoxFuture, CancelSignal, Config, Connection, HandshakeError, LogSink, Peer, register_as},
    hub::{Hub, Identity, Way},
    wire::{
        EventAck, GetStatus, LogsEnd, NodeStatus, PodEvent, PodRef, PodState, Presence, Register, Request,
        Response, Status, StreamLogs, Welcome, request::Op,
    },
};

use super::{
    carrier::{Faults, Pair, pair},
    say,
};

/// A create or delete that waits for its answer.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: Request,
    answer: oneshot::Sender<Response>,
}

impl Asked {
    pub(crate) fn created(self, job_id: &str) {
        self.answer(say::created(job_id, false));
    }

    /// The pod was created by a former attempt.
    pub(crate) fn existed(self, job_id: &str) {
        self.answer(say::created(job_id, true));
    }

    pub(crate) fn deleted(self) {
        self.answer(say::deleted(true));
    }

    pub(crate) fn fail(self, status: Status) {
        self.answer(say::failed(status));
    }

    pub(crate) fn is_create(&self) -> bool {
        matches!(self.request.op, Some(Op::CreatePod(_)))
    }

    pub(crate) fn uid(&self) -> String {
        match &self.request.op {
            Some(Op::CreatePod(create)) => create.pod.clone(),
            Some(Op::DeletePod(delete)) => delete.pod.clone(),
            _ => None,
        }
        .unwrap_or_default()
        .uid
    }

    fn answer(self, response: Response) {
        // A hub that has given up needs no answer.
        let _ = self.answer.send(response);
    }
}

/// What outlives a link: the plugin's own records, and what it was asked.
#[derive(Debug, Default)]
pub(crate) struct Site {
    pub(crate) pods: Mutex<BTreeMap<String, PodState>>,
    pub(crate) log: Mutex<Vec<u8>>,
    /// No more will be written.
    pub(crate) log_is_whole: Mutex<bool>,
    pub(crate) opens: Mutex<Vec<StreamLogs>>,
    pub(crate) acks: Mutex<Vec<EventAck>>,
    /// Every GetStatus, in order.
    pub(crate) asked: Mutex<Vec<GetStatus>>,
    /// What GetStatus fails with.
    pub(crate) status_fails: Mutex<Option<Status>>,
    /// What opening a log fails with.
    pub(crate) logs_fail: Mutex<Option<Status>>,
    /// Pages of all pods never end.
    pub(crate) endless: Mutex<bool>,
}

impl Site {
    /// How often GetStatus came.
    pub(crate) fn reads(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn status(&self, what: &GetStatus) -> Response {
        self.asked.lock().unwrap().push(what.clone());
        if let Some(status) = self.status_fails.lock().unwrap().clone() {
            return say::failed(status);
        }
        let pods = self.pods.lock().unwrap();
        if !what.all {
            let one = |pod: &PodRef| pods.get(&pod.uid).cloned().unwrap_or_else(|| absent(pod));
            return say::page(what.pods.iter().map(one).collect(), String::new());
        }
        if *self.endless.lock().unwrap() {
            return say::page(Vec::new(), "more".into());
        }
        let size = match what.page_size {
            0 => 1_000,
            size => size as usize,
        };
        let after = pods
            .iter()
            .filter(|(uid, _)| uid.as_str() > what.page_token.as_str());
        let mut after = after.map(|(uid, state)| (uid.clone(), state.clone()));
        let states: Vec<(String, PodState)> = after.by_ref().take(size).collect();
        let next = match (states.last(), after.next()) {
            (Some((last, _)), Some(_)) => last.clone(),
            _ => String::new(),
        };
        say::page(states.into_iter().map(|(_, state)| state).collect(), next)
    }
}

fn absent(pod: &PodRef) -> PodState {
    PodState {
        pod: Some(pod.clone()),
        presence: Presence::Absent.into(),
        ..PodState::default()
    }
}

#[derive(Debug)]
struct Fake {
    site: Arc<Site>,
    asked: mpsc::UnboundedSender<Asked>,
}

impl Peer for Fake {
    fn request(&self, request: Request, _: CancelSignal) -> BoxFuture<Response> {
        if let Some(Op::GetStatus(what)) = &request.op {
            let response = self.site.status(what);
            return Box::pin(async { response });
        }
        let (answer, answered) = oneshot::channel();
        let _ = self.asked.send(Asked { request, answer });
        Box::pin(async {
            match answered.await {
                Ok(response) => response,
                Err(_) => std::future::pending().await,
            }
        })
    }

    fn stream_logs(&self, open: StreamLogs, mut sink: LogSink) -> BoxFuture<Result<LogsEnd, Status>> {
        let site = self.site.clone();
        site.opens.lock().unwrap().push(open.clone());
        let failure = site.logs_fail.lock().unwrap().clone();
        Box::pin(async move {
            if let Some(status) = failure {
                return Err(status);
            }
            let mut offset = open.start.map_or(0, |start| start.offset);
            let mut first = true;
            loop {
                let piece: Bytes = {
                    let log = site.log.lock().unwrap();
                    let from = usize::try_from(offset).unwrap();
                    Bytes::copy_from_slice(&log[from..log.len().min(from + 1000)])
                };
                let whole = *site.log_is_whole.lock().unwrap();
                if !piece.is_empty() || first {
                    first = false;
                    let chunk = say::chunk(1, offset, piece);
                    offset = chunk.next_offset;
                    if sink.send(chunk).await.is_err() {
                        return Ok(LogsEnd::default());
                    }
                } else if whole {
                    return Ok(say::logs_end(1, offset));
                } else {
                    tokio::select! {
                        () = sleep(Duration::from_millis(100)) => {}
                        () = sink.cancelled() => return Ok(LogsEnd::default()),
                    }
                }
            }
        })
    }

    fn pod_event(&self, _: PodEvent) {}
    fn event_ack(&self, ack: EventAck) {
        self.site.acks.lock().unwrap().push(ack);
    }
    fn node_status(&self, _: NodeStatus) {}
    fn going_away(&self, _: CloseCode, _: &str, _: Duration) {}
}

/// A link of the fake plugin.
#[derive(Debug)]
pub(crate) struct Linked {
    pub(crate) connection: Connection,
    pub(crate) asked: mpsc::UnboundedReceiver<Asked>,
    pub(crate) faults: Faults,
    pub(crate) welcome: Welcome,
    pub(crate) served: JoinHandle<()>,
}

impl Linked {
    /// The next create or delete.
    pub(crate) async fn next(&mut self) -> Asked {
        tokio::time::timeout(Duration::from_secs(300), self.asked.recv())
            .await
            .expect("a call")
            .expect("a link")
    }

    /// Cuts the socket and waits until the hub has noticed.
    pub(crate) async fn cut(self) {
        self.faults.cut();
        self.served.await.unwrap();
    }

    /// Closes the link as the plugin and waits until the hub has noticed.
    pub(crate) async fn close(self, code: CloseCode, reason: &str) {
        self.connection.close(code, reason);
        self.served.await.unwrap();
    }
}

/// Connects as [`say::registration`] says.
pub(crate) async fn connect(hub: &Arc<Hub>, site: &Arc<Site>) -> Linked {
    connect_as(hub, site, say::registration("one")).await
}

pub(crate) async fn connect_as(hub: &Arc<Hub>, site: &Arc<Site>, with: Register) -> Linked {
    connect_with(hub, site, with, Config::default()).await.unwrap()
}

/// Connects with bounds of its own.
pub(crate) async fn connect_with(
    hub: &Arc<Hub>,
    site: &Arc<Site>,
    with: Register,
    config: Config,
) -> Result<Linked, HandshakeError> {
    connect_by(hub, site, with, config, Way::Link).await
}

/// Connects by this way.
pub(crate) async fn connect_by(
    hub: &Arc<Hub>,
    site: &Arc<Site>,
    with: Register,
    config: Config,
    way: Way,
) -> Result<Linked, HandshakeError> {
    let Pair {
        hub: theirs,
        plugin: ours,
        up: faults,
        ..
    } = pair(crate::CARRIER, 16 << 20).await;
    let identity = Identity {
        plugin: None,
        remote: "test".into(),
        way,
    };
    let served = tokio::spawn(hub.clone().serve_link_as(theirs, identity, crate::FORM));
    let registered = register_as(ours, with, config, crate::FORM).await?;
    let welcome = registered.welcome.clone();
    let (sender, asked) = mpsc::unbounded_channel();
    let connection = registered.start(Arc::new(Fake {
        site: site.clone(),
        asked: sender,
    }));
    Ok(Linked {
        connection,
        asked,
        faults,
        welcome,
        served,
    })
}
