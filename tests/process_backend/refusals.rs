//! What is refused at create, and volumes where they can be mounted.

use std::path::Path;

use serde_json::json;

use crate::hub::{Hub, can_mount, ended, sh, with};

#[tokio::test]
async fn a_pod_that_cannot_run_here_is_refused_and_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(dir.path()).await;
    let nfs = json!([{"name": "v", "nfs": {"server": "s", "path": "/"}}]);
    let mount = json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]});
    let cases = [
        (
            json!({"containers": [{"name": "main", "image": "nginx"}]}),
            "container main has no command",
        ),
        (
            json!({"volumes": nfs, "containers": [with(sh("main", "true"), mount)]}),
            "kind nfs is not supported",
        ),
        (json!({"containers": []}), "no containers"),
    ];
    for (spec, text) in cases {
        let refused = hub.create(spec).await.unwrap_err();
        assert_eq!(
            (refused.code, refused.reason.as_str()),
            (9, "BAD_POD"),
            "{refused}"
        );
        assert!(refused.message.contains(text), "{refused}");
    }
    assert_eq!(std::fs::read_dir(dir.path().join("pods")).unwrap().count(), 0);
}

#[tokio::test]
async fn volumes_are_mounted_where_the_machine_allows_it_and_refused_where_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start(dir.path()).await;
    let mounts = json!({"volumeMounts": [
        {"name": "text", "mountPath": "/towline-test/config"},
        {"name": "work", "mountPath": "/towline-test/work"},
        {"name": "secret", "mountPath": "/towline-test/key", "subPath": "key"}]});
    let script = "cat /towline-test/config/greeting /towline-test/key; echo x > /towline-test/work/x && \
                  ! echo x 2>/dev/null > /towline-test/config/x";
    let spec = json!({"restartPolicy": "Never", "containers": [with(sh("main", script), mounts)],
        "volumes": [{"name": "text", "configMap": {"name": "cm"}}, {"name": "work", "emptyDir": {}},
            {"name": "secret", "secret": {"secretName": "sec"}}]});
    let created = hub.create(spec).await;
    if can_mount() {
        created.unwrap();
        let state = hub.ended().await;
        assert_eq!(hub.log("main").await.unwrap(), "hello from the maps3cr3t");
        assert_eq!(ended(&state.containers[0]).exit_code, 0, "{state:?}");
    } else {
        let refused = created.unwrap_err();
        assert!(refused.message.contains("$TOWLINE_VOLUMES/text"), "{refused}");
    }
    assert!(!Path::new("/towline-test").exists());
}
