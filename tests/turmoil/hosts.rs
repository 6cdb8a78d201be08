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
    http::{HttpConfig, Surface, router, serve, serve_grpc},
    hub::{Hub, HubConfig, MemoryFile, StateDir},
    plugin::{CancellationToken, DialFailure, Dialer, Plugin, PluginConfig, journal::memory::Medium},
    transport::{Dial, Dialled, Io, Listener, dial_over, grpc::dial_grpc_over},
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
const GRPC_PORT: u16 = 3001;

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
        let power = CancellationToken::new();
        self.power.replace(power.clone());
        let grpc = listen(GRPC_PORT, &power).await?;
        let config = HttpConfig::default();
        let most = config.max_connections;
        tokio::spawn(serve_grpc(
            grpc,
            hub.clone(),
            config.clone(),
            most,
            std::future::pending(),
        ));
        let listener = listen(PORT, &power).await?;
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

/// Listens on a simulated port for as long as the hub has power.
async fn listen(port: u16, power: &CancellationToken) -> std::io::Result<Listener> {
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    let (accepted, streams) = mpsc::channel(64);
    tokio::spawn(accept(listener, accepted, power.clone()));
    Ok(Listener::of_streams("simulated", streams))
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

/// Where a plugin dials: every second one over gRPC.
fn link_of(name: &str) -> String {
    if name.ends_with(['1', '3', '5', '7', '9']) {
        format!("grpc://{HUB}:{GRPC_PORT}")
    } else {
        format!("ws://{HUB}:{PORT}/ws")
    }
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
        let mut config = PluginConfig::new(link_of(&self.name), &self.name);
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
    type Transport = Dialled;

    async fn dial(&self) -> Result<Self::Transport, DialFailure> {
        let grpc = self.dial.url.starts_with("grpc");
        let port = if grpc { GRPC_PORT } else { PORT };
        let connected = TcpStream::connect((HUB, port));
        let connected = tokio::time::timeout(Duration::from_secs(10), connected).await;
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(DialFailure::new(error.to_string())),
            Err(_) => return Err(DialFailure::new("no answer")),
        };
        let io = Io::other(stream);
        Ok(if grpc {
            Dialled::Grpc(Box::new(dial_grpc_over(&self.dial, io).await?))
        } else {
            Dialled::WebSocket(Box::new(dial_over(&self.dial, io).await?.0))
        })
    }
}
