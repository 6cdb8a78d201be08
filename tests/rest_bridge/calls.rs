//! A pod from its create to its delete.

use serde_json::{Value, json};

use crate::{
    kubelet::{pod, uid},
    site::{Site, config, site_with},
    upstream::{Quirks, Upstream},
};

#[tokio::test]
async fn a_pod_goes_through_its_life_as_with_interlinks_own_server() {
    let (upstream, dir, site) = site_with(Quirks::default()).await;
    let (plugin, uid) = (&upstream.plugin, uid(1));
    let (code, body) = site.create(&uid).await;
    assert_eq!(code, 200, "{body}");
    assert_eq!(
        serde_json::from_str::<Value>(&body).unwrap(),
        json!({"PodUID": uid, "PodJID": "42"})
    );
    let call = &plugin.calls("POST /create")[0];
    assert_eq!(call.body["pod"], pod(&uid));
    let container = json!([{"name": "main", "configMaps": null, "projectedvolumemaps": null, "secrets": null,
        "emptyDirs": null}]);
    assert_eq!(call.body["container"], container);
    assert!(call.body["jobConfig"]["ApptainerOptions"].is_object());
    assert!(call.body.get("jobScript").is_none());
    assert_eq!(call.headers["interlink-http-session"], "CreatePod#48211");
    assert_eq!(call.headers["content-type"], "application/json");

    site.until_state(&uid, "waiting").await;
    plugin.state(
        &uid,
        Some(json!({"running": {"startedAt": "2026-09-01T10:00:00Z"}})),
    );
    site.until_state(&uid, "running").await;
    plugin.state(
        &uid,
        Some(json!({"terminated": {"exitCode": 3, "message": "time limit"}})),
    );
    let ended = site.until_state(&uid, "terminated").await;
    assert_eq!(ended["terminated"]["exitCode"], 3);

    assert_eq!(site.delete(&uid).await.0, 200);
    assert_eq!(
        plugin.calls("POST /delete")[0].body["metadata"]["uid"],
        json!(uid)
    );
    site.until("the pod is gone from the hub", || site.hub.pods().is_empty())
        .await;
    let left = std::fs::read_dir(dir.path().join("pods")).unwrap().count();
    assert_eq!(left, 0, "its record is gone too");
}

#[tokio::test]
async fn a_running_pod_that_is_deleted_goes_from_the_hub() {
    let (upstream, _dir, site) = site_with(Quirks::default()).await;
    site.create(&uid(1)).await;
    upstream.plugin.state(&uid(1), Some(json!({"running": {}})));
    site.until_state(&uid(1), "running").await;
    assert_eq!(site.delete(&uid(1)).await.0, 200);
    site.until("the pod is gone from the hub", || site.hub.pods().is_empty())
        .await;
}

#[tokio::test]
async fn a_restarted_bridge_knows_its_pods_by_its_records() {
    let (upstream, dir, mut site) = site_with(Quirks::default()).await;
    site.create(&uid(1)).await;
    site.stop_bridge().await;
    let before = upstream.plugin.calls("GET /status").len();
    upstream.plugin.state(&uid(1), Some(json!({"running": {}})));
    site.start_bridge(config(&upstream.address, dir.path())).await;
    site.until_state(&uid(1), "running").await;
    let asked = upstream.plugin.calls("GET /status").split_off(before);
    let whole = json!([pod(&uid(1))]);
    assert!(
        asked.iter().any(|call| call.body == whole),
        "by the whole manifest"
    );
    let (code, body) = site.create(&uid(1)).await;
    assert!(code == 200 && body.contains("42"), "{body}");
    assert_eq!(upstream.plugin.calls("POST /create").len(), 1);
    assert_eq!(site.delete(&uid(1)).await.0, 200);
    assert!(!upstream.plugin.has(&uid(1)));
}

#[tokio::test]
async fn a_delete_that_fails_is_told_and_can_be_repeated() {
    let (upstream, _dir, site) = site_with(Quirks::default()).await;
    site.create(&uid(1)).await;
    upstream
        .plugin
        .change(|quirks| quirks.refuse_delete = Some((500, "scancel: error")));
    let (code, body) = site.delete(&uid(1)).await;
    assert!(code != 200 && body.contains("scancel: error"), "{code} {body}");
    upstream
        .plugin
        .change(|quirks| quirks.refuse_delete = Some((404, r#"{"detail": "unknown pod"}"#)));
    assert_eq!(site.delete(&uid(1)).await.0, 200, "there is no such pod");
    site.until("the pod is gone from the hub", || site.hub.pods().is_empty())
        .await;
}

#[tokio::test]
async fn a_plugin_on_a_unix_socket_is_served_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Upstream::start_unix(&dir.path().join("plugin.sock")).await;
    let site = Site::start(config(&upstream.address, &dir.path().join("state"))).await;
    assert_eq!(site.create(&uid(1)).await.0, 200);
    upstream.plugin.state(&uid(1), Some(json!({"running": {}})));
    site.until_state(&uid(1), "running").await;
    assert_eq!(site.delete(&uid(1)).await.0, 200);
    assert!(!upstream.plugin.has(&uid(1)));
}

#[tokio::test]
async fn a_delete_by_name_alone_reaches_the_plugin_as_a_whole_pod() {
    let (upstream, _dir, site) = site_with(Quirks::default()).await;
    site.create(&uid(1)).await;
    let name = json!({"metadata": pod(&uid(1))["metadata"]});
    assert_eq!(site.ask("DELETE", "/delete", &name).await.0, 200);
    let sent = &upstream.plugin.calls("POST /delete")[0].body;
    assert_eq!(sent["spec"], pod(&uid(1))["spec"]);
}
