//! A virtual kubelet: interLink's calls, each noted with its end.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{sync::watch, time::sleep};

use crate::{
    history::{History, Op, Outcome, Seen, What},
    http::ask,
};

/// Beyond every deadline: what takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(150);
/// Between two tries at a hub that is away.
const AGAIN: Duration = Duration::from_millis(100);

/// One pod: it notes its start, prints the numbers below `lines` and exits.
#[derive(Debug, Clone)]
pub(crate) struct Pod {
    pub(crate) uid: String,
    pub(crate) name: String,
    pub(crate) lines: Option<u64>,
    pub(crate) pause_ms: u64,
    pub(crate) exit: i64,
}

impl Pod {
    /// Numbered; the numbers of one cluster differ.
    pub(crate) fn new(number: u64, lines: Option<u64>, pause_ms: u64, exit: i64) -> Self {
        Self {
            uid: format!("2ee53299-7980-4016-8fef-{number:012x}"),
            name: format!("pod-{number}"),
            lines,
            pause_ms,
            exit,
        }
    }

    /// As the API server gives it.
    pub(crate) fn object(&self, ran: &Path) -> Value {
        let ran = ran.join(&self.uid);
        let head = format!("echo x >> {}; i=0", ran.display());
        let step = format!(
            "echo $i; i=$((i+1)); sleep {}.{:03}",
            self.pause_ms / 1000,
            self.pause_ms % 1000
        );
        let until = self
            .lines
            .map_or(":".to_owned(), |lines| format!("[ $i -lt {lines} ]"));
        let script = format!("{head}; while {until}; do {step}; done; exit {}", self.exit);
        json!({
            "metadata": {"name": self.name, "namespace": "vk", "uid": self.uid, "deletionGracePeriodSeconds": 1},
            "spec": {"restartPolicy": "Never", "containers": [
                {"name": "main", "image": "none", "command": ["/bin/sh", "-c", script]},
            ]},
        })
    }

    /// The body of getLogs.
    pub(crate) fn log(&self, follow: bool, tail: u64) -> Value {
        json!({
            "Namespace": "vk", "PodUID": self.uid, "PodName": self.name, "ContainerName": "main",
            "Opts": {"Tail": tail, "Bytes": 0, "Timestamps": false, "Follow": follow, "Previous": false,
                "SinceSeconds": 0, "SinceTime": "0001-01-01T00:00:00Z"},
        })
    }
}

/// Cheap to clone; knows where the hub is at the time.
#[derive(Debug, Clone)]
pub(crate) struct Kubelet {
    address: watch::Receiver<String>,
    pub(crate) socket: PathBuf,
    dir: PathBuf,
    pub(crate) history: Arc<History>,
    /// Stands before the six calls: `/nodes/NAME`, or nothing.
    pub(crate) scope: String,
}

impl Kubelet {
    pub(crate) fn new(
        address: watch::Receiver<String>,
        socket: PathBuf,
        dir: PathBuf,
        history: Arc<History>,
    ) -> Self {
        Self {
            address,
            socket,
            dir,
            history,
            scope: String::new(),
        }
    }

    pub(crate) fn address(&self) -> String {
        self.address.borrow().clone()
    }

    /// Where the pods note their starts.
    pub(crate) fn ran(&self) -> PathBuf {
        self.dir.join("ran")
    }

    /// One call, into the history.
    async fn call(&self, op: Op, uid: &str, method: &str, path: &str, body: &Value) -> Outcome {
        let call = self.history.number();
        self.history.note(What::Begin {
            call,
            op,
            uid: uid.to_owned(),
        });
        let path = format!("{}{path}", self.scope);
        let outcome = ask(&self.address(), method, &path, body, PATIENCE).await;
        self.history.note(What::End {
            call,
            outcome: outcome.clone(),
        });
        outcome
    }

    /// Again while the hub is away or goes away.
    async fn until_answered(&self, op: Op, uid: &str, method: &str, path: &str, body: &Value) -> u16 {
        loop {
            match self.call(op, uid, method, path, body).await {
                // A hub that drains takes nothing new.
                Outcome::Answered { http: 503, text } if text.contains("shutting down") => {}
                Outcome::Answered { http, .. } => return http,
                Outcome::Hung => return 0,
                Outcome::Broken(_) => {}
            }
            sleep(AGAIN).await;
        }
    }

    /// Gives the HTTP status.
    pub(crate) async fn create(&self, pod: &Pod) -> u16 {
        let none = Value::Null;
        let body = json!({"pod": pod.object(&self.ran()), "configmaps": none, "secrets": none,
            "projectedvolumesmaps": none, "jobscriptURL": ""});
        self.until_answered(Op::Create, &pod.uid, "POST", "/create", &body)
            .await
    }

    pub(crate) async fn delete(&self, pod: &Pod) -> u16 {
        let body = pod.object(&self.ran());
        self.until_answered(Op::Delete, &pod.uid, "DELETE", "/delete", &body)
            .await
    }

    /// None: there was no answer.
    pub(crate) async fn status(&self, pod: &Pod) -> Option<Seen> {
        let body = json!([pod.object(&self.ran())]);
        let outcome = self.call(Op::Status, &pod.uid, "GET", "/status", &body).await;
        let Outcome::Answered { http: 200, text } = outcome else {
            return None;
        };
        let seen = seen(&text);
        self.history.note(What::Seen {
            uid: pod.uid.clone(),
            seen: seen.clone(),
        });
        Some(seen)
    }

    /// A question that is not part of the load.
    pub(crate) async fn look(&self, path: &str) -> Option<String> {
        let limit = Duration::from_secs(5);
        match ask(&self.address(), "GET", path, &Value::Null, limit).await {
            Outcome::Answered { http: 200, text } => Some(text),
            _ => None,
        }
    }

    pub(crate) async fn gauge(&self, name: &str) -> Option<i64> {
        let text = self.look("/metrics").await?;
        let line = text.lines().find(|line| line.split(' ').next() == Some(name))?;
        line.split(' ').nth(1)?.parse().ok()
    }

    /// The uids that the hub shows.
    pub(crate) async fn listed(&self) -> Option<Vec<String>> {
        let text = self.look("/api/v1/pods").await?;
        let pods: Value = serde_json::from_str(&text).unwrap();
        let uid = |pod: &Value| pod["uid"].as_str().unwrap().to_owned();
        Some(pods["items"].as_array().unwrap().iter().map(uid).collect())
    }
}

/// What the answer says of the one pod that was asked for.
pub(crate) fn seen(text: &str) -> Seen {
    let answer: Value = serde_json::from_str(text).unwrap_or_default();
    let state = &answer[0]["containers"][0]["state"];
    if let Some(code) = state["terminated"]["exitCode"].as_i64() {
        Seen::Terminated { code }
    } else if state["running"].is_object() {
        Seen::Running
    } else if answer[0].is_object() {
        Seen::Waiting
    } else {
        Seen::Absent
    }
}
