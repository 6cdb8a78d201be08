//! interLink's API server, as far as a plugin sees it: one connection a call, bodies on GET. And the plugin's command.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};

use crate::process::{Running, address, towline};

/// Nothing here takes this long; it only keeps a failing test from hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// An answer whose body still comes.
pub(crate) struct Open {
    pub(crate) code: u16,
    head: String,
    socket: BufReader<TcpStream>,
}

/// Sends a request and reads the answer's head.
pub(crate) fn open(address: &str, method: &str, path: &str, headers: &str, body: &[u8]) -> Open {
    let host = address.trim_start_matches("http://");
    let mut socket = TcpStream::connect(host).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    socket.write_all(head.as_bytes()).unwrap();
    socket.write_all(body).unwrap();
    let mut socket = BufReader::new(socket);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(socket.read_line(&mut head).unwrap() > 0, "cut off: {head}");
    }
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    Open {
        code,
        head: head.to_lowercase(),
        socket,
    }
}

impl Open {
    /// The next chunk of a body that is sent in chunks; none at its end.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut size = String::new();
        self.socket.read_line(&mut size).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        self.socket.read_exact(&mut chunk).unwrap();
        chunk.truncate(size);
        (size > 0).then_some(chunk)
    }

    /// Reads until the body holds so many bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(self.chunk().expect("more of the body"));
        }
        all
    }

    /// Reads on to the end of the connection; whether the body was cut off there.
    pub(crate) fn ends_cut_off(mut self) -> bool {
        const LAST: &[u8] = b"\r\n0\r\n\r\n";
        let (mut end, mut piece) = (Vec::new(), vec![0; 64 << 10]);
        while let Ok(size @ 1..) = self.socket.read(&mut piece) {
            end.extend_from_slice(&piece[..size]);
            end.drain(..end.len().saturating_sub(LAST.len()));
        }
        end != LAST
    }

    pub(crate) fn whole(mut self) -> Answer {
        let mut body = Vec::new();
        if self.head.contains("transfer-encoding: chunked") {
            while let Some(chunk) = self.chunk() {
                body.extend(chunk);
            }
        } else {
            self.socket.read_to_end(&mut body).unwrap();
        }
        Answer {
            code: self.code,
            head: self.head,
            body,
        }
    }
}

pub(crate) fn ask(address: &str, method: &str, path: &str, body: &Value) -> Answer {
    let session = "InterLink-Http-Session: CreatePod#7\r\n";
    open(address, method, path, session, body.to_string().as_bytes()).whole()
}

pub(crate) fn uid(n: u8) -> String {
    format!("6a2f41a3-c54c-4ce5-9d2e-7d0f6b1c0b{n:02x}")
}

/// A pod whose one container runs this in a shell.
pub(crate) fn pod(uid: &str, script: &str) -> Value {
    json!({
        "metadata": {"name": "talker", "namespace": "vk", "uid": uid},
        "spec": {"restartPolicy": "Never", "containers": [
            {"name": "main", "image": "busybox", "command": ["/bin/sh", "-c", script]}]},
    })
}

/// What an API server makes of it.
pub(crate) fn retrieved(pod: &Value) -> Value {
    json!({"pod": pod, "container": [{"name": "main", "configMaps": null, "projectedvolumemaps": null, "secrets": null,
        "emptyDirs": null}], "jobConfig": {}})
}

pub(crate) fn logs_body(uid: &str, options: &Value) -> Value {
    let mut body = json!({"Namespace": "vk", "PodUID": uid, "PodName": "talker", "ContainerName": "main", "Opts": {
        "Tail": 0, "Bytes": 0, "Timestamps": false, "Follow": false, "Previous": false, "SinceSeconds": 0,
        "SinceTime": "0001-01-01T00:00:00Z"}});
    for (key, value) in options.as_object().unwrap() {
        body["Opts"][key] = value.clone();
    }
    body
}

/// `towline plugin` with its REST on a free port, and where that is.
pub(crate) fn plugin(state: &Path, args: &[&str]) -> (Running, String) {
    let (running, line) = Running::start(command(state, args), "REST for an interLink API server");
    let address = address(line.trim());
    (running, address)
}

pub(crate) fn command(state: &Path, args: &[&str]) -> Command {
    let fixed = [
        "plugin",
        "--name",
        "site",
        "--listen",
        "127.0.0.1:0",
        "--state-dir",
    ];
    let mut command = towline(&fixed);
    command.arg(state).args(args);
    command
        .env_remove("INTERLINK_TRANSPORT")
        .env_remove("INTERLINK_WS_URL");
    command
}
