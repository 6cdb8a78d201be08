//! The HTTP ways of a hub: for each plugin with a URL a bridge that dials in by memory, as the plugin itself does by its
//! link. So the hub never learns HTTP, and all rules are the same for both ways.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::task::JoinSet;
use tracing::Instrument;

use crate::{
    backend::{RestBackend, RestConfig, rest::StartError},
    cli::{
        exit::Failure,
        settings::{HubSettings, Transport, WaySettings},
    },
    hub::{Hub, Identity, Onlooker, Way},
    interlink::Pod,
    limits,
    plugin::{CancellationToken, ConfigError, DialFailure, Dialer, LinkState, Plugin, PluginConfig},
    transport::memory,
};

/// The bridges of a hub, until they are stopped.
#[derive(Debug, Default)]
pub(super) struct Ways {
    tasks: JoinSet<()>,
    stop: CancellationToken,
    /// Removed at the end.
    _scratch: Option<Scratch>,
}

impl Ways {
    /// Starts a bridge for each plugin that the hub may call.
    ///
    /// # Errors
    /// Names the plugin's `hub.plugins.NAME.url`.
    pub(super) async fn start(hub: &Arc<Hub>, settings: &HubSettings) -> anyhow::Result<Self> {
        let mut ways = Self::default();
        let called = |plugin: &&WaySettings| plugin.transport.value != Transport::Ws;
        let called: Vec<&WaySettings> = settings.plugins.iter().filter(called).collect();
        if called.is_empty() {
            return Ok(ways);
        }
        let dir = match &settings.state_dir.value {
            Some(dir) => dir.join("ways"),
            None => {
                let scratch = Scratch::make()?;
                eprintln!(
                    "towline hub: plugins are called over HTTP without --state-dir: a restart forgets which pods they have"
                );
                let dir = scratch.0.clone();
                ways._scratch = Some(scratch);
                dir
            }
        };
        for plugin in called {
            let span = tracing::info_span!("way", plugin = plugin.name);
            ways.open(hub, plugin, &dir.join(&plugin.name))
                .instrument(span)
                .await?;
        }
        Ok(ways)
    }

    async fn open(&mut self, hub: &Arc<Hub>, plugin: &WaySettings, dir: &Path) -> Result<(), Failure> {
        let key = format!("hub.plugins.{}.url", plugin.name);
        // As it is read: without a query, which may hold a secret.
        let mut config = bridge(plugin, dir);
        config.tls = plugin.tls()?;
        let shown = config.check().map(|url| url.to_string()).unwrap_or_default();
        let failed = |text: String| Failure::Config(format!("{key} (from {}): {text}", plugin.url.source));
        let backend = RestBackend::open(config).await.map_err(|error| {
            failed(match error {
                StartError::Upstream(error) => error.to_string(),
                other => other.to_string(),
            })
        })?;
        hub.look_on(&plugin.name, Arc::new(Bridge(backend.clone())));
        let prefers_link = plugin.transport.value == Transport::Auto;
        let dialer = HttpWay {
            hub: hub.clone(),
            name: plugin.name.clone(),
            url: shown,
            bridge: prefers_link.then(|| backend.clone()),
        };
        let running = Plugin::new(link(plugin, dir), backend);
        let mut states = running.states();
        let (stop, name) = (self.stop.clone(), plugin.name.clone());
        let (refuse, refused) = tokio::sync::oneshot::channel::<ConfigError>();
        let run = async move {
            if let Err(error) = running.run_with(dialer, stop).await
                && let Err(error) = refuse.send(error)
            {
                tracing::error!(plugin = %name, %error, "the HTTP way has ended");
            }
        };
        self.tasks.spawn(run.in_current_span());
        // It dials when everything is as it must be.
        if states.wait_for(|state| *state != LinkState::Idle).await.is_err()
            && let Ok(error) = refused.await
        {
            return Err(failed(error.to_string()));
        }
        Ok(())
    }

    /// Ends the bridges; what is open may finish for a while.
    pub(super) async fn end(&mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

fn bridge(plugin: &WaySettings, dir: &Path) -> RestConfig {
    let mut config = RestConfig::new(&plugin.url.value, dir);
    config.status_interval = plugin.status_interval.value;
    config.ping = plugin.ping.value;
    config.follow = plugin.follow.value;
    config.legacy_list = plugin.legacy_list.value;
    // Its link has pods of its own, or had some before the setting was changed.
    config.shared = true;
    if plugin.transport.value == Transport::Http {
        // But nobody else creates any now.
        config.others_create = Duration::ZERO;
    }
    config.cpu = plugin.cpu.value.clone();
    config.memory = plugin.memory.value.clone();
    config.pods = plugin.pods.value.clone();
    config
}

fn link(plugin: &WaySettings, dir: &Path) -> PluginConfig {
    // Shown in logs alone: nothing is dialled.
    let mut config = PluginConfig::new("unix:///this-process", &plugin.name);
    config.kind = plugin.kind.value.clone();
    config.labels = plugin.labels.value.clone();
    config.state_dir = Some(dir.join("link"));
    config.drain_grace = limits::DRAIN_GRACE;
    config
}

/// Dials this process's own hub.
struct HttpWay {
    hub: Arc<Hub>,
    name: String,
    url: String,
    /// Asks the plugin only while this way is the one in use. None: it always is.
    bridge: Option<RestBackend>,
}

impl Dialer for HttpWay {
    type Transport = memory::Memory;

    async fn ready(&self) {
        if let Some(bridge) = &self.bridge {
            bridge.rest();
            self.hub.without_link(&self.name, limits::WAY_SETTLE).await;
            bridge.wake();
        }
    }

    async fn dial(&self) -> Result<Self::Transport, DialFailure> {
        let (ours, theirs) = memory::pair_with(limits::MAX_MESSAGE, limits::WAY_MESSAGES);
        let identity = Identity {
            plugin: Some(self.name.clone()),
            remote: self.url.clone(),
            way: Way::Http,
        };
        // It ends with our end of the pair.
        tokio::spawn(self.hub.clone().serve_link(theirs, identity));
        Ok(ours)
    }
}

/// The bridge, as the hub tells it of pods.
#[derive(Debug)]
struct Bridge(RestBackend);

impl Onlooker for Bridge {
    fn placed(&self, pod: &Pod, created: bool) {
        self.0.adopt(pod, created);
    }

    fn deleted(&self, uid: &str) {
        self.0.disown(uid);
    }
}

/// A directory that is nobody else's, and goes with this.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> Result<Self, Failure> {
        use std::os::unix::fs::DirBuilderExt;
        let path = std::env::temp_dir().join(format!("towline-ways-{}", uuid::Uuid::new_v4()));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| {
            let shown = path.display();
            Failure::Config(format!(
                "hub.plugins: the directory {shown} cannot be made: {error}; give --state-dir DIR, or set TMPDIR"
            ))
        })?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "a directory of this run could not be removed");
        }
    }
}
