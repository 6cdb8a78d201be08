//! Hooks, deletes and deadlines.

use serde_json::json;
use towline::{
    code::Code,
    wire::{PodEventType, Presence},
};

use crate::hub::{Hub, UID, ended, is_running, sh, with};

#[tokio::test]
async fn hooks_run_after_the_start_and_before_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start(dir.path()).await;
    let mark = dir.path().join("marks");
    let note = |word: &str| json!({"exec": {"command": ["/bin/sh", "-c", format!("echo {word} >> {}", mark.display())]}});
    let main = with(
        sh("main", "trap 'exit 0' TERM; while :; do sleep 0.1; done"),
        json!({"lifecycle": {"postStart": note("post"), "preStop": note("pre")}}),
    );
    hub.create(json!({"containers": [main]})).await.unwrap();
    let state = hub.event(|_, state| is_running(&state.containers[0])).await;
    assert!(state.containers[0].started && state.containers[0].ready);
    assert_eq!(std::fs::read_to_string(&mark).unwrap(), "post\n");
    assert!(hub.delete(Some(20)).await);
    hub.event(|word, _| word == PodEventType::Deleted).await;
    assert_eq!(std::fs::read_to_string(&mark).unwrap(), "post\npre\n");
}

#[tokio::test]
async fn a_delete_answers_before_the_grace_is_over_and_kills_what_does_not_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start(dir.path()).await;
    hub.create(json!({"containers": [sh("main", "trap '' TERM; while :; do sleep 0.1; done")]}))
        .await
        .unwrap();
    hub.event(|_, state| is_running(&state.containers[0])).await;
    assert!(hub.delete(Some(3600)).await);
    assert_eq!(hub.state().await.presence(), Presence::Present);
    let refused = hub
        .create(json!({"containers": [sh("main", "true")]}))
        .await
        .unwrap_err();
    assert_eq!(refused.reason, "DELETED");
    assert!(hub.delete(Some(0)).await);
    hub.event(|word, _| word == PodEventType::Deleted).await;
}

#[tokio::test]
async fn a_deadline_ends_the_pod() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start(dir.path()).await;
    let main = sh("main", "trap 'exit 0' TERM; while :; do sleep 0.1; done");
    hub.create(json!({"activeDeadlineSeconds": 1, "containers": [main]}))
        .await
        .unwrap();
    let state = hub.ended().await;
    let main = ended(&state.containers[0]);
    assert_ne!(main.exit_code, 0);
    assert!(main.message.starts_with("DeadlineExceeded"), "{main:?}");
}

#[tokio::test]
async fn the_log_of_a_pod_whose_files_have_gone_is_not_told_as_one_that_began_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start(dir.path()).await;
    hub.create(json!({"restartPolicy": "Never", "containers": [sh("main", "echo one")]}))
        .await
        .unwrap();
    hub.ended().await;
    assert_eq!(hub.log("").await.unwrap(), "one\n");
    // As in the middle of its removal: the files go before the record.
    let pod = dir.path().join("pods").join(UID);
    std::fs::rename(&pod, dir.path().join("away")).unwrap();
    let gone = hub.log("").await.unwrap_err();
    assert_eq!(gone.kind(), Code::NotFound);
    assert!(gone.message.contains("was deleted"), "{gone}");
    std::fs::rename(dir.path().join("away"), &pod).unwrap();
}
