//! A hub and a plugin as processes, and what the client verbs show of them.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Command, Output, Stdio},
};

use nix::sys::signal::Signal;

use super::process::{Running, address, code, run, stderr, stdout, towline};

const POD: &str = "
kind: ConfigMap
metadata: {name: words}
data: {word: towline}
---
kind: Pod
metadata: {name: talker}
spec:
  restartPolicy: Never
  containers:
  - name: main
    env: [{name: WORD, valueFrom: {configMapKeyRef: {name: words, key: word}}}]
    command: [/bin/sh, -c, 'printf \"a\\\\0b %s\\n\" $WORD; for n in 1 2 3; do echo $n; done; exit 3']
";

/// A hub and a plugin as processes of their own.
struct Site {
    hub: Running,
    plugin: Running,
    address: String,
    /// Where the plugin dials.
    link: String,
    _dir: tempfile::TempDir,
}

/// Starts a hub that listens at `listen`, and for plugins over gRPC at `grpc` where that is what carries the link. Gives
/// its address, and that for plugins.
fn start_hub(listen: &str, grpc: &str) -> (Running, String, String) {
    if !crate::OVER_GRPC {
        let (hub, line) = Running::start(towline(&["hub", "--listen", listen]), "listening on");
        return (hub, address(&line), address(&line));
    }
    let arguments = ["hub", "--listen", listen, "--grpc-listen", grpc];
    let (mut hub, line) = Running::start(towline(&arguments), "listening on");
    let link = address(&hub.wait_for("plugins over gRPC"));
    assert!(link.starts_with("grpc://"), "{link}");
    (hub, address(&line), link)
}

impl Site {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (hub, address, link) = start_hub("127.0.0.1:0", "127.0.0.1:0");
        let state = dir.path().join("state");
        let plugin = towline(&[
            "plugin",
            "--hub",
            &link,
            "--name",
            "site",
            "--state-dir",
            state.to_str().unwrap(),
        ]);
        let (plugin, _) = Running::start(plugin, "connected to the hub");
        Self {
            hub,
            plugin,
            address,
            link,
            _dir: dir,
        }
    }

    fn create(&self, pod: &str) -> Output {
        let mut command = towline(&["create", "-f", "-", "--hub", &self.address]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(pod.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    fn run(&self, args: &[&str]) -> Output {
        run(&[args, &["--hub", &self.address]].concat())
    }
}

#[test]
fn a_pod_goes_all_the_way_through_hub_and_plugin() {
    let site = Site::start();
    let created = site.create(POD);
    assert_eq!(
        (code(&created), stdout(&created).as_str()),
        (0, "pod/talker created\n"),
        "{}",
        stderr(&created)
    );
    let again = site.create(POD);
    assert_eq!(code(&again), 1);
    assert!(stderr(&again).contains("exists already"), "{}", stderr(&again));

    let log = site.run(&["logs", "-f", "talker"]);
    assert_eq!(
        (code(&log), log.stdout.as_slice()),
        (0, &b"a\0b towline\n1\n2\n3\n"[..]),
        "{}",
        stderr(&log)
    );
    assert_eq!(
        stdout(&site.run(&["logs", "talker", "--tail", "2", "-c", "main"])),
        "2\n3\n"
    );
    assert_eq!(
        site.run(&["logs", "talker", "--limit-bytes", "3"]).stdout,
        b"a\0b"
    );

    // The end of the log may be known before the end of the container.
    let watch = towline(&["get", "pods", "-w", "-o", "json", "--hub", &site.address])
        .stdout(Stdio::piped())
        .spawn();
    let mut watch = watch.unwrap();
    let failed = BufReader::new(watch.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap)
        .any(|line| line.contains("\"phase\": \"Failed\""));
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert!(failed);

    let table = stdout(&site.run(&["get", "pods", "-o", "wide"]));
    assert!(
        table.starts_with("NAME ") && table.contains("talker") && table.contains("site"),
        "{table}"
    );
    assert_eq!(stdout(&site.run(&["get", "pods", "-o", "name"])), "pod/talker\n");
    assert!(stdout(&site.run(&["status", "talker"])).contains("Terminated   3"));
    let plugins: serde_json::Value =
        serde_json::from_slice(&site.run(&["get", "plugins", "-o", "json"]).stdout).unwrap();
    assert_eq!(plugins["items"][0]["name"], "site");

    let deleted = site.run(&["delete", "pod", "talker"]);
    assert_eq!(
        stdout(&deleted),
        "pod \"talker\" deleted\n",
        "{}",
        stderr(&deleted)
    );
    let unknown = site.run(&["logs", "talker-2"]);
    assert_eq!(code(&unknown), 1);
    let connected = site.run(&["plugins", "forget", "site"]);
    assert_eq!(code(&connected), 1);
    assert!(stderr(&connected).contains("connected"));
}

#[test]
fn a_watch_tells_a_lost_hub_once_and_goes_on_with_the_next() {
    let (hub, line) = Running::start(towline(&["hub", "--listen", "127.0.0.1:0"]), "listening on");
    let address = address(&line);
    let watch = towline(&["get", "plugins", "-w", "--hub", &address]);
    let mut watch = watch_started(watch);
    hub.signal(Signal::SIGTERM);
    assert_eq!(hub.end().0, Some(0));
    assert!(watch.wait_for("trying to go on").contains(&address));
    let listen = address.trim_start_matches("http://");
    let (_hub, _) = Running::start(towline(&["hub", "--listen", listen]), "listening on");
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().to_str().unwrap();
    let plugin = towline(&[
        "plugin",
        "--hub",
        &address,
        "--name",
        "late",
        "--state-dir",
        state,
    ]);
    let (_plugin, _) = Running::start(plugin, "connected to the hub");
    let mut lines = BufReader::new(watch.child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("late ")), "the watch goes on");
    watch.child.kill().unwrap();
    let rest: Vec<String> = watch.rest_of_talk();
    assert!(rest.is_empty(), "said once only: {rest:?}");
}

/// A watch that has its first answer: its head is printed.
fn watch_started(mut watch: Command) -> Running {
    let mut child = watch
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut head = [0; 4];
    child.stdout.as_mut().unwrap().read_exact(&mut head).unwrap();
    assert_eq!(&head, b"NAME");
    Running::of(child)
}

#[test]
fn a_followed_log_goes_on_over_a_restart_and_a_kill_of_the_hub() {
    for (signal, code) in [(Signal::SIGTERM, Some(0)), (Signal::SIGKILL, None)] {
        followed_over(signal, code);
    }
}

/// The hub ends by this signal, and another one takes its place.
fn followed_over(signal: Signal, code: Option<i32>) {
    let dir = tempfile::tempdir().unwrap();
    let gate = dir.path().join("gate");
    let pod = format!(
        "{{kind: Pod, metadata: {{name: gated}}, spec: {{restartPolicy: Never, containers: [{{name: main, command: [/bin/sh, -c, \
         'echo before; while [ ! -e {} ]; do sleep 0.05; done; echo after']}}]}}}}",
        gate.display()
    );
    let Site {
        hub,
        mut plugin,
        address,
        link,
        _dir,
    } = Site::start();
    let mut child = towline(&["create", "-f", "-", "--hub", &address])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(format!("---\n{pod}").as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success());
    let mut reader = towline(&["logs", "-f", "gated", "--hub", &address])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(reader.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "before");
    hub.signal(signal);
    assert_eq!(hub.end().0, code);
    let listen = address.trim_start_matches("http://");
    let (_hub, ..) = start_hub(listen, link.trim_start_matches("grpc://"));
    plugin.wait_for("connected to the hub");
    std::fs::write(&gate, "").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "after");
    assert!(lines.next().is_none());
    assert!(reader.wait().unwrap().success());
}
