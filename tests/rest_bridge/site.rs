//! A hub with its REST, a link that can be cut, and the bridge at its other end.

use std::{ops::Deref, path::Path, sync::Arc, time::Duration};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
    task::{JoinHandle, JoinSet},
};
use towline::{
    backend::{RestBackend, RestConfig},
    http::{HttpConfig, Surface, router, serve},
    hub::{Hub, HubConfig},
    plugin::{CancellationToken, Plugin, PluginConfig},
    transport::Listener,
};

use crate::{
    kubelet::{Kubelet, PATIENCE},
    upstream::{Quirks, Upstream},
};

/// Between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(5);

pub(crate) struct Site {
    pub(crate) hub: Arc<Hub>,
    kubelet: Kubelet,
    way: Way,
    bridge: Option<Bridge>,
    _stop: oneshot::Sender<()>,
    _serving: JoinHandle<()>,
}

/// It is asked as the virtual kubelet asks.
impl Deref for Site {
    type Target = Kubelet;

    fn deref(&self) -> &Kubelet {
        &self.kubelet
    }
}

struct Bridge {
    stop: CancellationToken,
    running: JoinHandle<()>,
}

/// The TCP between bridge and hub.
struct Way {
    address: String,
    cuts: watch::Sender<u64>,
    _task: JoinHandle<()>,
}

impl Way {
    async fn to(hub: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let cuts = watch::Sender::new(0);
        let cut = cuts.subscribe();
        let task = tokio::spawn(async move {
            let mut ways = JoinSet::new();
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let (hub, mut cut) = (hub.clone(), cut.clone());
                ways.spawn(async move {
                    cut.borrow_and_update();
                    let mut far = TcpStream::connect(&hub).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self {
            address,
            cuts,
            _task: task,
        }
    }
}

/// A bridge with short times, for this upstream.
pub(crate) fn config(upstream: &str, dir: &Path) -> RestConfig {
    let mut config = RestConfig::new(upstream, dir);
    config.status_interval = Duration::from_millis(20);
    config
}

impl Site {
    /// A hub and a bridge that is connected.
    pub(crate) async fn start(config: RestConfig) -> Self {
        let listener = Listener::bind("127.0.0.1:0", None).await.unwrap();
        let hub_address = listener.local_addr();
        let hub = Hub::new(HubConfig::default()).unwrap();
        let settings = HttpConfig::default();
        let most = settings.max_connections;
        let routes = router(hub.clone(), settings, Surface::ALL);
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(serve(listener, routes, most, async {
            let _ = stopped.await;
        }));
        let way = Way::to(hub_address.clone()).await;
        let mut site = Self {
            hub,
            kubelet: Kubelet { address: hub_address },
            way,
            bridge: None,
            _stop: stop,
            _serving: serving,
        };
        site.start_bridge(config).await;
        site
    }

    pub(crate) async fn start_bridge(&mut self, config: RestConfig) {
        let mut link = PluginConfig::new(format!("ws://{}/ws", self.way.address), "p1");
        link.kind = "rest".to_owned();
        link.state_dir = Some(config.state_dir.join("link"));
        link.reconnect_min = Duration::from_millis(100);
        // The former bridge lets its directory go when its tasks have ended.
        let opening = async {
            loop {
                match RestBackend::open(config.clone()).await {
                    Ok(backend) => return backend,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        let backend = tokio::time::timeout(PATIENCE, opening).await.unwrap();
        let stop = CancellationToken::new();
        let running = Plugin::new(link, backend).run(stop.clone());
        let running = tokio::spawn(async move { running.await.unwrap() });
        self.bridge = Some(Bridge { stop, running });
        self.until("the bridge is connected", || {
            self.hub.plugins().iter().any(|plugin| plugin.connected)
        })
        .await;
    }

    /// Ends the bridge in good order.
    pub(crate) async fn stop_bridge(&mut self) {
        let bridge = self.bridge.take().unwrap();
        bridge.stop.cancel();
        bridge.running.await.unwrap();
    }

    /// Ends the bridge as a kill does, as far as one process can.
    pub(crate) async fn kill_bridge(&mut self) {
        let bridge = self.bridge.take().unwrap();
        bridge.running.abort();
        let _ = bridge.running.await;
    }

    pub(crate) fn cut(&self) {
        self.way.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub(crate) async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let waiting = async {
            while !is_so() {
                tokio::time::sleep(LOOK).await;
            }
        };
        assert!(
            tokio::time::timeout(PATIENCE, waiting).await.is_ok(),
            "never: {what}"
        );
    }

    /// The state of the pod's one container; null when there is no news.
    pub(crate) async fn state(&self, uid: &str) -> Value {
        let read: Value = serde_json::from_str(&self.status(uid).await).unwrap();
        read[0]["containers"][0]["state"].clone()
    }

    /// Waits until the pod's container is in a state with this word.
    pub(crate) async fn until_state(&self, uid: &str, word: &str) -> Value {
        let waiting = async {
            loop {
                let state = self.state(uid).await;
                if state.get(word).is_some() {
                    return state;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(state) => state,
            Err(_) => panic!("never {word}: {}", self.state(uid).await),
        }
    }

    /// The ping's code and body.
    pub(crate) async fn ping(&self) -> (u16, Value) {
        let (code, body) = self.ask("POST", "/pinglink", &Value::Null).await;
        (code, serde_json::from_str(&body).unwrap_or_default())
    }
}

/// A plugin with these quirks, a state directory, and a hub with a bridge to that plugin.
pub(crate) async fn site_with(quirks: Quirks) -> (Upstream, TempDir, Site) {
    let upstream = Upstream::start(quirks).await;
    let dir = tempfile::tempdir().unwrap();
    let site = Site::start(config(&upstream.address, dir.path())).await;
    (upstream, dir, site)
}
