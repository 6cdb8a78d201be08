//! A plugin killed with SIGKILL while its pods go on: the next one takes them up, and no command runs twice.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    thread,
    time::Duration,
};

fn towline(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_towline"));
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TOWLINE_")) {
        command.env_remove(name);
    }
    command
}

/// A process, killed with SIGKILL when it is dropped.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts it and gives what it says from then on.
fn start(arguments: &[&str]) -> (Peer, BufReader<ChildStderr>) {
    let mut child = towline(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let talk = BufReader::new(child.stderr.take().unwrap());
    (Peer(child), talk)
}

/// Reads on, or else the process would wait for its reader.
fn unheard(talk: BufReader<ChildStderr>) {
    thread::spawn(move || talk.lines().for_each(drop));
}

struct Site {
    dir: tempfile::TempDir,
    hub: String,
    _hub: Peer,
}

impl Site {
    fn new() -> Self {
        let (peer, mut talk) = start(&["hub", "--listen", "127.0.0.1:0"]);
        let mut line = String::new();
        while !line.contains("http://") {
            line.clear();
            assert!(talk.read_line(&mut line).unwrap() > 0, "the hub ended");
        }
        unheard(talk);
        let rest = line.split_once("http://").unwrap().1;
        let hub = format!("http://{}", rest.split([' ', ',', '\n']).next().unwrap());
        Self {
            dir: tempfile::tempdir().unwrap(),
            hub,
            _hub: peer,
        }
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn plugin(&self) -> Peer {
        let state = self.state();
        let arguments = ["plugin", "--name", "p1", "--hub", &self.hub, "--state-dir"];
        let (peer, talk) = start(&[&arguments[..], &[state.to_str().unwrap()]].concat());
        unheard(talk);
        peer
    }

    /// Creates a pod that notes its start, waits for the file `go-NAME` and ends with 5.
    fn create(&self, name: &str) {
        let manifest = self.dir.path().join(format!("{name}.yaml"));
        let (ran, go) = (self.file("ran", name), self.file("go", name));
        let script = format!(
            "echo x >> {}; until [ -e {} ]; do sleep 0.05; done; exit 5",
            ran.display(),
            go.display()
        );
        fs::write(
            &manifest,
            format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  restartPolicy: Never\n  containers:\n  \
                 - name: main\n    command: [/bin/sh, -c, '{script}']\n"
            ),
        )
        .unwrap();
        // The hub holds it until the plugin is there.
        let created = towline(&["create", "--hub", &self.hub, "-f"])
            .arg(manifest)
            .output()
            .unwrap();
        assert!(
            created.status.success(),
            "{}",
            String::from_utf8_lossy(&created.stderr)
        );
    }

    fn file(&self, what: &str, name: &str) -> PathBuf {
        self.dir.path().join(format!("{what}-{name}"))
    }

    /// Waits until the hub knows how the pod ended.
    fn exit_code(&self, name: &str) -> String {
        let mut watch = towline(&["get", "pods", name, "-w", "-o", "json", "--hub", &self.hub])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
        let _watch = Peer(watch);
        let found = lines
            .map(Result::unwrap)
            .find_map(|line| Some(line.split_once("\"exitCode\":")?.1.trim_start().to_owned()))
            .unwrap();
        found.chars().take_while(char::is_ascii_digit).collect()
    }

    fn starts(&self, name: &str) -> usize {
        fs::read_to_string(self.file("ran", name))
            .unwrap_or_default()
            .lines()
            .count()
    }
}

fn appears(path: &Path) {
    while !path.exists() {
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_pod_survives_sigkill_of_its_plugin_and_runs_once() {
    let site = Site::new();
    // Killed right after the create was answered: the run may be at any step of its start.
    for name in ["answered-1", "answered-2", "answered-3"] {
        let plugin = site.plugin();
        site.create(name);
        drop(plugin);
        let next = site.plugin();
        fs::write(site.file("go", name), "").unwrap();
        assert_eq!(
            (site.exit_code(name).as_str(), site.starts(name)),
            ("5", 1),
            "{name}"
        );
        drop(next);
    }
    // Killed while the command runs, which goes on.
    let plugin = site.plugin();
    site.create("running");
    appears(&site.file("ran", "running"));
    drop(plugin);
    let next = site.plugin();
    fs::write(site.file("go", "running"), "").unwrap();
    assert_eq!(
        (site.exit_code("running").as_str(), site.starts("running")),
        ("5", 1)
    );
    // The command ends while no plugin is there.
    site.create("alone");
    appears(&site.file("ran", "alone"));
    drop(next);
    fs::write(site.file("go", "alone"), "").unwrap();
    let run = fs::read_dir(site.state().join("pods"))
        .unwrap()
        .map(|pod| pod.unwrap().path().join("containers/main/1"))
        .find(|run| {
            let spec = fs::read_to_string(run.join("spec.json")).unwrap();
            spec.contains("go-alone")
        })
        .unwrap();
    appears(&run.join("exit.json"));
    let _last = site.plugin();
    assert_eq!((site.exit_code("alone").as_str(), site.starts("alone")), ("5", 1));
}

#[test]
fn a_second_plugin_on_the_same_state_directory_ends_and_names_the_first() {
    let site = Site::new();
    let first = site.plugin();
    site.create("here");
    let state = site.state();
    let (mut second, mut talk) = start(&[
        "plugin",
        "--name",
        "p2",
        "--hub",
        &site.hub,
        "--state-dir",
        state.to_str().unwrap(),
    ]);
    let mut said = String::new();
    talk.read_to_string(&mut said).unwrap();
    assert!(!second.0.wait().unwrap().success());
    assert!(said.contains(&format!("process {} on ", first.0.id())), "{said}");
    fs::write(site.file("go", "here"), "").unwrap();
    assert_eq!(site.exit_code("here"), "5");
}
