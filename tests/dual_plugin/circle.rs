//! The full circle: a hub, the bridge, and behind it the REST of another towline plugin.

use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::json;
use towline::sidecar::SidecarConfig;

use crate::{
    client::{pod, uid},
    fake::{Fake, Served},
    site::{Site, config},
};

#[tokio::test(flavor = "multi_thread")]
async fn the_bridge_takes_a_towline_plugins_rest_for_any_plugins() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let (_plugin, address) = {
        let state = state.clone();
        tokio::task::spawn_blocking(move || crate::client::plugin(&state, &["--transport", "http"]))
            .await
            .unwrap()
    };
    let gate = dir.path().join("gate");
    let script = format!(
        "echo one; while [ ! -e {} ]; do sleep 0.05; done; printf 'two\\0'; exit 4",
        gate.display()
    );
    let mut rest = config(&address, &dir.path().join("bridge"));
    rest.status_interval = Duration::from_millis(100);
    let site = Site::start(rest).await;
    let pod = pod(&uid(1), &script);
    let create = json!({"pod": pod, "configmaps": null, "secrets": null, "projectedvolumesmaps": null, "jobscriptURL": ""});
    let (code, body) = site.ask("POST", "/create", &create).await;
    assert_eq!(code, 200, "{body}");
    let state = |word: &'static str| {
        let (site, pod) = (&site, &pod);
        async move {
            loop {
                let (code, body) = site.ask("GET", "/status", &json!([pod])).await;
                assert_eq!(code, 200, "{body}");
                let body: serde_json::Value = serde_json::from_str(&body).unwrap();
                let state = body[0]["containers"][0]["state"][word].clone();
                if !state.is_null() {
                    return state;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    state("running").await;
    let logs = crate::client::logs_body(&uid(1), &json!({"Follow": true}));
    let log = site.open("GET", "/getLogs", &logs).await;
    assert_eq!(log.status(), 200);
    std::fs::write(&gate, "").unwrap();
    let whole = log.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(&whole[..], b"one\ntwo\0");
    assert_eq!(state("terminated").await["exitCode"], 4);
    let (code, body) = site.ask("POST", "/pinglink", &json!(null)).await;
    assert!(code == 200 && body.contains(r#""pods":"110""#), "{code} {body}");
    let (code, _) = site.ask("DELETE", "/delete", &pod).await;
    assert_eq!(code, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_behind_the_bridge_that_takes_no_pods_is_not_ready_with_its_own_reason() {
    let served = Served::start(Fake::default(), None, SidecarConfig::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let address = format!("http://{}", served.address);
    let site = Site::start(config(&address, dir.path())).await;
    let node = |ready: bool, reason: &'static str| {
        let hub = &site.hub;
        move || {
            hub.plugins()
                .iter()
                .any(|plugin| plugin.ready == ready && plugin.reason.contains(reason))
        }
    };
    site.until("it is ready", node(true, "")).await;
    *served.fake.not_ready.lock().unwrap() = Some("the scratch area is full".to_owned());
    site.until("it is not ready", node(false, "the scratch area is full"))
        .await;
    served.stop().await;
}
