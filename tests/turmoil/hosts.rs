//! The hosts: a hub and plugins, the real ones, on simulated sockets.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use serde_json::Value;
use tokio::sync::mpsc;
use towline::{
    http::{HttpConfig, Surface, router, serve},
    hub::{Hub, HubConfig, MemoryFile, StateDir},
    plugin::{CancellationToken, DialFailure, Dialer, Plugin, PluginConfig, journal::memory::Medium},
    transport::{Dial, Io, Listener, WebSocket, dial_over},
    wire::SUBPROTOCOL_PROTO,
};
use turmoil::net::{TcpListener, TcpStream};

use super::{
    plug::Plugged,
    site::{Batch, Site},
    trace::{note, violated},
};

pub(crate) const HUB: &str = "hub";
const PORT: u16 = 3000;

/// The hub's machine: what outlives the process, and which life this is.
#[derive(Clone, Default)]
pub(crate) struct HubHost {
    file: MemoryFile,
    lives: Rc<Cell<u64>>,
    /// Cancelled when this life ends.
    power: Rc<RefCell<CancellationToken>>,
}

impl HubHost {
    /// One life of the hub's process.
    pub(crate) async fn run(self) -> turmoil::Result {
        self.lives.set(self.lives.get() + 1);
        note(format!("the hub begins life {}", self.lives.get()));
        let config = HubConfig {
            state_dir: StateDir::Memory(self.file.clone()),
            ..HubConfig::default()
        };
        let hub = Hub::new(config)?;
        tokio::spawn(watch(hub.clone()));
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
        let (accepted, streams) = mpsc::channel(64);
        let power = CancellationToken::new();
        self.power.replace(power.clone());
        tokio::spawn(accept(listener, accepted, power));
        let listener = Listener::of_streams("simulated", streams);
        let config = HttpConfig::default();
        let most = config.max_connections;
        serve(
            listener,
            router(hub, config, Surface::ALL),
            most,
            std::future::pending(),
        )
        .await;
        Ok(())
    }

    /// The machine dies: what was not synced is lost, or not, as `seed` has it, and no byte leaves it any more.
    pub(crate) fn crash(&self, seed: u64) {
        self.power.borrow().cancel();
        self.file.crash(seed);
    }
}

/// What one life of the hub tells of pods: each change once, and never back.
async fn watch(hub: Arc<Hub>) {
    let mut told: BTreeMap<String, Value> = BTreeMap::new();
    let (_, mut changes) = hub.watch();
    while let Ok(change) = changes.recv().await {
        let name = change.object["name"].as_str().unwrap_or_default().to_owned();
        if change.kind != "pod" {
            continue;
        }
        if change.r#type == "DELETED" {
            note(format!("the hub forgets {name}"));
            told.remove(&name);
            continue;
        }
        let version = |object: &Value| {
            let id = &object["containers"][0]["containerID"];
            id.as_str().unwrap_or_default().to_owned()
        };
        let now = version(&change.object);
        if let Some(before) = told.insert(name.clone(), change.object.clone()) {
            if before == change.object && before["deletion_requested_at"].is_null() {
                violated(format!("{name} is told twice: {before}"));
            }
            let before = version(&before);
            if before > now {
                violated(format!("{name} is told to be at {now} after {before}"));
            }
        }
        note(format!("the hub tells {name} at {now}"));
    }
}

async fn accept(listener: TcpListener, accepted: mpsc::Sender<(Io, String)>, power: CancellationToken) {
    while let Ok((stream, peer)) = listener.accept().await {
        let io = Io::other(Plugged::new(stream, power.clone()));
        if accepted.send((io, peer.to_string())).await.is_err() {
            return;
        }
    }
}

/// A stream to the hub.
pub(crate) async fn connect() -> std::io::Result<TcpStream> {
    TcpStream::connect((HUB, PORT)).await
}

/// A plugin's machine: its journal's disk and its batch system.
#[derive(Clone)]
pub(crate) struct PluginHost {
    pub(crate) name: String,
    pub(crate) batch: Arc<Batch>,
    medium: Medium,
    lives: Rc<Cell<u64>>,
}

impl PluginHost {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            batch: Arc::default(),
            medium: Medium::new(),
            lives: Rc::default(),
        }
    }

    /// One life of the plugin's process.
    pub(crate) async fn run(self) -> turmoil::Result {
        self.lives.set(self.lives.get() + 1);
        let mut config = PluginConfig::new(format!("ws://{HUB}:{PORT}/ws"), &self.name);
        config.instance = format!("{}-{}", self.name, self.lives.get());
        note(format!("{} begins", config.instance));
        let dialer = Simulated {
            dial: Dial::new(config.hub.as_str(), SUBPROTOCOL_PROTO),
        };
        let plugin = Plugin::new(config, Site(self.batch.clone())).with_disk(self.medium.disk());
        let mut states = plugin.states();
        let name = self.name.clone();
        tokio::spawn(async move {
            while states.changed().await.is_ok() {
                let state = *states.borrow_and_update();
                note(format!("{name} is {state:?}"));
            }
        });
        plugin.run_with(dialer, CancellationToken::new()).await?;
        Ok(())
    }

    /// The process dies; of what was just being written, the first `keep` bytes stay.
    pub(crate) fn crash(&self, keep: usize) {
        self.medium.crash(keep);
    }
}

/// Dials over the simulated network as the plugin does over the real one.
struct Simulated {
    dial: Dial,
}

impl Dialer for Simulated {
    type Transport = WebSocket<Io>;

    async fn dial(&self) -> Result<Self::Transport, DialFailure> {
        let connected = tokio::time::timeout(Duration::from_secs(10), connect()).await;
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(DialFailure::new(error.to_string())),
            Err(_) => return Err(DialFailure::new("no answer")),
        };
        let (socket, _) = dial_over(&self.dial, Io::other(stream)).await?;
        Ok(socket)
    }
}
