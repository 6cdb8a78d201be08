//! The binary as people and scripts meet it: help, exit codes, errors, hub and plugin by hand, the demo.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// The binary, without the settings of whoever runs the tests.
fn towline(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_towline"));
    command.args(args).stdin(Stdio::null()).env("NO_COLOR", "1");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TOWLINE_")) {
        command.env_remove(name);
    }
    command
}

fn run(args: &[&str]) -> Output {
    towline(args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// A process that is ended with the test, whatever happens.
struct Running {
    child: Child,
    /// Stderr, from the line after the one that was waited for.
    talk: BufReader<std::process::ChildStderr>,
}

impl Running {
    /// Starts it and waits for the line on stderr that holds `word`; gives that line.
    fn start(mut command: Command, word: &str) -> (Self, String) {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let talk = BufReader::new(child.stderr.take().unwrap());
        let mut running = Self { child, talk };
        let line = running.wait_for(word);
        (running, line)
    }

    fn wait_for(&mut self, word: &str) -> String {
        let mut line = String::new();
        let mut all = String::new();
        while self.talk.read_line(&mut line).unwrap() > 0 {
            if line.contains(word) {
                return line;
            }
            all.push_str(&line);
            line.clear();
        }
        panic!("it ended without {word:?}; it said:\n{all}");
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// The exit code and the rest of stdout.
    fn end(mut self) -> (Option<i32>, String) {
        // Both pipes are read: a full one would hold up the end.
        let mut out = String::new();
        self.child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut out)
            .unwrap();
        let code = self.child.wait().unwrap().code();
        (code, out)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first `http://...` or `unix://...` of a line.
fn address(line: &str) -> String {
    line.split([' ', ','])
        .find(|word| word.contains("://"))
        .unwrap()
        .to_owned()
}

#[test]
fn help_documents_verbs_environment_and_exit_codes() {
    let help = run(&["--help"]);
    assert_eq!(code(&help), 0);
    let text = stdout(&help);
    for word in [
        "demo",
        "hub",
        "plugin",
        "logs",
        "completion",
        "TOWLINE_HUB",
        "69",
        "77",
        "78",
    ] {
        assert!(text.contains(word), "{word} is missing in\n{text}");
    }
    assert!(!text.contains("supervise"));
}

#[test]
fn wrong_usage_is_2() {
    for args in [
        &["lgos"][..],
        &[],
        &["logs"],
        &["get", "nodes"],
        &["logs", "p", "--since", "x"],
        &["logs", "p", "--tail", "-5"],
    ] {
        let output = run(args);
        assert_eq!(code(&output), 2, "{args:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn a_hub_that_is_not_there_is_69_and_told_with_the_remedy() {
    let output = run(&["get", "pods", "--hub", "http://127.0.0.1:1"]);
    assert_eq!(code(&output), 69);
    let text = stderr(&output);
    assert!(
        text.contains("http://127.0.0.1:1") && text.contains("towline hub"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn wrong_settings_are_78_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("towline.yaml");
    std::fs::write(&file, "hub:\n  listen: 127.0.0.1:0\n  lissten: x\n").unwrap();
    let file = file.to_str().unwrap();
    let cases: [(&[&str], &str); 6] = [
        (&["hub", "--listen", "0.0.0.0:0"], "--insecure"),
        (&["hub", "--listen", "nowhere"], "HOST:PORT"),
        (&["hub", "--config", file], "lissten"),
        (&["config", "check", "--config", file], "line 3"),
        (&["plugin"], "--name"),
        (
            &["get", "pods", "--token-file", "/nonexistent/token"],
            "/nonexistent/token",
        ),
    ];
    for (args, word) in cases {
        let output = run(args);
        assert_eq!(code(&output), 78, "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(word), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn config_print_says_where_each_value_came_from() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("towline.yaml");
    std::fs::write(
        &file,
        "hub: {listen: '127.0.0.1:1', create_hold: 20s}\nplugin: {name: p}\n",
    )
    .unwrap();
    let output = towline(&["config", "print", "--config", file.to_str().unwrap()])
        .env("TOWLINE_LISTEN", "127.0.0.1:2")
        .output()
        .unwrap();
    let text = stdout(&output);
    let row = |key: &str| {
        text.lines()
            .find(|line| line.starts_with(key))
            .unwrap()
            .to_owned()
    };
    assert!(
        row("hub.listen ").contains("127.0.0.1:2")
            && row("hub.listen ").ends_with("environment TOWLINE_LISTEN")
    );
    assert!(row("hub.create_hold").contains("20s") && row("hub.create_hold").contains("towline.yaml"));
    assert!(row("hub.log_hold").ends_with("default"));
    assert!(row("plugin.name").contains('p'));
}

#[test]
fn version_and_completion_print_on_stdout() {
    let version: serde_json::Value = serde_json::from_slice(&run(&["version", "-o", "json"]).stdout).unwrap();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            stdout(&run(&["completion", shell])).contains("towline"),
            "{shell}"
        );
    }
}

#[test]
fn a_port_in_use_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&["hub", "--listen", &address]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains(&address), "{}", stderr(&output));
}

#[test]
fn the_token_is_asked_for_and_its_lack_is_77() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "s3cret\n").unwrap();
    let token = token.to_str().unwrap();
    let socket = format!("unix://{}", dir.path().join("hub.sock").display());
    let (hub, line) = Running::start(
        towline(&["hub", "--listen", &socket, "--token-file", token]),
        "listening on",
    );
    assert_eq!(address(&line), socket);
    let denied = run(&["get", "pods", "--hub", &socket]);
    assert_eq!(code(&denied), 77, "{}", stderr(&denied));
    assert!(stderr(&denied).contains("--token-file"));
    let good = run(&["get", "pods", "--hub", &socket, "--token-file", token]);
    assert_eq!(
        (code(&good), stdout(&good).as_str()),
        (0, ""),
        "{}",
        stderr(&good)
    );
    hub.signal(Signal::SIGTERM);
    assert_eq!(hub.end().0, Some(0));
    assert!(!dir.path().join("hub.sock").exists());
}

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
    _dir: tempfile::TempDir,
}

impl Site {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (hub, line) = Running::start(towline(&["hub", "--listen", "127.0.0.1:0"]), "listening on");
        let address = address(&line);
        let state = dir.path().join("state");
        let plugin = towline(&[
            "plugin",
            "--hub",
            &address,
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
fn a_followed_log_goes_on_over_a_restart_of_the_hub() {
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
        _dir,
    } = Site::start();
    let site_address = address.clone();
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
    hub.signal(Signal::SIGTERM);
    assert_eq!(hub.end().0, Some(0));
    let listen = site_address.trim_start_matches("http://");
    let (_hub, _) = Running::start(towline(&["hub", "--listen", listen]), "listening on");
    plugin.wait_for("connected to the hub");
    std::fs::write(&gate, "").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "after");
    assert!(lines.next().is_none());
    assert!(reader.wait().unwrap().success());
}

/// Directories that a demo left in the temporary directory.
fn left_in(dir: &Path) -> Vec<String> {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn the_demo_runs_a_pod_to_its_end_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let output = towline(&["demo", "--once"])
        .env("TMPDIR", dir.path())
        .output()
        .unwrap();
    let text = stdout(&output);
    assert_eq!(code(&output), 0, "{text}\n{}", stderr(&output));
    for line in [
        "[prepare] preparing",
        "[ticker] tick 4",
        "[watcher] the watcher saw it",
        "Final phase: Succeeded",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert!(
        text.contains("[ticker] demo says: hello from a ConfigMap"),
        "{text}"
    );
    assert_eq!(left_in(dir.path()), Vec::<String>::new());
}

#[test]
fn an_interrupted_demo_leaves_nothing_either() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = towline(&["demo", "--once"]);
    command.env("TMPDIR", dir.path());
    let (mut demo, _) = Running::start(command, "hub at");
    let mut lines = BufReader::new(demo.child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("tick 1")));
    demo.signal(Signal::SIGINT);
    // Drained to its end, which comes when the demo ends.
    assert!(!lines.any(|line| line.unwrap().contains("Final phase")));
    assert_eq!(demo.child.wait().unwrap().code(), Some(1));
    assert_eq!(left_in(dir.path()), Vec::<String>::new());
}
