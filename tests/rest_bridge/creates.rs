//! Creates: what the plugin gets, what it answers, and what becomes of one that was cut off.

use serde_json::Value;

use crate::{
    kubelet::{pod, uid},
    site::{Site, config, site_with},
    upstream::{Quirks, Upstream},
};

#[tokio::test]
async fn the_plugin_gets_what_interlinks_own_server_would_send() {
    let (upstream, _dir, site) = site_with(Quirks::default()).await;
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
async fn the_plugins_refusal_comes_to_the_virtual_kubelet_word_for_word() {
    let (upstream, _dir, site) = site_with(Quirks::default()).await;
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
    let (upstream, _dir, site) = site_with(Quirks {
        dies_of_create: true,
        ..Quirks::default()
    })
    .await;
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
async fn a_create_whose_bridge_was_killed_is_asked_about_and_never_sent_twice() {
    let (upstream, dir, mut site) = site_with(Quirks {
        hangs_on_create: true,
        ..Quirks::default()
    })
    .await;
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
