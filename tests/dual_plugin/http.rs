//! `towline plugin --transport http` with real processes as pods.

use std::time::Instant;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::client::{Answer, PATIENCE, ask, logs_body, open, plugin, pod, retrieved, uid};

/// Asks for the state until it is this one; gives that.
fn until(address: &str, pod: &Value, word: &str) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = ask(address, "GET", "/status", &json!([pod]));
        assert_eq!(answer.code, 200, "{}", answer.text());
        let state = &answer.json()[0]["containers"][0]["state"];
        if !state[word].is_null() {
            return state[word].clone();
        }
        assert!(Instant::now() < until, "never {word}: {state}");
    }
}

/// Waits until the container has ended; gives its exit code.
pub(crate) fn exit_code(address: &str, pod: &Value) -> i64 {
    until(address, pod, "terminated")["exitCode"].as_i64().unwrap()
}

fn log(address: &str, options: &Value) -> Answer {
    ask(address, "GET", "/getLogs", &logs_body(&uid(1), options))
}

#[test]
fn a_pod_lives_by_rest_alone_and_a_restart_or_a_kill_of_the_plugin_keeps_it() {
    for (signal, code) in [(Signal::SIGTERM, Some(0)), (Signal::SIGKILL, None)] {
        lives_over(signal, code);
    }
}

/// The plugin ends by this signal while the pod runs, and another one takes its place.
fn lives_over(signal: Signal, code: Option<i32>) {
    let dir = tempfile::tempdir().unwrap();
    let (state, gate) = (dir.path().join("state"), dir.path().join("gate"));
    let script = format!(
        "printf 'a\\0b \\377\\n'; echo two; while [ ! -e {} ]; do sleep 0.05; done; printf 'the end'; exit 3",
        gate.display()
    );
    let pod = pod(&uid(1), &script);
    let (first, address) = plugin(&state, &["--transport", "http"]);
    let ping = ask(&address, "GET", "/status", &json!([]));
    assert_eq!((ping.code, &ping.json()["status"]), (200, &json!("ok")));
    assert_eq!(ping.json()["resources"]["pods"], "110");

    let created = ask(&address, "POST", "/create", &retrieved(&pod));
    assert_eq!(created.code, 200, "{}", created.text());
    assert_eq!(created.json()["PodUID"], uid(1).as_str());
    let follow = logs_body(&uid(1), &json!({"Follow": true})).to_string();
    let mut reader = open(&address, "GET", "/getLogs", "", follow.as_bytes());
    assert_eq!(reader.bytes(10), b"a\0b \xff\ntwo\n");
    // Its bytes may come before its state.
    until(&address, &pod, "running");
    drop(reader);
    first.signal(signal);
    assert_eq!(first.end().0, code);

    let (_second, address) = plugin(&state, &["--transport", "http"]);
    let again = ask(&address, "POST", "/create", &retrieved(&pod));
    assert_eq!((again.code, again.json()), (200, created.json()));
    let mut reader = open(&address, "GET", "/getLogs", "", follow.as_bytes());
    assert_eq!(reader.bytes(10), b"a\0b \xff\ntwo\n");
    std::fs::write(&gate, "").unwrap();
    assert_eq!(reader.whole().body, b"the end");
    assert_eq!(exit_code(&address, &pod), 3);

    assert_eq!(log(&address, &json!({"Tail": 1})).body, b"the end");
    assert_eq!(log(&address, &json!({"Bytes": 3})).body, b"a\0b");
    let stamped = log(&address, &json!({"Tail": 2, "Timestamps": true})).text();
    let lines: Vec<&str> = stamped.lines().collect();
    assert_eq!(lines.len(), 2, "{stamped}");
    assert!(
        lines[0].ends_with("Z two") && lines[1].ends_with("Z the end"),
        "{stamped}"
    );

    let deleted = ask(&address, "POST", "/delete", &pod);
    assert_eq!(deleted.code, 200, "{}", deleted.text());
    let gone = log(&address, &json!({}));
    assert_eq!(gone.code, 404, "{}", gone.text());
    assert_eq!(
        ask(&address, "POST", "/delete", &pod).code,
        200,
        "a second one too"
    );
}

#[test]
fn a_container_that_the_backend_cannot_run_is_refused_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let (_plugin, address) = plugin(&dir.path().join("state"), &["--transport", "http"]);
    let mut pod = pod(&uid(1), "true");
    pod["spec"]["containers"][0]
        .as_object_mut()
        .unwrap()
        .remove("command");
    let answer = ask(&address, "POST", "/create", &retrieved(&pod));
    assert!(
        (400..=422).contains(&answer.code),
        "{} {}",
        answer.code,
        answer.text()
    );
    assert!(answer.text().contains("command"), "{}", answer.text());
}

#[test]
fn an_address_that_is_taken_and_one_that_all_can_reach_end_it_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let http = ["--transport", "http", "--listen"];
    for (address, code, says) in [
        (taken.as_str(), 1, "cannot listen on"),
        ("0.0.0.0:0", 78, "--listen-token-file"),
    ] {
        let mut command = crate::process::towline(&["plugin", "--name", "site", "--state-dir"]);
        let output = command.arg(dir.path()).args(http).arg(address).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(says), "{said}");
    }
}
