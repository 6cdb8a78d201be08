//! A reconnect storm: hundreds of plugins lose their hub at once and come back to one that sheds.
//!
//! `STORM_N=1000 cargo test --release --test storm -- --nocapture` prints the figures of a larger one.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::Runtime,
    time::{Instant, sleep, timeout},
};
use towline::{
    http::{HttpConfig, Surface, router, serve},
    hub::{Hub, HubConfig},
    plugin::{
        CancellationToken, Create, Created, Delete, Deleted, DialFailure, Dialer, Handler, LogRequest,
        LogSink, Plugin, PluginConfig, Which,
    },
    transport::{Dial, DialError, Io, Listener, WebSocket, dial},
    wire::{LogsEnd, NodeStatus, PodState, SUBPROTOCOL_PROTO, Status},
};

/// Only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(120);
/// Handshakes at once that the hub takes when it is back.
const FEW: usize = 8;

/// A site without pods.
struct Empty;

impl Handler for Empty {
    async fn create(&self, _: Create) -> Result<Created, Status> {
        Ok(Created::default())
    }
    async fn delete(&self, _: Delete) -> Result<Deleted, Status> {
        Ok(Deleted::default())
    }
    async fn status(&self, _: Which) -> Result<Vec<PodState>, Status> {
        Ok(Vec::new())
    }
    async fn logs(&self, _: LogRequest, _: LogSink) -> Result<LogsEnd, Status> {
        Ok(LogsEnd::default())
    }
    async fn node(&self) -> NodeStatus {
        NodeStatus::ready(1, "1Gi", 1)
    }
}

/// What became of one dial.
#[derive(Debug, Clone, Copy)]
struct Tried {
    at: Instant,
    /// The hub answered 503, with so much Retry-After.
    shed: Option<Duration>,
}

/// Dials as the plugin does, and writes it down.
struct Counted {
    to: Dial,
    tried: Arc<Mutex<Vec<Tried>>>,
    shed: Arc<AtomicUsize>,
}

impl Dialer for Counted {
    type Transport = WebSocket<Io>;

    async fn dial(&self) -> Result<Self::Transport, DialFailure> {
        let dialled = dial(&self.to).await;
        let shed = match &dialled {
            Err(DialError::Refused {
                status: 503,
                retry_after,
                ..
            }) => Some(retry_after.expect("a shed plugin is told when to come back")),
            _ => None,
        };
        if shed.is_some() {
            self.shed.fetch_add(1, Ordering::Relaxed);
        }
        // Written down at its end: what follows is counted from here.
        let at = Instant::now();
        self.tried.lock().unwrap().push(Tried { at, shed });
        Ok(dialled?.0)
    }
}

/// A hub in a runtime of its own; dropped with all its sockets, as a process that is killed.
struct Life {
    hub: Arc<Hub>,
    address: String,
    runtime: Option<Runtime>,
}

impl Life {
    async fn begin(address: &str, max_handshakes: usize) -> Self {
        let runtime = Runtime::new().unwrap();
        let wanted = address.to_owned();
        let started = runtime.spawn(async move {
            let hub = Hub::new(HubConfig::default()).unwrap();
            let listener = loop {
                match Listener::bind(&wanted, None).await {
                    Ok(listener) => break listener,
                    // The sockets of the life before end in the background.
                    Err(_) => sleep(Duration::from_millis(5)).await,
                }
            };
            let address = listener.local_addr();
            let config = HttpConfig {
                max_handshakes,
                ..HttpConfig::default()
            };
            let most = config.max_connections;
            let routes = router(hub.clone(), config, Surface::ALL);
            tokio::spawn(serve(listener, routes, most, std::future::pending()));
            (hub, address)
        });
        let (hub, address) = started.await.unwrap();
        Self {
            hub,
            address,
            runtime: Some(runtime),
        }
    }

    /// Waits until so many plugins are connected and ready.
    async fn all(&self, count: usize) {
        let all = async {
            while self
                .hub
                .plugins()
                .iter()
                .filter(|plugin| plugin.connected && plugin.ready)
                .count()
                < count
            {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, all).await.expect("all plugins are connected");
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_that_lost_their_hub_come_back_when_it_lets_them() {
    let count = std::env::var("STORM_N").map_or(300, |text| text.parse().unwrap());
    let first = Life::begin("127.0.0.1:0", usize::MAX >> 4).await;
    let address = first.address.clone();
    let shed = Arc::new(AtomicUsize::new(0));
    let stop = CancellationToken::new();
    let (mut plugins, mut dials) = (Vec::new(), Vec::new());
    for n in 0..count {
        let config = PluginConfig::new(format!("ws://{address}/ws"), format!("site-{n}"));
        let tried = Arc::new(Mutex::new(Vec::new()));
        let dialer = Counted {
            to: Dial::new(config.hub.as_str(), SUBPROTOCOL_PROTO),
            tried: tried.clone(),
            shed: shed.clone(),
        };
        dials.push(tried);
        let plugin = Plugin::new(config, Empty);
        plugins.push(tokio::spawn(plugin.run_with(dialer, stop.clone())));
    }
    first.all(count).await;
    drop(first);
    for tried in &dials {
        tried.lock().unwrap().clear();
    }
    let lost = Instant::now();

    // At first it takes nobody.
    let full = Life::begin(&address, 0).await;
    let some = async {
        while shed.load(Ordering::Relaxed) < count / 3 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, some).await.expect("plugins are shed");
    drop(full);
    let back = Life::begin(&address, FEW).await;
    back.all(count).await;
    let took = lost.elapsed();

    let mut tries: Vec<usize> = dials.iter().map(|tried| tried.lock().unwrap().len()).collect();
    tries.sort_unstable();
    println!(
        "{count} plugins, {FEW} handshakes at once: the last one was back after {:.1} s; {} were told to come later; \
         dials of a plugin: median {}, most {}",
        took.as_secs_f64(),
        shed.load(Ordering::Relaxed),
        tries[count / 2],
        tries[count - 1],
    );
    for tried in &dials {
        let tried = tried.lock().unwrap();
        for (one, next) in tried.iter().zip(tried.iter().skip(1)) {
            let Some(wish) = one.shed else { continue };
            let pause = next.at - one.at;
            assert!(
                !wish.is_zero() && pause >= wish,
                "came back after {pause:?}, asked for {wish:?}"
            );
        }
    }
    stop.cancel();
    for plugin in plugins {
        plugin.await.unwrap().unwrap();
    }
}
