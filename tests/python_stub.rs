//! The Python example against the real hub, as the virtual kubelet meets it. It has no optional feature, so the hub
//! polls its states and pulls its logs.
//!
//! Needs a Python with `examples/stubs/python/requirements.txt` installed: `make test` installs one, TOWLINE_PYTHON
//! names another. Without one the test does nothing and says so.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

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

const TOKEN: &str = "a-token-of-the-test";
/// Long enough for a busy machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);
const COUNT: &str = "i=0; while [ $i -lt 50000 ]; do echo line $i; i=$((i+1)); done; exit 3";

fn python() -> Option<PathBuf> {
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
struct Wire {
    address: String,
    connections: Arc<Mutex<JoinSet<()>>>,
}

impl Wire {
    async fn to(hub: String) -> Self {
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
    fn cut(&self) {
        self.connections.lock().unwrap().abort_all();
    }
}

/// Hub and plugin, each a process of its own, and the wire between them.
struct Site {
    hub: String,
    wire: Wire,
    _hub: Child,
    plugin: Child,
    _dir: tempfile::TempDir,
}

impl Site {
    async fn start(python: &Path) -> Self {
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

        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/stubs/python");
        let stubs = dir.path().join("stubs");
        let mut generate = std::process::Command::new(here.join("generate.sh"));
        let made = generate.arg(python).arg(&stubs).status().unwrap();
        assert!(
            made.success(),
            "are the requirements installed in {}?",
            python.display()
        );
        let plugin = |more: &[&std::ffi::OsStr]| {
            let mut command = Command::new(python);
            command
                .arg(here.join("plugin.py"))
                .args(["--hub", &format!("ws://{}/ws", wire.address), "--name", "snake"])
                .args(more)
                .current_dir(dir.path())
                .env("PYTHONPATH", &stubs)
                .env("PYTHONUNBUFFERED", "1");
            command
        };
        let (refused, line) = start(plugin(&[]), "no link").await;
        assert!(line.contains("401"), "without the token: {line}");
        drop(refused);
        let mut command = plugin(&["--token-file".as_ref(), token.as_os_str()]);
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

    async fn open(&self, token: &str, method: &str, path: &str, body: &Value) -> Response<Incoming> {
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

    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, String) {
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

    async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        let wait = async {
            while !is_so().await {
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(PATIENCE, wait)
            .await
            .unwrap_or_else(|_| panic!("never: {what}"));
    }

    async fn create(&self, pod: &Value) -> (u16, String) {
        let none = Value::Null;
        let body = json!({"pod": pod, "configmaps": none, "secrets": none, "projectedvolumesmaps": none, "jobscriptURL": ""});
        self.ask("POST", "/create", body).await
    }

    async fn log(&self, pod: &Value, options: Value) -> (u16, String) {
        self.ask("GET", "/getLogs", log_of(pod, &options)).await
    }

    /// The state of the pod's container once it has ended.
    async fn ended(&self, pod: &Value) -> Value {
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
fn pod(number: u8, script: &str) -> Value {
    json!({
        "metadata": {"name": format!("demo-{number}"), "namespace": "vk", "deletionGracePeriodSeconds": 1,
            "uid": format!("2ee53299-7980-4016-8fef-a045282aec{number:02x}")},
        "spec": {"restartPolicy": "Never", "containers": [
            {"name": "main", "image": "none", "command": ["/bin/sh", "-c", script], "env": [{"name": "WHO", "value": "me"}]},
        ]},
    })
}

/// The body of getLogs, with these options instead of the zeros.
fn log_of(pod: &Value, options: &Value) -> Value {
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
async fn read_some(body: &mut Incoming, text: &mut String, bytes: usize) {
    let read = async {
        while text.len() < bytes {
            let frame = body.frame().await.expect("more").unwrap();
            text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        }
    };
    timeout(PATIENCE, read).await.expect("bytes in time");
}

async fn read_rest(body: Incoming, text: &mut String) {
    let rest = timeout(PATIENCE, body.collect()).await.expect("the end in time");
    let rest = rest.expect("a whole log").to_bytes();
    text.push_str(std::str::from_utf8(&rest).unwrap());
}

#[tokio::test]
async fn the_python_plugin_runs_pods_for_a_virtual_kubelet() {
    let Some(python) = python() else {
        eprintln!("skipped: no Python with the stub's packages; `make test` installs one");
        return;
    };
    let mut site = Site::start(&python).await;
    runs_a_pod_to_its_end(&site).await;
    refuses_what_it_cannot_do(&site).await;
    goes_on_after_a_cut(&site).await;
    ends_a_pod_that_is_deleted(&site).await;

    let pid = nix::unistd::Pid::from_raw(site.plugin.id().unwrap().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let exit = timeout(PATIENCE, site.plugin.wait())
        .await
        .expect("ends on SIGTERM");
    assert!(exit.unwrap().success());
}

async fn runs_a_pod_to_its_end(site: &Site) {
    let pod = pod(1, COUNT);
    let first = site.create(&pod).await;
    assert_eq!(first.0, 200, "{}", first.1);
    assert_eq!(site.create(&pod).await, first, "a second create starts nothing");

    // Longer than two reads, followed while it grows.
    let whole: String = (0..50_000).map(|n| format!("line {n}\n")).collect();
    let (status, log) = site.log(&pod, json!({"Follow": true})).await;
    assert!(
        status == 200 && log == whole,
        "{status}: {} of {} bytes",
        log.len(),
        whole.len()
    );
    let ended = site.ended(&pod).await;
    assert_eq!(
        (&ended["exitCode"], &ended["reason"]),
        (&json!(3), &json!("Error"))
    );
    assert!(
        ended["startedAt"].as_str() <= ended["finishedAt"].as_str(),
        "{ended}"
    );

    let (_, log) = site.log(&pod, json!({})).await;
    assert!(log == whole, "{} of {} bytes", log.len(), whole.len());
    let (_, log) = site.log(&pod, json!({"Tail": 2})).await;
    assert_eq!(log, "line 49998\nline 49999\n");
    let (_, log) = site.log(&pod, json!({"Tail": 40_000})).await;
    assert!(
        whole.ends_with(&log) && log.starts_with("line 10000\n"),
        "{} bytes",
        log.len()
    );
    let (_, log) = site.log(&pod, json!({"Tail": 60_000, "Follow": true})).await;
    assert!(log == whole, "{} of {} bytes", log.len(), whole.len());
    let (_, log) = site.log(&pod, json!({"Bytes": 300_001})).await;
    assert!(log == whole[..300_001], "{} bytes", log.len());
}

async fn refuses_what_it_cannot_do(site: &Site) {
    let known = pod(1, COUNT);
    for (options, status, text) in [
        (
            json!({"Timestamps": true}),
            501,
            "this plugin keeps no times of log lines",
        ),
        (
            json!({"SinceSeconds": 60}),
            501,
            "this plugin keeps no times of log lines",
        ),
        (
            json!({"SinceSeconds": 60, "Follow": true}),
            501,
            "this plugin keeps no times of log lines",
        ),
        (json!({"Previous": true}), 404, "there is no such log here"),
    ] {
        let answer = site.log(&known, options.clone()).await;
        assert!(
            answer.0 == status && answer.1.contains(text),
            "{options}: {answer:?}"
        );
    }
    assert_eq!(site.log(&pod(99, ""), json!({})).await.0, 404);

    let no_command = json!([{"name": "main", "image": "none"}]);
    let mut two = pod(2, "true")["spec"]["containers"].clone();
    let one = two[0].clone();
    two.as_array_mut().unwrap().push(one.clone());
    two[1]["name"] = json!("second");
    for (number, containers) in [(2, no_command), (3, two)] {
        let mut bad = pod(number, "true");
        bad["spec"]["containers"] = containers;
        let (status, text) = site.create(&bad).await;
        assert!(
            status == 422 && text.contains("one container with a command"),
            "{status} {text}"
        );
    }
    let mut with_init = pod(4, "true");
    with_init["spec"]["initContainers"] = json!([one]);
    with_init["spec"]["initContainers"][0]["name"] = json!("before");
    assert_eq!(site.create(&with_init).await.0, 422);
    for path in ["/create", "/status", "/getLogs"] {
        assert_eq!(site.open("", "POST", path, &json!([])).await.status(), 401);
    }
}

async fn goes_on_after_a_cut(site: &Site) {
    let pod = pod(
        5,
        "echo \"$WHO\"; i=0; while [ $i -lt 100 ]; do echo line $i; i=$((i+1)); sleep 0.05; done",
    );
    let first = site.create(&pod).await;
    let response = site
        .open(TOKEN, "GET", "/getLogs", &log_of(&pod, &json!({"Follow": true})))
        .await;
    let (mut body, mut log) = (response.into_body(), String::new());
    read_some(&mut body, &mut log, 30).await;
    site.wire.cut();
    read_rest(body, &mut log).await;
    let lines: String = (0..100).map(|n| format!("line {n}\n")).collect();
    assert_eq!(log, format!("me\n{lines}"));
    assert_eq!(site.create(&pod).await, first, "still known after the cut");
}

async fn ends_a_pod_that_is_deleted(site: &Site) {
    let pod = pod(
        6,
        "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.1; done",
    );
    assert_eq!(site.create(&pod).await.0, 200);
    let response = site
        .open(TOKEN, "GET", "/getLogs", &log_of(&pod, &json!({"Follow": true})))
        .await;
    let (mut body, mut log) = (response.into_body(), String::new());
    read_some(&mut body, &mut log, 3).await;
    assert_eq!(site.ask("DELETE", "/delete", pod.clone()).await.0, 200);
    read_rest(body, &mut log).await;
    // The shell may have a word to say of its sleep.
    assert!(
        log.starts_with("up\n") && log.ends_with("bye\n"),
        "the last words are read too: {log:?}"
    );
    site.until("gone", async || {
        !site
            .ask("GET", "/api/v1/pods", json!(null))
            .await
            .1
            .contains("demo-6")
    })
    .await;
    assert_eq!(
        site.ask("DELETE", "/delete", pod).await.0,
        200,
        "deleting nothing succeeds"
    );
}
