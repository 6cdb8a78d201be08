//! Where a process may enter no user and no mount namespace: pods run, and one that needs a mountPath is refused with
//! the way out.
//!
//! Such a place is made from a machine that allows them in two ways, whichever it has the means for; on a machine that
//! does not allow them, it is the machine itself. A place that cannot be made is told on stderr.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use towline::backend::process::supervisor;

const PROGRAM: &str = env!("CARGO_BIN_EXE_towline");

/// A user namespace of its own in which no further one may be made, and no capability is left. Needs no root.
const LIMIT: &str = "exec unshare --user --map-root-user sh -c '\
    echo 0 > /proc/sys/user/max_user_namespaces && \
    exec setpriv --no-new-privs --inh-caps=-all --bounding-set=-all \"$@\"' sh \"$@\"";

/// A chroot and a user who is nobody: the kernel allows no user namespace there (user_namespaces(7)). Needs root; the
/// mounts are seen by nobody else.
const CHROOT: &str = "exec unshare --mount --propagation private sh -c '\
    mount --rbind / \"$PLACE/root\" && chown -R 65534:65534 \"$PLACE/home\" && \
    exec chroot --userspec=65534:65534 \"$PLACE/root\" \"$@\"' sh \"$@\"";

/// A place without namespaces, with a home of its own.
struct Place {
    name: &'static str,
    script: &'static str,
    dir: tempfile::TempDir,
}

impl Place {
    /// Every kind of place that this machine can make. None of them: the test has said so, and tests nothing.
    fn all() -> Vec<Self> {
        if supervisor::probe(Path::new(PROGRAM)).mounts.is_err() {
            return vec![Self::new("this machine", "exec \"$@\"")];
        }
        let mut places = Vec::new();
        for place in [Self::new("limit", LIMIT), Self::new("chroot", CHROOT)] {
            let tried = place.run(&["unshare", "--user", "true"]);
            let said = String::from_utf8_lossy(&tried.stderr).into_owned();
            // The tool itself must have been refused, not the way to it.
            if !tried.status.success() && place.run(&["true"]).status.success() {
                places.push(place);
            } else {
                // Not by eprintln!, whose words of a passing test are kept back.
                let _ = writeln!(
                    io::stderr(),
                    "NOT TESTED here: a place without namespaces by {}: {said}",
                    place.name
                );
            }
        }
        places
    }

    fn new(name: &'static str, script: &'static str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for part in ["home", "root"] {
            fs::create_dir(dir.path().join(part)).unwrap();
        }
        // A build directory may be closed to nobody.
        let program = dir.path().join("towline");
        fs::hard_link(PROGRAM, &program)
            .or_else(|_| fs::copy(PROGRAM, &program).map(drop))
            .unwrap();
        Self { name, script, dir }
    }

    fn command(&self, argv: &[&str]) -> Command {
        let mut command = Command::new("sh");
        let home = self.dir.path().join("home");
        command
            .args(["-c", self.script, "sh"])
            .args(argv)
            .env("PLACE", self.dir.path())
            .env("HOME", &home)
            .env("TMPDIR", &home)
            .env_remove("TOWLINE_HUB")
            .current_dir("/")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, argv: &[&str]) -> Output {
        self.command(argv).output().unwrap()
    }

    fn towline(&self, arguments: &[&str]) -> Output {
        let program = self.dir.path().join("towline");
        let mut argv = vec![program.to_str().unwrap()];
        argv.extend(arguments);
        self.run(&argv)
    }

    /// What is left in the place's own directory.
    fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path().join("home")).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

fn said(output: &Output) -> String {
    format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn the_demo_runs_where_namespaces_are_not_allowed() {
    for place in Place::all() {
        let demo = place.towline(&["demo", "--once"]);
        let said = said(&demo);
        assert!(demo.status.success(), "{}: {said}", place.name);
        assert!(said.contains("Succeeded"), "{}: {said}", place.name);
        assert_eq!(place.left(), Vec::<String>::new(), "{}", place.name);
    }
}

/// A hub and a plugin in a place, ended when it is dropped.
struct Peers {
    hub: String,
    children: Vec<Child>,
}

impl Peers {
    fn start(place: &Place) -> Self {
        let program = place.dir.path().join("towline");
        let program = program.to_str().unwrap();
        let mut hub = Command::new(PROGRAM)
            .args(["hub", "--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(hub.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map(Result::unwrap)
            .find_map(|line| {
                Some(
                    line.split_once("http://")?
                        .1
                        .split_whitespace()
                        .next()?
                        .to_owned(),
                )
            })
            .unwrap();
        // Read on, or else the hub would wait for its reader.
        std::thread::spawn(move || lines.for_each(drop));
        let link = format!("ws://{address}/ws");
        let plugin = place
            .command(&[program, "plugin", "--hub", &link, "--name", "p1"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            hub: format!("http://{address}"),
            children: vec![plugin, hub],
        }
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn a_pod_that_needs_a_mount_path_is_refused_with_the_way_out() {
    for place in Place::all() {
        let peers = Peers::start(&place);
        let pod = place.dir.path().join("home/pod.yaml");
        fs::write(
            &pod,
            "apiVersion: v1\nkind: Pod\nmetadata: {name: needs-mount}\nspec:\n  volumes: [{name: work, emptyDir: {}}]\n  \
             containers:\n  - name: main\n    command: [\"true\"]\n    volumeMounts: [{name: work, mountPath: /work}]\n",
        )
        .unwrap();
        // The hub holds the create until the plugin is there.
        let created = Command::new(PROGRAM)
            .args(["create", "--hub", &peers.hub, "-f"])
            .arg(&pod)
            .output()
            .unwrap();
        let said = said(&created);
        assert!(!created.status.success(), "{}: {said}", place.name);
        for words in [
            "container main: volume work cannot be mounted at /work",
            "user and mount namespace",
            "user.max_user_namespaces",
            "or run the plugin as root",
            "$TOWLINE_VOLUMES/work",
        ] {
            assert!(said.contains(words), "{}: no {words:?} in: {said}", place.name);
        }
    }
}
