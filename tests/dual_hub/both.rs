//! A plugin with both ways: which one is used, and that its pods do not notice.

use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::{
    kubelet::{PATIENCE, pod, uid},
    site::{HubProcess, Link, bytes},
    upstream::{Quirks, Upstream},
};

fn auto(upstream: &Upstream) -> Value {
    json!({"p1": {"url": upstream.address, "status_interval": "1s"}})
}

async fn start(quirks: Quirks) -> (Upstream, tempfile::TempDir, HubProcess) {
    let upstream = Upstream::start(quirks).await;
    let dir = tempfile::tempdir().unwrap();
    let hub = HubProcess::start(&auto(&upstream), dir.path()).await;
    (upstream, dir, hub)
}

#[tokio::test]
async fn pods_of_the_link_go_on_over_http_and_back() {
    let (upstream, dir, hub) = start(Quirks::default()).await;
    // Nobody has told it that it is not alone but the hub.
    let link = Link::start(&hub, &upstream.address, dir.path(), false).await;
    hub.by("link").await;
    assert_eq!(hub.create(&uid(1)).await.0, 200);
    assert_eq!(hub.create(&uid(2)).await.0, 200);
    upstream.plugin.state(&uid(1), Some(json!({"running": {}})));
    upstream
        .plugin
        .log(&uid(1), |log| log.extend_from_slice(b"over the link\n"));
    hub.until_state(&uid(1), "running").await;
    hub.until_state(&uid(2), "waiting").await;
    let mut follow = hub.follow(&uid(1)).await;
    assert_eq!(bytes(&mut follow, 14).await, b"over the link\n");
    assert!(hub.calls("create", "link").await == 2 && hub.calls("create", "http").await == 0);

    link.cut();
    hub.by("http").await;
    // News of a pod that was created over the link, its log, and its delete.
    upstream.plugin.state(&uid(2), Some(json!({"running": {}})));
    hub.until_state(&uid(2), "running").await;
    upstream
        .plugin
        .log(&uid(1), |log| log.extend_from_slice(b"over http\n"));
    assert_eq!(bytes(&mut follow, 10).await, b"over http\n");
    assert_eq!(hub.delete(&uid(2)).await.0, 200);
    let deleted = &upstream.plugin.calls("POST /delete")[0].body;
    assert_eq!(deleted["metadata"]["uid"], uid(2));
    assert_eq!(deleted["spec"], pod(&uid(2))["spec"], "the whole pod");
    assert_eq!(hub.create(&uid(3)).await.0, 200);
    upstream.plugin.state(&uid(3), Some(json!({"running": {}})));
    hub.until_state(&uid(3), "running").await;
    assert_eq!(hub.calls("create", "http").await, 1);

    link.mend();
    hub.by("link").await;
    // What was created over HTTP is told of over the link, and what was deleted stays so.
    let over = json!({"terminated": {"exitCode": 0, "finishedAt": "2026-01-02T03:04:09Z"}});
    upstream.plugin.state(&uid(3), Some(over.clone()));
    hub.until_state(&uid(3), "terminated").await;
    assert_eq!(hub.plugin().await["way"], "link");
    assert_eq!(hub.status(&uid(2)).await, "[]");
    upstream
        .plugin
        .log(&uid(1), |log| log.extend_from_slice(b"the end"));
    upstream.plugin.state(&uid(1), Some(over));
    let rest = tokio::time::timeout(PATIENCE, follow.collect())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(rest.to_bytes(), "the end");
    hub.until_state(&uid(1), "terminated").await;
    assert_eq!(hub.delete(&uid(3)).await.0, 200);
    assert!(!upstream.plugin.has(&uid(3)));
    assert_eq!(
        upstream.plugin.calls("POST /create").len(),
        3,
        "nothing ran twice"
    );
    link.stop().await;
}

#[tokio::test]
async fn a_create_that_the_link_lost_is_not_run_twice_over_http() {
    let (upstream, dir, hub) = start(Quirks {
        hangs_on_create: true,
        ..Quirks::default()
    })
    .await;
    let link = Link::start(&hub, &upstream.address, dir.path(), true).await;
    hub.by("link").await;
    let one = uid(1);
    let creating = hub.create(&one);
    let cutting = async {
        upstream.plugin.called("POST /create", 1).await;
        link.cut();
    };
    let ((code, body), ()) = tokio::join!(creating, cutting);
    assert!(code == 200 && body.contains("42"), "{code} {body}");
    assert_eq!(hub.plugin().await["way"], "http");
    assert_eq!(upstream.plugin.calls("POST /create").len(), 1);
    assert_eq!(hub.delete(&uid(1)).await.0, 200);
    assert!(!upstream.plugin.has(&uid(1)));
}

#[tokio::test]
async fn a_hub_that_begins_by_http_changes_to_the_link_when_it_comes() {
    let (upstream, dir, hub) = start(Quirks::default()).await;
    hub.by("http").await;
    assert_eq!(hub.create(&uid(1)).await.0, 200);
    let link = Link::start(&hub, &upstream.address, dir.path(), true).await;
    hub.by("link").await;
    upstream.plugin.state(&uid(1), Some(json!({"running": {}})));
    hub.until_state(&uid(1), "running").await;
    assert_eq!(hub.plugin().await["way"], "link");
    // The link's own records have it now.
    let record = dir.path().join("link/pods").join(format!("{}.json", uid(1)));
    hub.until("the record", async || record.is_file()).await;
    // The link knows no more than the pod's name, and the hub which containers it has.
    upstream
        .plugin
        .log(&uid(1), |log| log.extend_from_slice(b"hello\n"));
    let path = format!("/api/v1/namespaces/vk/pods/pod-{}/log", &uid(1)[34..]);
    let read = hub.ask("GET", &path, &Value::Null).await;
    assert_eq!(read, (200, "hello\n".to_owned()));
    let asked = upstream.plugin.calls("GET /getLogs").pop().unwrap();
    assert_eq!(asked.body["ContainerName"], "main");
    // A plugin that leaves in good order is followed by HTTP as well.
    link.stop().await;
    hub.by("http").await;
    assert_eq!(hub.delete(&uid(1)).await.0, 200);
    assert!(!upstream.plugin.has(&uid(1)));
}

#[tokio::test]
async fn while_the_way_changes_again_and_again_each_pod_runs_once() {
    let (upstream, dir, mut hub) = start(Quirks::default()).await;
    let link = Link::start(&hub, &upstream.address, dir.path(), false).await;
    hub.by("link").await;
    let mut next = 0;
    let mut three = || {
        next += 3;
        [uid(next - 2), uid(next - 1), uid(next)]
    };
    for round in 0..3 {
        // Under way when the link is lost, while nobody is there, over HTTP, and when the link comes.
        let (a, b, c, d) = (three(), three(), three(), three());
        let some = async |uids: &[String; 3]| {
            let (one, two, three) =
                tokio::join!(hub.create(&uids[0]), hub.create(&uids[1]), hub.create(&uids[2]));
            for (code, body) in [one, two, three] {
                assert_eq!(code, 200, "{body}");
            }
        };
        tokio::join!(some(&a), async { link.cut() });
        some(&b).await;
        hub.by("http").await;
        some(&c).await;
        tokio::join!(some(&d), async { link.mend() });
        hub.by("link").await;
        if round == 1 {
            let address = hub.kill().await;
            hub = HubProcess::listening(&address, &auto(&upstream), dir.path()).await;
            hub.by("link").await;
        }
        // Some go over each way.
        assert_eq!(hub.delete(&a[0]).await.0, 200);
        assert_eq!(hub.delete(&c[0]).await.0, 200);
    }
    let created = upstream.plugin.calls("POST /create");
    for n in 1..=next {
        let uid = uid(n);
        let count = created
            .iter()
            .filter(|call| call.body["pod"]["metadata"]["uid"] == uid);
        assert_eq!(count.count(), 1, "{uid}");
        if upstream.plugin.has(&uid) {
            upstream.plugin.state(&uid, Some(json!({"running": {}})));
        }
    }
    let mut gone = 0;
    for n in 1..=next {
        let uid = uid(n);
        if upstream.plugin.has(&uid) {
            hub.until_state_at(&upstream, &uid, "running").await;
        } else {
            hub.until("it is gone", async || hub.status(&uid).await == "[]")
                .await;
            gone += 1;
        }
    }
    assert_eq!(gone, 6);
    assert_eq!(hub.plugin().await["pods"], json!(next - 6), "and no ghost");
}

/// slurm's is asked every 10 s: what was heard within that time is not old.
#[tokio::test]
async fn a_plugin_that_is_asked_rarely_is_ready_as_soon_as_it_is_called_over_http() {
    let upstream = Upstream::start(Quirks::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let plugins = json!({"p1": {"url": upstream.address, "status_interval": "1h"}});
    let hub = HubProcess::start(&plugins, dir.path()).await;
    hub.until("called", async || hub.plugin().await["way"] == "http")
        .await;
    assert_eq!(hub.plugin().await["ready"], true);
    assert_eq!(hub.create(&uid(1)).await.0, 200);
    let link = Link::start(&hub, &upstream.address, dir.path(), true).await;
    hub.by("link").await;
    link.cut();
    hub.until("called again", async || hub.plugin().await["way"] == "http")
        .await;
    assert_eq!(hub.plugin().await["ready"], true);
    link.stop().await;
}
