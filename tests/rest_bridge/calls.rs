//! Create, status, delete and ping.

use serde_json::{Value, json};

use crate::{
    site::{Site, config, pod, uid},
    upstream::{Quirks, Upstream},
};

#[tokio::test]
async fn a_pod_goes_through_its_life_as_with_interlinks_own_server() {
    let upstream = Upstream::start(Quirks::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let site = Site::start(config(&upstream.address, dir.path())).await;
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
async fn the_plugin_gets_what_interlinks_own_server_would_send() {
    let upstream = Upstream::start(Quirks::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let site = Site::start(config(&upstream.address, dir.path())).await;
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let (code, body) = site
        .ask(
            "POST",
            "/create",
            &read(include_str!("../payloads/create.vk.json")),
        )
        .await;
    assert_eq!(code, 200, "{body}");
    let sent = &upstream.plugin.calls("POST /create")[0].body;
    assert_eq!(*sent, read(include_str!("../payloads/create.plugin.json")));
}

#[tokio::test]
async fn a_running_pod_that_is_deleted_goes_from_the_hub() {
    let upstream = Upstream::start(Quirks::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let site = Site::start(config(&upstream.address, dir.path())).await;
    site.create(&uid(1)).await;
    upstream.plugin.state(&uid(1), Some(json!({"running": {}})));
    site.until_state(&uid(1), "running").await;
    assert_eq!(site.delete(&uid(1)).await.0, 200);
    site.until("the pod is gone from the hub", || site.hub.pods().is_empty())
        .await;
}

#[tokio::test]
async fn the_plugins_refusal_comes_to_the_virtual_kubelet_word_for_word() {
    let upstream = Upstream::start(Quirks::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let site = Site::start(config(&upstream.address, dir.path())).await;
    let sbatch = "sbatch: error: Batch job submission failed: Invalid account";
    for (n, code, body, text) in [
        (1, 504, sbatch, sbatch),
        (2, 500, r#"{"detail": "no such queue"}"#, "no such queue"),
        (3, 422, r#"{"error": "bad pod"}"#, r#"{"error": "bad pod"}"#),
    ] {
        upstream
            .plugin
            .change(|quirks| quirks.refuse_create = Some((code, body)));
        let (code, said) = site.create(&uid(n)).await;
        assert_eq!((code, said.trim_end()), (422, text));
        assert_eq!(
            upstream.plugin.calls("POST /create").len(),
            usize::from(n),
            "never repeated"
        );
    }
    upstream.plugin.change(|quirks| quirks.refuse_create = None);
    assert_eq!(site.create(&uid(1)).await.0, 200, "a refusal is not remembered");
}

#[tokio::test]
async fn every_good_code_and_every_form_of_the_answer_is_success() {
    let upstream = Upstream::start(Quirks::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let mut legacy = config(&upstream.address, dir.path());
    legacy.legacy_list = true;
    let site = Site::start(legacy).await;
    for (n, answer, job) in [
        (1, (201, r#"[{"PodUID": "x", "PodJID": "7"}]"#), "7"),
        (2, (200, r#"{"uid": "x", "jobid": 8}"#), "8"),
        (3, (202, "accepted"), ""),
    ] {
        upstream.plugin.change(|quirks| quirks.created = Some(answer));
        let (code, body) = site.create(&uid(n)).await;
        assert_eq!(code, 200, "{body}");
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["PodJID"], job);
    }
    for call in upstream.plugin.calls("POST /create") {
        assert_eq!(call.body.as_array().map(Vec::len), Some(1), "a list of one");
    }
}

#[tokio::test]
async fn a_create_that_was_cut_off_is_asked_about_and_never_sent_twice() {
    let upstream = Upstream::start(Quirks {
        dies_of_create: true,
        ..Quirks::default()
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let site = Site::start(config(&upstream.address, dir.path())).await;
    let (code, body) = site.create(&uid(1)).await;
    assert_eq!(code, 200, "{body}");
    assert!(body.contains("42"), "the job that the status told: {body}");
    assert_eq!(upstream.plugin.calls("POST /create").len(), 1);
    // It is known by now, so a virtual kubelet that comes back gets the same.
    assert_eq!(site.create(&uid(1)).await.0, 200);
    assert_eq!(upstream.plugin.calls("POST /create").len(), 1);
}

#[tokio::test]
async fn a_create_that_is_not_answered_is_asked_about_and_never_sent_twice() {
    let upstream = Upstream::start(Quirks {
        hangs_on_create: true,
        ..Quirks::default()
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let mut hasty = config(&upstream.address, dir.path());
    hasty.create_timeout = std::time::Duration::from_millis(50);
    let site = Site::start(hasty).await;
    let (code, body) = site.create(&uid(1)).await;
    assert!(code == 200 && body.contains("42"), "{code} {body}");
    assert_eq!(upstream.plugin.calls("POST /create").len(), 1);
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_is_a_state_and_passes() {
    let upstream = Upstream::start(Quirks::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let mut hasty = config(&upstream.address, dir.path());
    hasty.answer_timeout = std::time::Duration::from_millis(500);
    let site = Site::start(hasty).await;
    site.create(&uid(1)).await;
    upstream.plugin.state(&uid(1), Some(json!({"running": {}})));
    site.until_state(&uid(1), "running").await;
    upstream.plugin.change(|quirks| quirks.hangs_on_status = true);
    site.until("it is not ready and says why", || {
        site.hub.plugins()[0]
            .reason
            .contains("did not answer within 0.5 s")
    })
    .await;
    assert!(site.state(&uid(1)).await.get("running").is_some());
    upstream.plugin.change(|quirks| quirks.hangs_on_status = false);
    upstream
        .plugin
        .state(&uid(1), Some(json!({"terminated": {"exitCode": 0}})));
    site.until_state(&uid(1), "terminated").await;
    site.until("it is ready again", || site.hub.plugins()[0].ready)
        .await;
}

#[tokio::test]
async fn a_create_whose_bridge_was_killed_is_asked_about_and_never_sent_twice() {
    let upstream = Upstream::start(Quirks {
        hangs_on_create: true,
        ..Quirks::default()
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::start(config(&upstream.address, dir.path())).await;
    let hub = site.hub.clone();
    let request = towline::interlink::PodCreateRequests::new(
        towline::interlink::Pod::from_value(pod(&uid(1))).unwrap(),
    );
    let meta = towline::hub::CallMeta {
        session: "CreatePod#1".into(),
        traceparent: None,
    };
    let creating = tokio::spawn(async move { hub.create(None, request, meta).await });
    upstream.plugin.called("POST /create", 1).await;
    site.kill_bridge().await;
    upstream.plugin.change(|quirks| quirks.hangs_on_create = false);
    site.start_bridge(config(&upstream.address, dir.path())).await;
    let created = creating.await.unwrap().unwrap();
    assert_eq!(created.pod_jid, "42");
    assert_eq!(upstream.plugin.calls("POST /create").len(), 1);
    assert_eq!(site.delete(&uid(1)).await.0, 200);
    assert!(!upstream.plugin.has(&uid(1)));
}

#[tokio::test]
async fn a_restarted_bridge_knows_its_pods_by_its_records() {
    let upstream = Upstream::start(Quirks::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::start(config(&upstream.address, dir.path())).await;
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
async fn an_upstream_that_restarts_is_a_state_and_loses_no_pod() {
    let upstream = Upstream::start(Quirks::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let site = Site::start(config(&upstream.address, dir.path())).await;
    site.create(&uid(1)).await;
    upstream.plugin.state(&uid(1), Some(json!({"running": {}})));
    site.until_state(&uid(1), "running").await;
    let down = upstream.kill().await;
    let reason = || site.hub.plugins()[0].reason.clone();
    site.until("it is not ready and says why", || {
        reason().contains("cannot be reached: Connection refused")
    })
    .await;
    assert!(site.hub.plugins()[0].connected, "the link stays");
    assert!(
        site.state(&uid(1)).await.get("running").is_some(),
        "the last known state"
    );
    let upstream = Upstream::again(down).await;
    site.until("it is ready again", || site.hub.plugins()[0].ready)
        .await;
    upstream
        .plugin
        .state(&uid(1), Some(json!({"terminated": {"exitCode": 0}})));
    site.until_state(&uid(1), "terminated").await;
}

#[tokio::test]
async fn a_create_waits_for_an_upstream_that_is_away() {
    let upstream = Upstream::start(Quirks::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let site = std::sync::Arc::new(Site::start(config(&upstream.address, dir.path())).await);
    let down = upstream.kill().await;
    let creating = tokio::spawn({
        let site = site.clone();
        async move { site.create(&uid(1)).await }
    });
    site.until("it is not ready", || !site.hub.plugins()[0].ready)
        .await;
    let upstream = Upstream::again(down).await;
    assert_eq!(creating.await.unwrap().0, 200);
    assert_eq!(upstream.plugin.calls("POST /create").len(), 1);
}

#[tokio::test]
async fn nothing_makes_a_status_call_out_of_turn() {
    let upstream = Upstream::start(Quirks::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let mut slow = config(&upstream.address, dir.path());
    slow.status_interval = std::time::Duration::from_secs(3600);
    let site = Site::start(slow).await;
    upstream.plugin.called("GET /status", 1).await;
    for n in 0..10 {
        assert_eq!(site.create(&uid(n)).await.0, 200);
    }
    for n in 0..10 {
        site.state(&uid(n)).await;
        site.ping().await;
        site.ask("POST", "/updateCache", &pod(&uid(n))).await;
    }
    site.log(&uid(1), json!({})).await;
    assert_eq!(site.delete(&uid(3)).await.0, 200);
    assert_eq!(
        upstream.plugin.calls("GET /status").len(),
        1,
        "that of the first interval"
    );
}

#[tokio::test]
async fn one_call_asks_about_all_pods() {
    let upstream = Upstream::start(Quirks::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let site = Site::start(config(&upstream.address, dir.path())).await;
    for n in 0..20 {
        site.create(&uid(n)).await;
    }
    let before = upstream.plugin.calls("GET /status").len();
    upstream.plugin.called("GET /status", before + 3).await;
    let calls = upstream.plugin.calls("GET /status");
    let counts: Vec<usize> = calls[before..]
        .iter()
        .map(|call| call.body.as_array().unwrap().len())
        .collect();
    // A call may be under way with fewer, and one may be a ping.
    assert!(counts.contains(&20), "{counts:?}");
}

#[tokio::test]
async fn a_cache_that_answers_with_the_pods_of_the_call_before_does_no_harm() {
    let upstream = Upstream::start(Quirks {
        stale: true,
        ..Quirks::default()
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let site = Site::start(config(&upstream.address, dir.path())).await;
    for n in 0..3 {
        site.create(&uid(n)).await;
        upstream.plugin.state(&uid(n), Some(json!({"running": {}})));
        site.until_state(&uid(n), "running").await;
    }
    assert_eq!(site.delete(&uid(0)).await.0, 200);
    site.until("the deleted one is gone", || site.hub.pods().len() == 2)
        .await;
    let before = upstream.plugin.calls("GET /status").len();
    upstream.plugin.called("GET /status", before + 3).await;
    assert_eq!(site.hub.pods().len(), 2, "and stays so");
}

#[tokio::test]
async fn what_a_status_leaves_out_is_no_news() {
    let upstream = Upstream::start(Quirks::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let site = Site::start(config(&upstream.address, dir.path())).await;
    site.create(&uid(1)).await;
    upstream.plugin.state(&uid(1), Some(json!({"running": {}})));
    site.until_state(&uid(1), "running").await;
    upstream.plugin.state(&uid(1), None);
    let before = upstream.plugin.calls("GET /status").len();
    upstream.plugin.called("GET /status", before + 5).await;
    assert!(site.state(&uid(1)).await.get("running").is_some());
}

#[tokio::test]
async fn a_plugin_that_answers_for_the_first_pod_alone_is_heard_about_all() {
    let upstream = Upstream::start(Quirks {
        first_only: true,
        ..Quirks::default()
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let site = Site::start(config(&upstream.address, dir.path())).await;
    for n in 0..4 {
        site.create(&uid(n)).await;
        upstream.plugin.state(&uid(n), Some(json!({"running": {}})));
    }
    for n in 0..4 {
        site.until_state(&uid(n), "running").await;
    }
}

#[tokio::test]
async fn one_pod_that_spoils_the_status_call_does_not_silence_the_others() {
    let upstream = Upstream::start(Quirks {
        spoiled_by: Some(uid(2)),
        ..Quirks::default()
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let site = Site::start(config(&upstream.address, dir.path())).await;
    for n in 0..4 {
        site.create(&uid(n)).await;
        upstream.plugin.state(&uid(n), Some(json!({"running": {}})));
    }
    for n in [0, 1, 3] {
        site.until_state(&uid(n), "running").await;
    }
    upstream.plugin.change(|quirks| quirks.spoiled_by = None);
    site.until_state(&uid(2), "running").await;
}

#[tokio::test]
async fn a_plugin_that_dies_of_a_ping_is_pinged_once_and_is_ready() {
    let upstream = Upstream::start(Quirks {
        dies_of_ping: true,
        ..Quirks::default()
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let site = Site::start(config(&upstream.address, dir.path())).await;
    assert_eq!(site.ping().await.0, 200);
    site.create(&uid(1)).await;
    site.until_state(&uid(1), "waiting").await;
    let pings = upstream
        .plugin
        .calls("GET /status")
        .into_iter()
        .filter(|call| call.body == json!([]));
    assert_eq!(pings.count(), 1);
}

#[tokio::test]
async fn a_plugin_that_must_not_be_pinged_is_not() {
    let upstream = Upstream::start(Quirks::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&upstream.address, dir.path());
    config.ping = towline::backend::rest::Ping::None;
    let site = Site::start(config).await;
    assert_eq!(site.ping().await.0, 200);
    site.create(&uid(1)).await;
    site.until_state(&uid(1), "waiting").await;
    let calls = upstream.plugin.calls("GET /status");
    assert!(calls.iter().all(|call| call.body != json!([])));
}

#[tokio::test]
async fn a_ping_tells_the_virtual_kubelet_what_the_plugin_has() {
    let upstream = Upstream::start(Quirks {
        ping: Some((
            200,
            r#"{"status": "ok", "resources": {"cpu": "128", "accelerators": [{"resourceType": "nvidia.com/gpu", "available": "8"}]},
                "taints": [{"key": "vendor.io/maintenance", "value": "true", "effect": "NoSchedule"}]}"#,
        )),
        ..Quirks::default()
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let site = Site::start(config(&upstream.address, dir.path())).await;
    let (code, said) = site.ping().await;
    assert_eq!(code, 200);
    assert_eq!(said["resources"]["cpu"], "128");
    assert_eq!(said["resources"]["accelerators"][0]["available"], "8");
    assert_eq!(said["taints"][0]["key"], "vendor.io/maintenance");
    upstream
        .plugin
        .change(|quirks| quirks.ping = Some((503, "sinfo: error: slurm_load_partitions")));
    site.until("not ready, with the plugin's words", || {
        let plugin = &site.hub.plugins()[0];
        !plugin.ready && plugin.reason.contains("sinfo: error: slurm_load_partitions")
    })
    .await;
}

#[tokio::test]
async fn a_delete_that_fails_is_told_and_can_be_repeated() {
    let upstream = Upstream::start(Quirks::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let site = Site::start(config(&upstream.address, dir.path())).await;
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
    let upstream = Upstream::start_unix(&dir.path().join("plugin.sock"));
    let site = Site::start(config(&upstream.address, &dir.path().join("state"))).await;
    assert_eq!(site.create(&uid(1)).await.0, 200);
    upstream.plugin.state(&uid(1), Some(json!({"running": {}})));
    site.until_state(&uid(1), "running").await;
    assert_eq!(site.delete(&uid(1)).await.0, 200);
    assert!(!upstream.plugin.has(&uid(1)));
}

#[tokio::test]
async fn a_delete_by_name_alone_reaches_the_plugin_as_a_whole_pod() {
    let upstream = Upstream::start(Quirks::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let site = Site::start(config(&upstream.address, dir.path())).await;
    site.create(&uid(1)).await;
    let name = json!({"metadata": pod(&uid(1))["metadata"]});
    assert_eq!(site.ask("DELETE", "/delete", &name).await.0, 200);
    let sent = &upstream.plugin.calls("POST /delete")[0].body;
    assert_eq!(sent["spec"], pod(&uid(1))["spec"]);
}
