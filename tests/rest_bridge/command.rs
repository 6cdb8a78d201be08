//! `towline plugin --backend rest`, as a process.

use std::process::Stdio;

use serde_json::json;
use tokio::process::Command;

use crate::{
    kubelet::uid,
    site::{Site, config},
    upstream::{Quirks, Upstream},
};

fn towline(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_towline"));
    command
        .arg("plugin")
        .args(args)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

#[tokio::test]
async fn the_command_bridges_a_plugin() {
    let upstream = Upstream::start(Quirks::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::start(config(&upstream.address, &dir.path().join("first"))).await;
    site.stop_bridge().await;
    let hub = format!("ws://{}/ws", site.address);
    let state = dir.path().join("state");
    let name = [
        "--name",
        "slurm1",
        "--backend",
        "rest",
        "--type",
        "slurm",
        "--upstream",
    ];
    let more = [
        upstream.address.as_str(),
        "--hub",
        &hub,
        "--status-interval",
        "1s",
    ];
    let last = ["--pods", "7", "--state-dir", state.to_str().unwrap()];
    let _bridge = towline(&[&name[..], &more, &last].concat()).spawn().unwrap();
    site.until("it is ready", || {
        let plugins = site.hub.plugins();
        plugins
            .iter()
            .any(|plugin| plugin.name == "slurm1" && plugin.r#type == "slurm" && plugin.ready)
    })
    .await;
    let body = json!({"pod": crate::kubelet::pod(&uid(1)), "configmaps": null, "secrets": null,
        "projectedvolumesmaps": null, "jobscriptURL": ""});
    let (code, body) = site.ask("POST", "/nodes/slurm1/create", &body).await;
    assert_eq!(code, 200, "{body}");
    assert!(upstream.plugin.has(&uid(1)));
    assert!(state.join("pods").join(format!("{}.json", uid(1))).is_file());
    let (code, said) = site.ask("POST", "/nodes/slurm1/pinglink", &json!(null)).await;
    assert!(code == 200 && said.contains(r#""pods":"7""#), "{code} {said}");
}

#[tokio::test]
async fn a_wrong_setting_ends_it_with_78_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().to_str().unwrap();
    for (args, says) in [
        (&["--backend", "rest"][..], "--upstream http://127.0.0.1:4000"),
        (&["--backend", "rest", "--upstream", "127.0.0.1:4000"], "scheme"),
        (
            &[
                "--backend",
                "rest",
                "--upstream",
                "http://h",
                "--status-interval",
                "soon",
            ],
            "--status-interval",
        ),
        (&["--upstream", "http://h"], "only --backend rest"),
    ] {
        let output = towline(&[&["--name", "a", "--state-dir", state], args].concat())
            .output()
            .await
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(says), "{said}");
    }
}

#[tokio::test]
async fn an_https_upstream_is_trusted_by_the_certificates_that_are_named_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Upstream::start_tls(dir.path()).await;
    let mut site = Site::start(config(&upstream.address, &dir.path().join("first"))).await;
    site.stop_bridge().await;
    let (hub, ca) = (format!("ws://{}/ws", site.address), dir.path().join("ca.pem"));
    for (name, trusted) in [("trusting", true), ("wary", false)] {
        let state = dir.path().join(name);
        let mut args = vec![
            "--name",
            name,
            "--backend",
            "rest",
            "--upstream",
            &upstream.address,
        ];
        args.extend(["--hub", &hub, "--state-dir", state.to_str().unwrap()]);
        if trusted {
            args.extend(["--upstream-ca-file", ca.to_str().unwrap()]);
        }
        let _bridge = towline(&args).spawn().unwrap();
        site.until(name, || {
            let plugins = site.hub.plugins();
            let found = plugins.iter().find(|plugin| plugin.name == name);
            found.is_some_and(|plugin| match trusted {
                true => plugin.ready,
                false => plugin.reason.contains("certificate"),
            })
        })
        .await;
    }
}
