//! A plugin that is reached by HTTP alone.

use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::{
    kubelet::{PATIENCE, pod, uid},
    site::{HubProcess, Link, towline},
    upstream::{Quirks, Upstream},
};

fn by(upstream: &Upstream, transport: &str) -> Value {
    json!({"p1": {"url": upstream.address, "transport": transport, "status_interval": "1s"}})
}

/// A pod's life, as the virtual kubelet sees it.
async fn life(hub: &HubProcess, upstream: &Upstream) -> Vec<(u16, String)> {
    let (one, running) = (uid(1), json!({"running": {"startedAt": "2026-01-02T03:04:05Z"}}));
    let over = json!({"terminated": {"exitCode": 3, "reason": "Error",
        "startedAt": "2026-01-02T03:04:05Z", "finishedAt": "2026-01-02T03:04:09Z"}});
    let mut seen = vec![hub.ask("POST", "/pinglink", &Value::Null).await];
    seen.push(hub.create(&one).await);
    seen.push(hub.create(&one).await);
    upstream.plugin.log(&one, |log| log.extend_from_slice(b"first\n"));
    upstream.plugin.state(&one, Some(running));
    hub.until_state(&one, "running").await;
    seen.push((200, hub.status(&one).await));
    let follow = hub.follow(&one).await;
    upstream
        .plugin
        .log(&one, |log| log.extend_from_slice(b"\xff second"));
    upstream.plugin.state(&one, Some(over));
    let log = tokio::time::timeout(PATIENCE, follow.collect())
        .await
        .unwrap()
        .unwrap();
    seen.push((200, format!("{:?}", log.to_bytes())));
    hub.until_state(&one, "terminated").await;
    seen.push((200, hub.status(&one).await));
    upstream
        .plugin
        .change(|quirks| quirks.refuse_create = Some((500, r#"{"detail": "no such queue"}"#)));
    seen.push(hub.create(&uid(2)).await);
    seen.push(hub.delete(&one).await);
    seen.push((200, hub.status(&one).await));
    seen.push(
        hub.ask(
            "GET",
            "/getLogs",
            &json!({"PodUID": uid(3), "Namespace": "vk", "PodName": "x",
        "ContainerName": "main", "Opts": {}}),
        )
        .await,
    );
    assert!(!upstream.plugin.has(&one));
    seen
}

#[tokio::test]
async fn over_http_the_answers_are_those_of_the_link() {
    let upstream = Upstream::start(Quirks::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let hub = HubProcess::start(&by(&upstream, "http"), dir.path()).await;
    hub.by("http").await;
    let plugin = hub.plugin().await;
    assert_eq!(
        (&plugin["type"], &plugin["remote"]),
        (&json!("rest"), &json!(upstream.address))
    );
    let over_http = life(&hub, &upstream).await;
    assert!(
        over_http[0].0 == 200 && over_http[4].1.contains(r"\xff second"),
        "{over_http:?}"
    );
    assert_eq!(over_http[6].0, 422, "{over_http:?}");
    assert!(hub.calls("create", "http").await >= 1 && hub.calls("create", "link").await == 0);
    assert_eq!(hub.ask("GET", "/readyz", &Value::Null).await.0, 200);

    let upstream = Upstream::start(Quirks::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let hub = HubProcess::start(&json!({"p1": {"transport": "ws"}}), dir.path()).await;
    let _link = Link::start(&hub, &upstream.address, dir.path(), false).await;
    hub.by("link").await;
    let over_link = life(&hub, &upstream).await;
    assert_eq!(over_http, over_link);
    assert!(hub.calls("create", "link").await >= 1);
}

#[tokio::test]
async fn a_link_of_that_name_is_refused_and_told_which_setting() {
    let upstream = Upstream::start(Quirks::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let hub = HubProcess::start(&by(&upstream, "http"), dir.path()).await;
    let link = format!("ws://{}/ws", hub.address);
    let state = dir.path().join("state");
    let mut plugin = towline(&[
        "plugin",
        "--name",
        "p1",
        "--hub",
        &link,
        "--state-dir",
        state.to_str().unwrap(),
    ])
    .spawn()
    .unwrap();
    let mut talk = BufReader::new(plugin.stderr.take().unwrap()).lines();
    let refused = async {
        loop {
            let line = talk.next_line().await.unwrap().expect("it goes on");
            if line.contains("4503") {
                return line;
            }
        }
    };
    let line = tokio::time::timeout(PATIENCE, refused).await.unwrap();
    assert!(line.contains("hub.plugins.p1.transport is http"), "{line}");
    hub.by("http").await;
}

#[tokio::test]
async fn a_hub_that_was_killed_goes_on_with_the_pods_of_its_http_way() {
    let upstream = Upstream::start(Quirks::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let plugins = by(&upstream, "http");
    let hub = HubProcess::start(&plugins, dir.path()).await;
    hub.by("http").await;
    assert_eq!(hub.create(&uid(1)).await.0, 200);
    let address = hub.kill().await;
    upstream.plugin.state(&uid(1), Some(json!({"running": {}})));
    let hub = HubProcess::listening(&address, &plugins, dir.path()).await;
    hub.until_state(&uid(1), "running").await;
    assert!(
        dir.path()
            .join("hub/ways/p1/pods")
            .join(format!("{}.json", uid(1)))
            .is_file()
    );
    assert_eq!(hub.create(&uid(1)).await.0, 200);
    assert_eq!(upstream.plugin.calls("POST /create").len(), 1);
    // Only its name is given: the plugin gets the whole pod.
    let mut name = pod(&uid(1));
    name["spec"] = json!({});
    assert_eq!(hub.ask("DELETE", "/delete", &name).await.0, 200);
    let sent = &upstream.plugin.calls("POST /delete")[0].body;
    assert_eq!(sent["spec"], pod(&uid(1))["spec"]);
}

#[tokio::test]
async fn a_pod_that_was_asked_about_before_it_is_created_is_created_once_and_whole() {
    let upstream = Upstream::start(Quirks::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let hub = HubProcess::start(&by(&upstream, "http"), dir.path()).await;
    hub.by("http").await;
    let log =
        json!({"PodUID": uid(4), "Namespace": "vk", "PodName": "x", "ContainerName": "main", "Opts": {}});
    // A plugin may be ready before its pods are read; until then a log is 503.
    let asked = async || hub.ask("GET", "/getLogs", &log).await.0;
    hub.until("an answer", async || asked().await != 503).await;
    assert_eq!(asked().await, 404);
    assert_eq!(hub.create(&uid(4)).await.0, 200);
    assert_eq!(upstream.plugin.calls("POST /create").len(), 1);
    let record = dir
        .path()
        .join("hub/ways/p1/pods")
        .join(format!("{}.json", uid(4)));
    let read: Value = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
    assert_eq!(read["pod"], pod(&uid(4)));
    assert_eq!((&read["created"], &read["adopted"]), (&json!(true), &Value::Null));
}
