//! A hub with job scripts, and a plugin that notes what it gets.

use std::{future::pending, sync::Arc};

use serde_json::{Value, json};
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinHandle,
    time::timeout,
};
use towline::{
    connection::LogSink,
    http::{HttpConfig, Surface},
    hub::{Hub, HubConfig},
    jobscript::{JobScriptConfig, JobScripts},
    plugin::{
        CancellationToken, Create, Created, Delete, Deleted, Handler, LogRequest, Plugin, PluginConfig, Which,
    },
    wire::{LogsEnd, NodeStatus, PodState, Status},
};

use super::client::{PATIENCE, Served};

/// A create of the pod number `n`.
pub(crate) fn create(n: u32, url: &str) -> Vec<u8> {
    let uid = format!("3f0c9d0e-8f0b-4c53-9e1b-{n:012}");
    json!({
        "pod": {
            "metadata": {"name": format!("pod-{n}"), "namespace": "default", "uid": uid},
            "spec": {"containers": [{"name": "main", "image": "none", "command": ["true"]}]},
        },
        "configmaps": null, "secrets": null, "projectedvolumesmaps": null,
        "jobscriptURL": url,
    })
    .to_string()
    .into_bytes()
}

/// A file of `tests/payloads/golden`.
pub(crate) fn sample(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/payloads/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Takes every pod and notes its payload.
pub(crate) struct Notes(mpsc::Sender<Value>);

impl Notes {
    pub(crate) fn new() -> (Arc<Self>, mpsc::Receiver<Value>) {
        let (told, payloads) = mpsc::channel(64);
        (Arc::new(Self(told)), payloads)
    }
}

impl Handler for Notes {
    async fn create(&self, create: Create) -> Result<Created, Status> {
        let payload = serde_json::from_slice(&create.payload).unwrap();
        self.0.try_send(payload).unwrap();
        Ok(Created {
            job_id: "job-1".to_owned(),
            existed: false,
        })
    }

    async fn delete(&self, _delete: Delete) -> Result<Deleted, Status> {
        Ok(Deleted { existed: true })
    }

    async fn status(&self, which: Which) -> Result<Vec<PodState>, Status> {
        Ok(which.of(std::iter::empty()))
    }

    async fn node(&self) -> NodeStatus {
        NodeStatus {
            ready: true,
            ..NodeStatus::default()
        }
    }

    async fn logs(&self, _request: LogRequest, _sink: LogSink) -> Result<LogsEnd, Status> {
        pending().await
    }
}

pub(crate) struct Site {
    hub: Served,
    payloads: Mutex<mpsc::Receiver<Value>>,
    stop: CancellationToken,
    plugin: JoinHandle<()>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Site {
    pub(crate) async fn start(scripts: JobScriptConfig) -> Self {
        Self::with(HubConfig::default(), scripts).await
    }

    pub(crate) async fn with(hub: HubConfig, scripts: JobScriptConfig) -> Self {
        let config = HttpConfig {
            job_scripts: Arc::new(JobScripts::new(scripts)),
            ..HttpConfig::default()
        };
        let hub = Served::with(hub, config, Surface::ALL).await;
        let (notes, payloads) = Notes::new();
        let stop = CancellationToken::new();
        let link = PluginConfig::new(format!("ws://{}/ws", hub.addr), "site-a");
        let running = Plugin::new(link, notes).run(stop.clone());
        let plugin = tokio::spawn(async move {
            running.await.unwrap();
        });
        connected(&hub.hub).await;
        Self {
            hub,
            payloads: Mutex::new(payloads),
            stop,
            plugin,
        }
    }

    /// The virtual kubelet's create: code and body.
    pub(crate) async fn create(&self, body: &[u8]) -> (u16, String) {
        let session = [("interlink-http-session", "CreatePod#1")];
        let answer = self.hub.ask("POST", "/create", &session, body.to_vec()).await;
        (answer.status, answer.text().to_owned())
    }

    /// Its delete of the pod of this create.
    pub(crate) async fn delete(&self, create: &[u8]) -> u16 {
        let body: Value = serde_json::from_slice(create).unwrap();
        let pod = body["pod"].to_string();
        self.hub.ask("DELETE", "/delete", &[], pod).await.status
    }

    /// The plugin goes away.
    pub(crate) async fn leave(&mut self) {
        self.stop.cancel();
        (&mut self.plugin).await.unwrap();
    }

    /// What the plugin gets next.
    pub(crate) async fn payload(&self) -> Value {
        let mut payloads = self.payloads.lock().await;
        let payload = timeout(PATIENCE, payloads.recv()).await;
        payload.expect("a payload comes").unwrap()
    }

    /// Nothing more came to the plugin.
    pub(crate) fn nothing_came(&self) {
        assert!(
            self.payloads.try_lock().unwrap().try_recv().is_err(),
            "a pod came to the plugin"
        );
    }
}

/// Waits until a plugin is ready.
pub(crate) async fn connected(hub: &Arc<Hub>) {
    let (_, mut changes) = hub.watch();
    let ready = async {
        while hub.ping(None).is_err() {
            let _ = changes.recv().await;
        }
    };
    timeout(PATIENCE, ready).await.expect("a plugin that is ready");
}
