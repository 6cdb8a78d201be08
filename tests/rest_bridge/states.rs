//! Status and ping: one call an interval, and what comes of it.

use serde_json::json;

use crate::{
    kubelet::{pod, uid},
    site::{Site, config, site_with},
    upstream::{Quirks, Upstream},
};

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
async fn an_upstream_that_restarts_is_a_state_and_loses_no_pod() {
    let (upstream, _dir, site) = site_with(Quirks::default()).await;
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
    let (upstream, _dir, site) = site_with(Quirks::default()).await;
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
    let (upstream, _dir, site) = site_with(Quirks {
        stale: true,
        ..Quirks::default()
    })
    .await;
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
    let (upstream, _dir, site) = site_with(Quirks::default()).await;
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
    let (upstream, _dir, site) = site_with(Quirks {
        first_only: true,
        ..Quirks::default()
    })
    .await;
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
    let (upstream, _dir, site) = site_with(Quirks {
        spoiled_by: Some(uid(2)),
        ..Quirks::default()
    })
    .await;
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
    let (upstream, _dir, site) = site_with(Quirks {
        dies_of_ping: true,
        ..Quirks::default()
    })
    .await;
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
    let (upstream, _dir, site) = site_with(Quirks {
        ping: Some((
            200,
            r#"{"status": "ok", "resources": {"cpu": "128", "accelerators": [{"resourceType": "nvidia.com/gpu", "available": "8"}]},
                "taints": [{"key": "vendor.io/maintenance", "value": "true", "effect": "NoSchedule"}]}"#,
        )),
        ..Quirks::default()
    }).await;
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
