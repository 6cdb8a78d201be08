//! The plugin of `examples/json/python` against the real hub, as the virtual kubelet meets it: events are pushed, logs are
//! pulled, all in JSON.
//!
//! Needs a Python with `examples/stubs/python/requirements.txt` installed: `make test` installs one, TOWLINE_PYTHON
//! names another. Without one the test does nothing and says so.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[allow(dead_code)] // shared with the stub's test
#[path = "python/site.rs"]
mod site;

use std::path::Path;

use serde_json::{Value, json};
use tokio::process::Command;

use site::{Site, pod, python};

const SOURCE: &str = "examples/json/python/plugin.py";

#[test]
fn the_example_is_under_a_hundred_lines() {
    let source = include_str!("../examples/json/python/plugin.py");
    assert!(source.lines().count() < 100, "{}", source.lines().count());
    assert!(
        source.lines().all(|line| line.len() <= 130),
        "lines that nobody can read"
    );
}

#[tokio::test]
async fn a_plugin_that_speaks_json_runs_pods_for_a_virtual_kubelet() {
    let Some(python) = python() else {
        eprintln!("skipped: no Python with `websockets`; `make test` installs one");
        return;
    };
    let site = Site::start(|_, hub, token| {
        let mut command = Command::new(&python);
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(SOURCE);
        command.arg(source).args([hub, "snake"]).args(token);
        command
    })
    .await;
    runs_a_pod_to_its_end(&site).await;
    refuses_what_it_cannot_do(&site).await;
    goes_on_after_a_cut(&site).await;
    ends_a_pod_that_is_deleted(&site).await;
}

async fn runs_a_pod_to_its_end(site: &Site) {
    let pod = pod(
        1,
        "i=0; while [ $i -lt 50000 ]; do echo line $i; i=$((i+1)); done; printf '\\377\\000'; exit 3",
    );
    let first = site.create(&pod).await;
    assert_eq!(first.0, 200, "{}", first.1);
    assert_eq!(site.create(&pod).await, first, "a second create starts nothing");
    let mut body = site.follow(&pod).await;
    let mut whole: Vec<u8> = (0..50_000)
        .flat_map(|n| format!("line {n}\n").into_bytes())
        .collect();
    whole.extend([0xff, 0]);
    let mut log = Vec::new();
    while let Some(frame) = http_body_util::BodyExt::frame(&mut body).await {
        log.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    assert!(log == whole, "{} of {} bytes", log.len(), whole.len());
    let ended = site.ended(&pod).await;
    assert_eq!(ended["exitCode"], json!(3), "{ended}");
    let (_, pods) = site.ask("GET", "/api/v1/pods", Value::Null).await;
    assert!(pods.contains("Failed"), "the event came: {pods}");
}

async fn refuses_what_it_cannot_do(site: &Site) {
    let known = pod(1, "");
    for (options, status) in [
        (json!({"Timestamps": true}), 501),
        (json!({"Previous": true}), 501),
    ] {
        let answer = site.log(&known, options.clone()).await;
        assert!(
            answer.0 == status && answer.1.contains("without times"),
            "{options}: {answer:?}"
        );
    }
    assert_eq!(
        site.log(&known, json!({"Bytes": 7})).await,
        (200, "line 0\n".to_owned())
    );
    assert_eq!(site.log(&pod(99, ""), json!({})).await.0, 404);
    let mut bad = pod(2, "true");
    bad["spec"]["containers"] = json!([{"name": "main", "image": "none"}]);
    let (status, text) = site.create(&bad).await;
    assert!(
        status == 422 && text.contains("command that runs here"),
        "{status} {text}"
    );
}

async fn goes_on_after_a_cut(site: &Site) {
    let pod = site.follows_over_a_cut("echo up", "up").await;
    assert_eq!(
        site.ended(&pod).await["exitCode"],
        json!(0),
        "and its events get through"
    );
}

async fn ends_a_pod_that_is_deleted(site: &Site) {
    let (log, pod) = site.deletes_a_followed_pod("echo up; sleep 600").await;
    assert_eq!(log, "up\n");
    assert_eq!(
        site.ask("DELETE", "/delete", pod).await.0,
        200,
        "deleting nothing succeeds"
    );
}
