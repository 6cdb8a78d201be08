//! A hub process, and a bridge at the other end of a link that can be cut.

use std::{path::Path, process::Stdio, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
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

/// Nothing here takes this long; it only keeps a failing test from hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(10);

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
    pub(crate) address: String,
    child: Child,
    _talk: JoinHandle<()>,
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
            .spawn()
            .unwrap();
        let mut talk = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = tokio::time::timeout(PATIENCE, address(&mut talk)).await.unwrap();
        // A full pipe would hold it up.
        let talk = tokio::spawn(async move { while let Ok(Some(_)) = talk.next_line().await {} });
        Self {
            address,
            child,
            _talk: talk,
        }
    }

    pub(crate) async fn kill(mut self) -> String {
        self.child.kill().await.unwrap();
        self.address
    }

    /// One call as the virtual kubelet makes it.
    pub(crate) async fn open(&self, method: &str, path: &str, body: &Value) -> Response<Incoming> {
        let socket = TcpStream::connect(&self.address).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("interlink-http-session", "CreatePod#48211")
            .body(Full::new(Bytes::from(body.to_string())))
            .unwrap();
        sender.send_request(request).await.unwrap()
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, String) {
        let response = self.open(method, path, body).await;
        let code = response.status().as_u16();
        let body = tokio::time::timeout(PATIENCE, response.into_body().collect());
        let body = body.await.expect("an answer ends").unwrap().to_bytes();
        (code, String::from_utf8_lossy(&body).into_owned())
    }

    pub(crate) async fn create(&self, uid: &str) -> (u16, String) {
        let body = json!({"pod": pod(uid), "configmaps": null, "secrets": null, "projectedvolumesmaps": null,
            "jobscriptURL": ""});
        self.ask("POST", "/create", &body).await
    }

    pub(crate) async fn delete(&self, uid: &str) -> (u16, String) {
        self.ask("DELETE", "/delete", &pod(uid)).await
    }

    pub(crate) async fn status(&self, uid: &str) -> String {
        let (code, body) = self.ask("GET", "/status", &json!([pod(uid)])).await;
        assert_eq!(code, 200, "{body}");
        body
    }

    /// Opens a followed log.
    pub(crate) async fn follow(&self, uid: &str) -> Incoming {
        let body = json!({"Namespace": "vk", "PodUID": uid, "PodName": format!("pod-{}", &uid[34..]),
            "ContainerName": "main", "Opts": {"Tail": 0, "Bytes": 0, "Timestamps": false, "Follow": true,
            "Previous": false, "SinceSeconds": 0, "SinceTime": "0001-01-01T00:00:00Z"}});
        let response = self.open("GET", "/getLogs", &body).await;
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
        let waiting = async {
            while !is_so().await {
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("never: {what}; {}", self.plugin().await);
        }
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

pub(crate) fn uid(n: u8) -> String {
    format!("6a2f41a3-c54c-4ce5-9d2e-7d0f6b1c0a{n:02x}")
}

pub(crate) fn pod(uid: &str) -> Value {
    json!({
        "metadata": {"name": format!("pod-{}", &uid[34..]), "namespace": "vk", "uid": uid},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox"}]},
    })
}
