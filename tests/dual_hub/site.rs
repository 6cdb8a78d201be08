//! A hub process, and a bridge at the other end of a link that can be cut.

use std::{
    collections::VecDeque,
    ops::Deref,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStderr, Command},
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use towline::{
    backend::{RestBackend, RestConfig},
    plugin::{CancellationToken, Plugin, PluginConfig},
};

use crate::kubelet::{Kubelet, PATIENCE};

/// Between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(10);
/// Lines of the hub's log that a failure shows.
const SHOWN: usize = 400;

pub(crate) fn towline(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_towline"));
    command
        .args(args)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// A hub as a process.
pub(crate) struct HubProcess {
    kubelet: Kubelet,
    child: Child,
    /// Its state directory is `hub` in here.
    pub(crate) dir: PathBuf,
    /// The last lines of its log.
    pub(crate) said: Arc<Mutex<VecDeque<String>>>,
    _talk: JoinHandle<()>,
}

/// It is asked as the virtual kubelet asks.
impl Deref for HubProcess {
    type Target = Kubelet;

    fn deref(&self) -> &Kubelet {
        &self.kubelet
    }
}

impl HubProcess {
    /// With this for `hub.plugins`.
    pub(crate) async fn start(plugins: &Value, dir: &Path) -> Self {
        Self::listening("127.0.0.1:0", plugins, dir).await
    }

    pub(crate) async fn listening(listen: &str, plugins: &Value, dir: &Path) -> Self {
        let file = dir.join("towline.yaml");
        let settings = json!({"hub": {"listen": listen, "state_dir": dir.join("hub"), "plugins": plugins}});
        std::fs::write(&file, settings.to_string()).unwrap();
        let mut child = towline(&["hub", "--config", file.to_str().unwrap()])
            .env("TOWLINE_LOG", "info,towline::hub=debug")
            .spawn()
            .unwrap();
        let mut talk = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = tokio::time::timeout(PATIENCE, address(&mut talk)).await.unwrap();
        let said = Arc::new(Mutex::new(VecDeque::new()));
        let keep = said.clone();
        // A full pipe would hold it up.
        let talk = tokio::spawn(async move {
            while let Ok(Some(line)) = talk.next_line().await {
                let mut said = keep.lock().unwrap();
                said.push_back(line);
                if said.len() > SHOWN {
                    said.pop_front();
                }
            }
        });
        Self {
            kubelet: Kubelet { address },
            child,
            dir: dir.to_owned(),
            said,
            _talk: talk,
        }
    }

    pub(crate) async fn kill(mut self) -> String {
        self.child.kill().await.unwrap();
        self.kubelet.address
    }

    /// Opens a followed log.
    pub(crate) async fn follow(&self, uid: &str) -> Incoming {
        let response = self.logs(uid, json!({"Follow": true})).await;
        assert_eq!(response.status(), 200);
        response.into_body()
    }

    /// The one plugin as the API shows it.
    pub(crate) async fn plugin(&self) -> Value {
        let (_, body) = self.ask("GET", "/api/v1/plugins", &Value::Null).await;
        let read: Value = serde_json::from_str(&body).unwrap();
        read["items"][0].clone()
    }

    /// Waits until the plugin is ready by this way.
    pub(crate) async fn by(&self, way: &str) {
        self.until(way, async || {
            let plugin = self.plugin().await;
            plugin["way"] == way && plugin["ready"] == true
        })
        .await;
    }

    pub(crate) async fn until_state(&self, uid: &str, word: &str) {
        self.until(word, async || self.status(uid).await.contains(word))
            .await;
    }

    pub(crate) async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        if !self.comes(is_so).await {
            panic!("never: {what}; {}", self.plugin().await);
        }
    }

    /// Whether something is so before long.
    pub(crate) async fn comes(&self, is_so: impl AsyncFn() -> bool) -> bool {
        let waiting = async {
            while !is_so().await {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.is_ok()
    }

    /// Calls that went well, as the metrics count them.
    pub(crate) async fn calls(&self, op: &str, way: &str) -> u64 {
        let (_, text) = self.ask("GET", "/metrics", &Value::Null).await;
        let name = format!(r#"towline_call_duration_seconds_count{{op="{op}",way="{way}",code="OK"}} "#);
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        line.map_or(0, |count| count.parse().unwrap())
    }
}

async fn address(talk: &mut Lines<BufReader<ChildStderr>>) -> String {
    let mut said = String::new();
    while let Some(line) = talk.next_line().await.unwrap() {
        if let Some((_, rest)) = line.split_once("listening on http://") {
            return rest.split(' ').next().unwrap().to_owned();
        }
        said.push_str(&line);
    }
    panic!("the hub has ended: {said}");
}

/// Reads until so much has come.
pub(crate) async fn bytes(body: &mut Incoming, count: usize) -> Vec<u8> {
    let mut read = Vec::new();
    let reading = async {
        while read.len() < count {
            let frame = body.frame().await.expect("more of the log").unwrap();
            read.extend_from_slice(frame.data_ref().unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, reading)
        .await
        .expect("the log goes on");
    read
}

/// A bridge with a link of its own.
pub(crate) struct Link {
    /// Whether connections are let through.
    open: watch::Sender<bool>,
    stop: CancellationToken,
    running: JoinHandle<()>,
    _relay: JoinHandle<()>,
}

impl Link {
    /// Dials as `p1`; `shared`: it looks for pods that came to the plugin the other way.
    pub(crate) async fn start(hub: &HubProcess, upstream: &str, dir: &Path, shared: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = listener.local_addr().unwrap();
        let open = watch::Sender::new(true);
        let (lets, hub) = (open.subscribe(), hub.address.clone());
        let task = tokio::spawn(relay_to(listener, hub, lets));
        let mut config = RestConfig::new(upstream, dir.join("link"));
        config.status_interval = Duration::from_millis(20);
        config.shared = shared;
        let mut link = PluginConfig::new(format!("ws://{relay}/ws"), "p1");
        link.kind = "rest".to_owned();
        link.state_dir = Some(dir.join("link/link"));
        link.reconnect_min = Duration::from_millis(100);
        link.reconnect_max = Duration::from_millis(200);
        let backend = RestBackend::open(config).await.unwrap();
        let stop = CancellationToken::new();
        let running = Plugin::new(link, backend).run(stop.clone());
        Self {
            open,
            stop,
            running: tokio::spawn(async move { running.await.unwrap() }),
            _relay: task,
        }
    }

    /// Cuts what stands and lets nothing through.
    pub(crate) fn cut(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn mend(&self) {
        self.open.send_replace(true);
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap();
    }
}

async fn relay_to(listener: TcpListener, hub: String, lets: watch::Receiver<bool>) {
    let mut ways = JoinSet::new();
    loop {
        let (mut near, _) = listener.accept().await.unwrap();
        let (hub, mut lets) = (hub.clone(), lets.clone());
        if !*lets.borrow_and_update() {
            continue;
        }
        ways.spawn(async move {
            let Ok(mut far) = TcpStream::connect(&hub).await else {
                return;
            };
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                _ = lets.wait_for(|lets| !lets) => {}
            }
        });
    }
}
