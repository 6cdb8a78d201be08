//! A hub, a plugin and the proxy between them, in a directory of their own.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{sync::watch, time::timeout};

use crate::{
    history::{History, Role, Signal, What},
    kubelet::Kubelet,
    peer::{Peer, towline},
    processes,
    proxy::Proxy,
};

/// Longer than any drain; a process that takes more does not end.
const END: Duration = Duration::from_secs(30);

/// What is not the same in every row.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// Stands before the hub's command line, such as `nsenter ...`.
    pub(crate) around_hub: Vec<String>,
    pub(crate) around_plugin: Vec<String>,
    /// Instead of a directory of the cluster's own.
    pub(crate) hub_state: Option<PathBuf>,
    pub(crate) plugin_state: Option<PathBuf>,
    /// The hub listens here too, for the plugin, which then dials it without a proxy; the kubelets come by the hub's
    /// Unix socket, for it may be in a network of its own.
    pub(crate) link: Option<String>,
}

/// Everything of it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Cluster {
    dir: Option<TempDir>,
    path: PathBuf,
    pub(crate) history: Arc<History>,
    pub(crate) proxy: Proxy,
    options: Options,
    hub: Mutex<Option<Peer>>,
    plugin: Mutex<Option<Peer>>,
    /// Where the hub is now, or was last.
    address: watch::Sender<String>,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::with(tempfile::tempdir().unwrap(), Options::default()).await
    }

    /// In a directory that may have something in it already.
    pub(crate) async fn with(dir: TempDir, options: Options) -> Self {
        let path = dir.path().to_owned();
        fs::create_dir_all(path.join("ran")).unwrap();
        let cluster = Self {
            history: Arc::new(History::new(&path.join("history.jsonl"))),
            dir: Some(dir),
            path,
            proxy: Proxy::start("").await,
            options,
            hub: Mutex::default(),
            plugin: Mutex::default(),
            address: watch::Sender::new(String::new()),
        };
        cluster.start_hub().await;
        cluster.start_plugin();
        cluster
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The caller of this cluster's hub.
    pub(crate) fn kubelet(&self) -> Kubelet {
        let (path, socket) = (self.path.clone(), self.socket());
        Kubelet::new(self.address.subscribe(), socket, path, Arc::clone(&self.history))
    }

    /// Stays the same over restarts.
    fn socket(&self) -> PathBuf {
        self.path.join("hub.sock")
    }

    /// Starts the hub and waits until it listens.
    pub(crate) async fn start_hub(&self) {
        let state = self.options.hub_state.clone();
        let mut command = towline(&self.options.around_hub);
        command
            .args(["hub", "--listen", "127.0.0.1:0", "--listen"])
            .arg(format!("unix://{}", self.socket().display()));
        if let Some(link) = &self.options.link {
            command.args(["--listen", link, "--insecure"]);
        }
        command
            .arg("--state-dir")
            .arg(state.unwrap_or_else(|| self.path.join("hub")));
        let peer = Peer::start(command, Role::Hub, &self.path.join("hub.err"), &self.history);
        let address = timeout(END, peer.address()).await.expect("a hub that listens");
        self.proxy.target(&address);
        self.address.send_replace(match self.options.link {
            Some(_) => format!("unix://{}", self.socket().display()),
            None => address,
        });
        self.history.note(What::Listens { role: Role::Hub });
        *self.hub.lock().unwrap() = Some(peer);
    }

    pub(crate) fn start_plugin(&self) {
        let hub = self.options.link.as_deref().unwrap_or(self.proxy.address());
        let mut command = towline(&self.options.around_plugin);
        command
            .args(["plugin", "--name", "p1", "--hub", &format!("ws://{hub}/ws")])
            .arg("--state-dir")
            .arg(self.plugin_state());
        let log = self.path.join("plugin.err");
        *self.plugin.lock().unwrap() = Some(Peer::start(command, Role::Plugin, &log, &self.history));
    }

    pub(crate) fn plugin_state(&self) -> PathBuf {
        let state = self.options.plugin_state.clone();
        state.unwrap_or_else(|| self.path.join("plugin"))
    }

    fn peer(&self, role: Role) -> &Mutex<Option<Peer>> {
        match role {
            Role::Hub => &self.hub,
            Role::Plugin => &self.plugin,
        }
    }

    /// Starts it again.
    pub(crate) async fn restart(&self, role: Role) {
        match role {
            Role::Hub => self.start_hub().await,
            Role::Plugin => self.start_plugin(),
        }
    }

    /// Ends it by this signal and waits for its end.
    pub(crate) async fn end(&self, role: Role, signal: Signal) {
        let peer = self.peer(role).lock().unwrap().take().expect("it runs");
        peer.signal(signal);
        if timeout(END, peer.gone()).await.is_err() {
            panic!("{role:?} did not end within {END:?} of {signal:?}");
        }
    }

    /// SIGSTOP or SIGCONT.
    pub(crate) fn signal(&self, role: Role, signal: Signal) {
        self.peer(role).lock().unwrap().as_ref().unwrap().signal(signal);
    }

    pub(crate) fn pid(&self, role: Role) -> Option<i32> {
        self.peer(role).lock().unwrap().as_ref().map(|peer| peer.pid)
    }

    /// Everything else that names this directory on its command line.
    pub(crate) fn others(&self) -> Vec<(i32, String)> {
        let own = [self.pid(Role::Hub), self.pid(Role::Plugin)];
        let mut others = processes::naming(&self.path);
        others.retain(|(pid, _)| !own.contains(&Some(*pid)));
        others
    }

    /// Leaves the directory, for whoever looks for the reason.
    pub(crate) fn keep(&mut self) -> PathBuf {
        if let Some(dir) = self.dir.take() {
            let _ = dir.keep();
        }
        self.path.clone()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        processes::end_all(&self.path);
        if std::thread::panicking() && self.dir.is_some() {
            let path = self.keep();
            eprintln!("faults: history and logs are in {}", path.display());
        }
    }
}
