//! A plugin in Python beside the real hub, each a process of its own.
//!
//! Needs a Python with `examples/stubs/python/requirements.txt` installed: `make test` installs one, TOWLINE_PYTHON
//! names another.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    task::JoinSet,
    time::{sleep, timeout},
};

pub(crate) const TOKEN: &str = "a-token-of-the-test";
/// Long enough for a busy machine; only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn python() -> Option<PathBuf> {
    let named = std::env::var_os("TOWLINE_PYTHON").map(PathBuf::from);
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/venv/bin/python");
    named.or_else(|| installed.is_file().then_some(installed))
}

/// Starts a process and waits for a line on its stderr.
async fn start(mut command: Command, word: &str) -> (Child, String) {
    let mut child = command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut talk = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = Vec::new();
    let found = async {
        while let Some(line) = talk.next_line().await.unwrap() {
            if line.contains(word) {
                return line;
            }
            said.push(line);
        }
        panic!("it ended without {word:?} and said {said:?}");
    };
    let line = timeout(PATIENCE, found).await.expect("a line in time");
    // Read on, so that it can write on.
    tokio::spawn(async move { while let Ok(Some(_)) = talk.next_line().await {} });
    (child, line)
}

/// A way to the hub that can be cut.
#[derive(Clone)]
pub(crate) struct Wire {
    address: String,
    connections: Arc<Mutex<JoinSet<()>>>,
}

impl Wire {
    pub(crate) async fn to(hub: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wire = Self {
            address: listener.local_addr().unwrap().to_string(),
            connections: Arc::default(),
        };
        let connections = wire.connections.clone();
        tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let hub = hub.clone();
                connections.lock().unwrap().spawn(async move {
                    let mut far = TcpStream::connect(hub).await.unwrap();
                    let _cut = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        wire
    }

    /// Cuts what is connected; new connections get through.
    pub(crate) fn cut(&self) {
        self.connections.lock().unwrap().abort_all();
    }
}

/// Hub and plugin, each a process of its own, and the wire between them.
pub(crate) struct Site {
    pub(crate) hub: String,
    pub(crate) wire: Wire,
    _hub: Child,
    pub(crate) plugin: Child,
    _dir: tempfile::TempDir,
}

impl Site {
    /// The plugin is what `plugin` makes of a directory of its own, the hub's address, and the token file if it may
    /// know it; it runs in that directory.
    pub(crate) async fn start(plugin: impl Fn(&Path, &str, Option<&Path>) -> Command) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let token = dir.path().join("token");
        std::fs::write(&token, TOKEN).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_towline"));
        command
            .args(["hub", "--listen", "127.0.0.1:0", "--token-file"])
            .arg(&token);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TOWLINE_")) {
            command.env_remove(name);
        }
        let (hub_process, line) = start(command, "listening on").await;
        let hub = line
            .split("http://")
            .nth(1)
            .unwrap()
            .split(' ')
            .next()
            .unwrap()
            .to_owned();
        let wire = Wire::to(hub.clone()).await;

        let plugin = |token: Option<&Path>| {
            let mut command = plugin(dir.path(), &format!("ws://{}/ws", wire.address), token);
            command.current_dir(dir.path()).env("PYTHONUNBUFFERED", "1");
            command
        };
        let (refused, line) = start(plugin(None), "no link").await;
        assert!(line.contains("401"), "without the token: {line}");
        drop(refused);
        let mut command = plugin(Some(&token));
        let plugin = command.stdin(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        let site = Self {
            hub,
            wire,
            _hub: hub_process,
            plugin,
            _dir: dir,
        };
        site.until("connected", async || {
            site.ask("POST", "/pinglink", json!(null)).await.0 == 200
        })
        .await;
        site
    }

    pub(crate) async fn open(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Response<Incoming> {
        let stream = TcpStream::connect(&self.hub).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.hub)
            .header("authorization", format!("Bearer {token}"))
            .body(Full::new(Bytes::from(body.to_string())))
            .unwrap();
        sender.send_request(request).await.unwrap()
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, String) {
        let response = self.open(TOKEN, method, path, &body).await;
        let status = response.status().as_u16();
        let whole = timeout(PATIENCE, response.into_body().collect())
            .await
            .expect("an answer in time");
        (
            status,
            String::from_utf8(whole.unwrap().to_bytes().into()).unwrap(),
        )
    }

    pub(crate) async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        let wait = async {
            while !is_so().await {
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(PATIENCE, wait)
            .await
            .unwrap_or_else(|_| panic!("never: {what}"));
    }

    pub(crate) async fn create(&self, pod: &Value) -> (u16, String) {
        let none = Value::Null;
        let body = json!({"pod": pod, "configmaps": none, "secrets": none, "projectedvolumesmaps": none, "jobscriptURL": ""});
        self.ask("POST", "/create", body).await
    }

    pub(crate) async fn log(&self, pod: &Value, options: Value) -> (u16, String) {
        self.ask("GET", "/getLogs", log_of(pod, &options)).await
    }

    /// Follows the log of a pod.
    pub(crate) async fn follow(&self, pod: &Value) -> Incoming {
        let body = log_of(pod, &json!({"Follow": true}));
        self.open(TOKEN, "GET", "/getLogs", &body).await.into_body()
    }

    /// A pod whose followed log goes on over a cut of the link, and which is known as `first` said after it. It prints
    /// what `command` does, `word`, first. Gives the pod.
    pub(crate) async fn follows_over_a_cut(&self, command: &str, word: &str) -> Value {
        let pod = pod(
            5,
            &format!("{command}; i=0; while [ $i -lt 100 ]; do echo line $i; i=$((i+1)); sleep 0.05; done"),
        );
        let first = self.create(&pod).await;
        let (mut body, mut log) = (self.follow(&pod).await, String::new());
        read_some(&mut body, &mut log, 30).await;
        self.wire.cut();
        read_rest(body, &mut log).await;
        let lines: String = (0..100).map(|n| format!("line {n}\n")).collect();
        assert_eq!(log, format!("{word}\n{lines}"));
        assert_eq!(self.create(&pod).await, first, "still known after the cut");
        pod
    }

    /// Deletes a pod that is followed and has said `up`; gives its log, and the pod.
    pub(crate) async fn deletes_a_followed_pod(&self, script: &str) -> (String, Value) {
        let pod = pod(6, script);
        assert_eq!(self.create(&pod).await.0, 200);
        let (mut body, mut log) = (self.follow(&pod).await, String::new());
        read_some(&mut body, &mut log, 3).await;
        assert_eq!(self.ask("DELETE", "/delete", pod.clone()).await.0, 200);
        read_rest(body, &mut log).await;
        (log, pod)
    }

    /// The state of the pod's container once it has ended.
    pub(crate) async fn ended(&self, pod: &Value) -> Value {
        let state = Mutex::new(Value::Null);
        self.until("ended", async || {
            let (status, text) = self.ask("GET", "/status", json!([pod])).await;
            assert_eq!(status, 200, "{text}");
            let answer: Value = serde_json::from_str(&text).unwrap();
            let ended = answer[0]["containers"][0]["state"]["terminated"].clone();
            let over = !ended.is_null();
            *state.lock().unwrap() = ended;
            over
        })
        .await;
        state.into_inner().unwrap()
    }
}

/// A pod of one container, numbered.
pub(crate) fn pod(number: u8, script: &str) -> Value {
    json!({
        "metadata": {"name": format!("demo-{number}"), "namespace": "vk", "deletionGracePeriodSeconds": 1,
            "uid": format!("2ee53299-7980-4016-8fef-a045282aec{number:02x}")},
        "spec": {"restartPolicy": "Never", "containers": [
            {"name": "main", "image": "none", "command": ["/bin/sh", "-c", script], "env": [{"name": "WHO", "value": "me"}]},
        ]},
    })
}

/// The body of getLogs, with these options instead of the zeros.
pub(crate) fn log_of(pod: &Value, options: &Value) -> Value {
    let mut body = json!({
        "Namespace": "vk", "PodUID": pod["metadata"]["uid"], "PodName": pod["metadata"]["name"], "ContainerName": "main",
        "Opts": {"Tail": 0, "Bytes": 0, "Timestamps": false, "Follow": false, "Previous": false, "SinceSeconds": 0,
            "SinceTime": "0001-01-01T00:00:00Z"},
    });
    for (name, value) in options.as_object().unwrap() {
        body["Opts"][name] = value.clone();
    }
    body
}

/// Reads a followed log until so much of it came.
pub(crate) async fn read_some(body: &mut Incoming, text: &mut String, bytes: usize) {
    let read = async {
        while text.len() < bytes {
            let frame = body.frame().await.expect("more").unwrap();
            text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        }
    };
    timeout(PATIENCE, read).await.expect("bytes in time");
}

pub(crate) async fn read_rest(body: Incoming, text: &mut String) {
    let rest = timeout(PATIENCE, body.collect()).await.expect("the end in time");
    let rest = rest.expect("a whole log").to_bytes();
    text.push_str(std::str::from_utf8(&rest).unwrap());
}
