//! A real plugin: Python, FastAPI, in the shape of interLink's public SDK.
//!
//! Needs a Python with `fastapi/requirements.txt` installed: `make test` installs one, TOWLINE_PYTHON names another.
//! Without one the test does nothing and says so.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::{
    kubelet::{PATIENCE, pod, uid},
    logs::Follower,
    site::{Site, config},
};

fn python() -> Option<PathBuf> {
    let named = std::env::var_os("TOWLINE_PYTHON").map(PathBuf::from);
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/venv/bin/python");
    let python = named.or_else(|| installed.is_file().then_some(installed))?;
    #[allow(clippy::disallowed_methods)] // a look, before anything runs
    let has = std::process::Command::new(&python)
        .args(["-c", "import fastapi, uvicorn"])
        .stderr(Stdio::null())
        .status();
    has.is_ok_and(|status| status.success()).then_some(python)
}

/// Starts the plugin and waits until it serves.
async fn plugin(python: &Path, logs: &Path) -> (Child, String) {
    let mut child = Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rest_bridge/fastapi/plugin.py"))
        .arg(logs)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut talk = BufReader::new(child.stderr.take().unwrap()).lines();
    let serving = async {
        while let Some(line) = talk.next_line().await.unwrap() {
            if let Some((_, rest)) = line.split_once("running on ") {
                return rest.split(' ').next().unwrap().to_owned();
            }
        }
        panic!("it ended before it served");
    };
    let address = tokio::time::timeout(PATIENCE, serving).await.expect("it serves");
    // Read on, so that it can write on.
    tokio::spawn(async move { while let Ok(Some(_)) = talk.next_line().await {} });
    (child, address)
}

async fn create(site: &Site, uid: &str, script: &str) -> (u16, String) {
    let mut pod = pod(uid);
    if !script.is_empty() {
        pod["spec"]["containers"][0]["command"] = json!(["/bin/sh", "-c", script]);
    }
    let body = json!({"pod": pod, "configmaps": null, "secrets": null, "projectedvolumesmaps": null, "jobscriptURL": ""});
    site.ask("POST", "/create", &body).await
}

#[tokio::test]
async fn a_plugin_of_the_python_sdk_works_as_it_is() {
    let Some(python) = python() else {
        eprintln!("no Python with FastAPI: not tested");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let (_plugin, address) = plugin(&python, dir.path()).await;
    let mut config = config(&address, &dir.path().join("state"));
    config.legacy_list = true;
    let site = Site::start(config).await;
    // It answers a ping with 500, as pods[0] is not there.
    assert_eq!(site.ping().await.0, 200);

    let gate = dir.path().join("gate");
    let script = format!(
        "printf 'a\\0b'; while [ ! -e {} ]; do sleep 0.05; done; echo end; exit 3",
        gate.display()
    );
    let (code, body) = create(&site, &uid(1), &script).await;
    assert_eq!(code, 200, "{body}");
    let created: Value = serde_json::from_str(&body).unwrap();
    assert!(
        created["PodJID"].as_str().unwrap().parse::<u32>().is_ok(),
        "{created}"
    );
    for n in 2..5 {
        assert_eq!(create(&site, &uid(n), "exec sleep 600").await.0, 200);
    }
    for n in 1..5 {
        site.until_state(&uid(n), "running").await;
    }

    let mut follower = Follower::new(site.logs(&uid(1), json!({"Follow": true})).await);
    assert_eq!(follower.take(3).await, b"a\0b");
    site.cut();
    std::fs::write(&gate, "").unwrap();
    let ended = site.until_state(&uid(1), "terminated").await;
    assert_eq!(ended["terminated"]["exitCode"], 3);
    assert_eq!(follower.rest().await, b"end\n");

    let (code, text) = create(&site, &uid(5), "").await;
    assert_eq!(code, 422);
    assert!(
        text.contains("no command") && text.contains("this site pulls no images"),
        "{text}"
    );
    for n in 1..5 {
        assert_eq!(site.delete(&uid(n)).await.0, 200);
    }
    site.until("all pods are gone", || site.hub.pods().is_empty())
        .await;
}
