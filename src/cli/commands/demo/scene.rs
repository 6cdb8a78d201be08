//! The demo's hub, plugin and files: set up, and cleared without a trace.

use std::{
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cli::{
    args::{HubArgs, PluginArgs},
    client::{Client, Query, pod_path},
    commands::{hub::RunningHub, plugin},
    exit::Failure,
    settings::{HubSettings, PluginSettings, Sources},
};

/// How long the plugin may take to be ready.
const READY: Duration = Duration::from_secs(20);
/// How long the pods may take to end after their second of grace.
const CLEAR: Duration = Duration::from_secs(8);
/// How long plugin and hub may drain: nothing is open any more.
const DRAIN: Duration = Duration::from_secs(2);

/// What runs while the demo runs.
pub(super) struct Scene {
    /// The hub for client verbs.
    pub(super) hub: String,
    /// HOST:PORT of it.
    pub(super) address: String,
    running: RunningHub,
    plugin: JoinHandle<anyhow::Result<()>>,
    stop_plugin: CancellationToken,
    files: Files,
}

impl Scene {
    /// Starts a hub on this address, or on any port when it cannot have that, and a plugin that dials it.
    pub(super) async fn set(address: &str) -> anyhow::Result<Self> {
        // The environment's settings are for other hubs and plugins.
        let nothing = |_: &str| None;
        let sources = Sources::only(&nothing);
        let start = async |address: &str| {
            let hub_args = HubArgs {
                listen: vec![address.to_owned()],
                ..HubArgs::default()
            };
            RunningHub::start(&HubSettings::resolve(&hub_args, &sources)?).await
        };
        // Tried, not asked for beforehand: another process may take it in between.
        let running = match start(address).await {
            Ok(running) => running,
            Err(error) => {
                eprintln!("towline demo: {error}; taking another port");
                start("127.0.0.1:0").await?
            }
        };
        let hub = running.listeners[0].0.clone();
        let address = hub.trim_start_matches("http://").to_owned();
        let files = Files::create()?;
        let plugin_args = PluginArgs {
            hub: Some(format!("ws://{address}/ws")),
            name: Some("demo".to_owned()),
            state_dir: Some(files.path().join("state")),
            ..PluginArgs::default()
        };
        let settings = PluginSettings::resolve(&plugin_args, &sources)?;
        let stop_plugin = CancellationToken::new();
        let plugin = tokio::spawn(plugin::serve(settings, DRAIN, stop_plugin.clone()));
        eprintln!("towline demo: hub at {hub}, plugin \"demo\" dials ws://{address}/ws");
        Ok(Self {
            hub,
            address,
            running,
            plugin,
            stop_plugin,
            files,
        })
    }

    /// Waits until the hub has a plugin that can take pods.
    pub(super) async fn ready(&self, client: &Client) -> anyhow::Result<()> {
        let mut reason = "it did not connect".to_owned();
        let wait = async {
            let query = Query::default().with("watch", true).with("kind", "plugin");
            let mut events = client.lines("/api/v1/events", &query).await?;
            while let Some(event) = events.next().await? {
                let plugin = &event["object"];
                if plugin["connected"] == true && plugin["ready"] == true {
                    return Ok(());
                }
                reason = plugin["reason"].as_str().unwrap_or_default().to_owned();
            }
            Err(anyhow::anyhow!("the hub ended the events"))
        };
        match tokio::time::timeout(READY, wait).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Unavailable(format!(
                "no plugin ready within {} s: {reason}",
                READY.as_secs()
            ))
            .into()),
        }
    }

    /// Ends pods, plugin and hub, and removes the files.
    pub(super) async fn clear(self, client: &Client) -> anyhow::Result<()> {
        let ended = tokio::time::timeout(CLEAR, self.end_pods(client)).await;
        self.stop_plugin.cancel();
        let plugin = tokio::time::timeout(DRAIN * 2, self.plugin).await;
        self.running.stop(DRAIN).await;
        let removed = self.files.remove();
        ended.map_err(|_| anyhow::anyhow!("the demo's pods did not end in time"))??;
        plugin.map_err(|_| anyhow::anyhow!("the demo's plugin did not end in time"))???;
        removed
    }

    /// Deletes every pod that the demo's plugin has, and waits until none is left: not in the hub, not on disk.
    async fn end_pods(&self, client: &Client) -> anyhow::Result<()> {
        let grace = Query::default().with("grace_seconds", 1);
        let pods = client.get("/api/v1/pods", &Query::default()).await?;
        for pod in pods["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|pod| pod["plugin"] == "demo")
        {
            let text = |field: &str| pod[field].as_str().unwrap_or_default();
            match client
                .delete(&pod_path(text("namespace"), text("name")), &grace)
                .await
            {
                Ok(_) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        while !plugin::is_empty(&self.files.path().join("state")) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

/// A directory of its own under the system's temporary one, for nobody else, removed at the end.
struct Files(PathBuf);

impl Files {
    fn create() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("towline-demo-{}", uuid::Uuid::new_v4().simple()));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn remove(&self) -> anyhow::Result<()> {
        match std::fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", self.0.display()))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = self.remove();
    }
}
