//! The Python example against the real hub, as the virtual kubelet meets it. It has no optional feature, so the hub
//! polls its states and pulls its logs.
//!
//! Needs a Python with `examples/stubs/python/requirements.txt` installed: `make test` installs one, TOWLINE_PYTHON
//! names another. Without one the test does nothing and says so.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "python/site.rs"]
mod site;

use std::path::Path;

use serde_json::json;
use tokio::{process::Command, time::timeout};

use site::{PATIENCE, Site, pod, python};

const COUNT: &str = "i=0; while [ $i -lt 50000 ]; do echo line $i; i=$((i+1)); done; exit 3";

/// The stubs are made once; the plugin finds them beside its directory.
fn plugin(python: &Path, dir: &Path, hub: &str, token: Option<&Path>) -> Command {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/stubs/python");
    let stubs = dir.join("stubs");
    if !stubs.exists() {
        let mut generate = std::process::Command::new(here.join("generate.sh"));
        let made = generate.arg(python).arg(&stubs).status().unwrap();
        assert!(
            made.success(),
            "are the requirements installed in {}?",
            python.display()
        );
    }
    let mut command = Command::new(python);
    command
        .arg(here.join("plugin.py"))
        .args(["--hub", hub, "--name", "snake"])
        .env("PYTHONPATH", &stubs);
    if let Some(token) = token {
        command.arg("--token-file").arg(token);
    }
    command
}

#[tokio::test]
async fn the_python_plugin_runs_pods_for_a_virtual_kubelet() {
    let Some(python) = python() else {
        eprintln!("skipped: no Python with the stub's packages; `make test` installs one");
        return;
    };
    let mut site = Site::start(|dir, hub, token| plugin(&python, dir, hub, token)).await;
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
    site.follows_over_a_cut("echo \"$WHO\"", "me").await;
}

async fn ends_a_pod_that_is_deleted(site: &Site) {
    let (log, pod) = site
        .deletes_a_followed_pod("trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.1; done")
        .await;
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
