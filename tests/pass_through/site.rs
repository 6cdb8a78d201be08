//! A hub, an upstream, and the bridge between them.

use std::{path::Path, sync::Arc, time::Duration};

use hyper::Request;
use serde_json::json;
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};
use towline::{
    backend::{RestBackend, RestConfig},
    code::Code,
    http::{HttpConfig, Surface, router, serve},
    hub::{CallMeta, Hub, HubConfig},
    plugin::{CancellationToken, Handler, Plugin, PluginConfig},
    transport::Listener,
    wire::{HttpRequest, Status},
};

use crate::{
    client::{Client, none, send, to, whole},
    upstream::Upstream,
};

/// Nothing here takes this long; it only keeps a failing test from hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A hub with its HTTP.
pub(crate) struct Hubs {
    pub(crate) hub: Arc<Hub>,
    pub(crate) address: String,
    plugins: Vec<(CancellationToken, JoinHandle<()>)>,
    _stop: oneshot::Sender<()>,
}

impl Hubs {
    pub(crate) async fn start(config: HubConfig, http: HttpConfig) -> Self {
        Self::start_at("127.0.0.1:0", config, http).await
    }

    pub(crate) async fn start_at(address: &str, config: HubConfig, http: HttpConfig) -> Self {
        let listener = Listener::bind(address, None).await.unwrap();
        let address = listener.local_addr();
        let hub = Hub::new(config).unwrap();
        let most = http.max_connections;
        let routes = router(hub.clone(), http, Surface::ALL);
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(serve(listener, routes, most, async {
            let _ = stopped.await;
        }));
        Self {
            hub,
            address,
            plugins: Vec::new(),
            _stop: stop,
        }
    }

    /// Connects a plugin.
    pub(crate) async fn plugin(&mut self, name: &str, handler: impl Handler, token: Option<&str>) {
        let link = match self.address.starts_with("unix:") {
            true => self.address.clone(),
            false => format!("ws://{}/ws", self.address),
        };
        let mut config = PluginConfig::new(link, name);
        config.token = token.map(str::to_owned);
        config.reconnect_min = Duration::from_millis(100);
        let stop = CancellationToken::new();
        let running = Plugin::new(config, handler).run(stop.clone());
        let running = tokio::spawn(async move { running.await.unwrap() });
        self.plugins.push((stop, running));
        // Such a request reaches no endpoint.
        let takes_calls = || {
            let asked = self
                .hub
                .exchange(name, HttpRequest::default(), &CallMeta::default());
            let away = |status: Status| [Code::NotFound, Code::Unavailable].contains(&status.kind());
            !asked.is_err_and(away)
        };
        let in_sync = async {
            while !takes_calls() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let done = tokio::time::timeout(PATIENCE, in_sync).await;
        assert!(done.is_ok(), "{name} never connected");
    }

    /// Ends all plugins as a kill does, as far as one process can.
    pub(crate) async fn kill_plugins(&mut self) {
        for (_, running) in self.plugins.drain(..) {
            running.abort();
            let _ = running.await;
        }
    }

    /// Ends all plugins in good order.
    pub(crate) async fn stop_plugins(&mut self) {
        for (stop, running) in self.plugins.drain(..) {
            stop.cancel();
            running.await.unwrap();
        }
    }

    /// A request of the plugin p1 without a body.
    pub(crate) async fn get(&self, path: &str) -> Client {
        self.ask("GET", path).await
    }

    pub(crate) async fn ask(&self, method: &str, path: &str) -> Client {
        send(&self.address, to(method, path).body(none()).unwrap()).await
    }

    /// A pod's create, as the virtual kubelet makes it.
    pub(crate) async fn create(&self) -> (u16, String) {
        let pod = json!({
            "metadata": {"name": "pod", "namespace": "vk", "uid": "6a2f41a3-c54c-4ce5-9d2e-7d0f6b1c0a01"},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox"}]},
        });
        let body = json!({"pod": pod, "configmaps": null, "secrets": null, "projectedvolumesmaps": null,
            "jobscriptURL": ""});
        let request = Request::builder()
            .method("POST")
            .uri("/nodes/p1/create")
            .header("host", "localhost")
            .body(whole(body.to_string()))
            .unwrap();
        send(&self.address, request).await.text().await
    }
}

/// A bridge to this upstream; what it keeps goes with the directory.
pub(crate) async fn bridge(upstream: &str, set: impl FnOnce(&mut RestConfig)) -> (RestBackend, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (bridge_in(dir.path(), upstream, set).await, dir)
}

async fn bridge_in(dir: &Path, upstream: &str, set: impl FnOnce(&mut RestConfig)) -> RestBackend {
    let mut config = RestConfig::new(upstream, dir.join("state"));
    set(&mut config);
    RestBackend::open(config).await.unwrap()
}

/// An upstream, a hub, and the bridge p1 between them.
pub(crate) struct Site {
    pub(crate) upstream: Upstream,
    pub(crate) hubs: Hubs,
    _dir: TempDir,
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::with(HttpConfig::default(), |_| {}).await
    }

    /// All of it on Unix sockets: what these hold does not grow with what travels.
    pub(crate) async fn on_unix_sockets() -> Self {
        let sockets = tempfile::tempdir().unwrap();
        let upstream = Upstream::start(Some(&sockets.path().join("upstream"))).await;
        let backend = bridge_in(sockets.path(), &upstream.address, |_| {}).await;
        let listen = format!("unix://{}", sockets.path().join("hub").display());
        let mut hubs = Hubs::start_at(&listen, HubConfig::default(), HttpConfig::default()).await;
        hubs.plugin("p1", backend, None).await;
        Self {
            upstream,
            hubs,
            _dir: sockets,
        }
    }

    pub(crate) async fn with(http: HttpConfig, set: impl FnOnce(&mut RestConfig)) -> Self {
        let upstream = Upstream::start(None).await;
        let (backend, dir) = bridge(&upstream.address, set).await;
        let mut hubs = Hubs::start(HubConfig::default(), http).await;
        hubs.plugin("p1", backend, None).await;
        Self {
            upstream,
            hubs,
            _dir: dir,
        }
    }
}
