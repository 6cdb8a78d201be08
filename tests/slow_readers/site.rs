//! A hub and a plugin as processes, and pods that wrote their log.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    http::Client,
    process::{Running, address, towline},
};

pub(crate) struct Site {
    hub: Running,
    _plugin: Running,
    url: String,
    _dir: tempfile::TempDir,
}

/// A uid of its own for each name.
pub(crate) fn uid(pod: &str) -> String {
    let number = pod.bytes().fold(0u64, |sum, byte| sum * 31 + u64::from(byte));
    format!("6a2f41a3-c54c-4ce5-9d2e-{:012x}", number & 0xffff_ffff_ffff)
}

/// The pod as Kubernetes has it.
pub(crate) fn pod(name: &str, script: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "default", "uid": uid(name)},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "main", "image": "none", "command": ["/bin/sh", "-c", script]}],
        },
    })
}

/// What `seq 1 999999999 | head -c SIZE` prints, as SHA-256: no piece of it is like another.
pub(crate) fn digest_of(size: u64) -> [u8; 32] {
    let (mut digest, mut left, mut piece) = (Sha256::new(), size, String::new());
    for number in 1u64.. {
        use std::fmt::Write;
        writeln!(piece, "{number}").unwrap();
        if piece.len() as u64 >= left.min(1 << 20) {
            let most = usize::try_from(left.min(piece.len() as u64)).unwrap();
            digest.update(&piece.as_bytes()[..most]);
            left -= most as u64;
            piece.clear();
            if left == 0 {
                break;
            }
        }
    }
    digest.finalize().into()
}

impl Site {
    pub(crate) fn start() -> Self {
        let (hub, line) = Running::start(towline(&["hub", "--listen", "127.0.0.1:0"]), "listening on");
        let url = address(&line);
        Self::with(hub, url.clone(), &url)
    }

    /// The same, with a plugin that dials over gRPC.
    #[cfg(feature = "grpc")]
    pub(crate) fn start_over_grpc() -> Self {
        let arguments = ["hub", "--listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0"];
        let (mut hub, line) = Running::start(towline(&arguments), "listening on");
        let link = address(&hub.wait_for("plugins over gRPC"));
        Self::with(hub, address(&line), &link)
    }

    /// With a plugin that dials `link`.
    fn with(hub: Running, url: String, link: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let arguments = ["plugin", "--hub", link, "--name", "site", "--state-dir"];
        let plugin = towline(&[&arguments[..], &[state.to_str().unwrap()]].concat());
        let (plugin, _) = Running::start(plugin, "connected to the hub");
        Self {
            hub,
            _plugin: plugin,
            url,
            _dir: dir,
        }
    }

    /// `HOST:PORT` of the hub.
    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// Creates a pod and waits until it has ended with 0.
    pub(crate) fn run_pod(&self, name: &str, script: &str) {
        let body = json!({"pod": pod(name, script), "configmaps": null, "secrets": null, "jobscriptURL": ""});
        let (status, said) = Client::new(self).ask("POST", "/create", &body.to_string());
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&said));
        let mut watch = towline(&["get", "pods", name, "-w", "-o", "json", "--hub", &self.url])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
        let code = lines
            .map(Result::unwrap)
            .find_map(|line| Some(line.split_once("\"exitCode\":")?.1.trim().to_owned()));
        watch.kill().unwrap();
        watch.wait().unwrap();
        let code = code.unwrap();
        assert!(code.starts_with('0'), "{name} ended with {code}");
    }

    /// The most memory that the hub has had, in bytes.
    pub(crate) fn hub_peak(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.hub.child.id())).unwrap();
        let line = text.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib << 10
    }

    pub(crate) fn metric(&self, name: &str) -> u64 {
        let (_, text) = Client::new(self).ask("GET", "/metrics", "");
        let text = String::from_utf8(text).unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")))
            .unwrap();
        line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// Waits until a metric has this value.
    pub(crate) fn until_metric(&self, name: &str, value: u64) {
        let mut tries = 0;
        while self.metric(name) != value {
            tries += 1;
            assert!(tries < 6_000, "{name} is {}, never {value}", self.metric(name));
            thread::sleep(Duration::from_millis(10));
        }
    }
}
