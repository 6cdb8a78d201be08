//! A hub with a state directory, killed and started again, and one without.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::Stdio,
};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::process::{Running, address, code, run, stderr, towline};

fn hub(listen: &str, state: Option<&Path>) -> (Running, String) {
    let mut command = towline(&["hub", "--listen", listen]);
    if let Some(state) = state {
        command.arg("--state-dir").arg(state);
    }
    let (hub, line) = Running::start(command, "listening on");
    (hub, address(&line))
}

fn plugin(hub: &str, state: &Path) -> Running {
    let mut command = towline(&["plugin", "--hub", hub, "--name", "site", "--state-dir"]);
    command.arg(state);
    Running::start(command, "connected to the hub").0
}

fn items(hub: &str) -> Vec<Value> {
    let output = run(&["get", "pods", "-A", "-o", "json", "--hub", hub]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let pods: Value = serde_json::from_slice(&output.stdout).unwrap();
    match &pods["items"] {
        Value::Array(items) => items.clone(),
        _ => vec![pods],
    }
}

#[test]
fn a_killed_hub_answers_from_its_store_at_once_and_keeps_its_promises() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("hub");
    let (first, address) = hub("127.0.0.1:0", Some(&state));
    let site = plugin(&address, &dir.path().join("site"));
    let mut create = towline(&["create", "-f", "-", "--hub", &address])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pod = "kind: Pod\nmetadata: {name: stays}\nspec:\n  containers:\n  - {name: main, command: [sleep, '100000']}\n";
    create.stdin.take().unwrap().write_all(pod.as_bytes()).unwrap();
    assert!(create.wait().unwrap().success());
    let mut watch = towline(&["get", "pods", "-w", "-o", "json", "--hub", &address])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let runs = BufReader::new(watch.stdout.take().unwrap())
        .lines()
        .any(|line| line.unwrap().contains("\"Running\""));
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert!(runs);

    // The plugin goes first, so that what the next hub says can only come from the store.
    site.signal(Signal::SIGKILL);
    assert_eq!(site.end().0, None);
    let deleted = run(&["delete", "pod", "stays", "--hub", &address]);
    assert_eq!(code(&deleted), 0, "{}", stderr(&deleted));
    first.signal(Signal::SIGKILL);
    assert_eq!(first.end().0, None);
    let listen = address.trim_start_matches("http://");
    let (mut second, _) = hub(listen, Some(&state));
    let pods = items(&address);
    assert_eq!(
        (pods.len(), &pods[0]["phase"], &pods[0]["plugin"]),
        (1, &Value::from("Running"), &Value::from("site"))
    );
    assert!(pods[0]["deletion_requested_at"].is_string(), "{}", pods[0]);
    // And the delete that was answered is made.
    let _site = plugin(&address, &dir.path().join("site"));
    while !items(&address).is_empty() {}
    second.signal(Signal::SIGTERM);
    let talk = second.rest_of_talk();
    assert!(
        talk.iter().all(|line| !line.contains("no --state-dir")),
        "{talk:?}"
    );
}

#[test]
fn a_hub_without_a_state_directory_says_once_what_a_restart_forgets() {
    let (mut hub, address) = hub("127.0.0.1:0", None);
    assert!(items(&address).is_empty());
    hub.signal(Signal::SIGTERM);
    let talk = hub.rest_of_talk();
    let said: Vec<&String> = talk.iter().filter(|line| line.contains("--state-dir")).collect();
    assert_eq!(said.len(), 1, "{talk:?}");
    assert!(said[0].contains("a restart forgets"), "{}", said[0]);
}

#[test]
fn a_damaged_store_is_moved_aside_and_told_with_what_is_lost() {
    let state = tempfile::tempdir().unwrap();
    fs::write(state.path().join("hub.redb"), "these bytes are no database").unwrap();
    let mut command = towline(&["hub", "--listen", "127.0.0.1:0", "--state-dir"]);
    command.arg(state.path());
    let (mut hub, told) = Running::start(command, "moved aside");
    hub.wait_for("listening on");
    assert!(
        told.contains("hub.redb.damaged-") && told.contains("creates and deletes in hand are lost"),
        "{told}"
    );
    let names: Vec<String> = fs::read_dir(state.path())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    let aside = names.iter().find(|name| name.starts_with("hub.redb.damaged-"));
    let kept = fs::read_to_string(state.path().join(aside.unwrap())).unwrap();
    assert_eq!(kept, "these bytes are no database");
    assert!(names.iter().any(|name| name == "hub.redb"));
}
