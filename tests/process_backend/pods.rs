//! Pods that run: init containers, containers together, sidecars, how they end.

use serde_json::json;
use towline::wire::{PodEventType, Presence, container_state::State};

use crate::hub::{Hub, UID, ended, sh, with};

#[tokio::test]
async fn init_runs_first_then_both_containers_with_their_config_map() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start(dir.path()).await;
    assert!(hub.node.ready, "{}", hub.node.reason);
    assert!(!hub.node.cpu.is_empty() && hub.node.memory.ends_with('i') && hub.node.pods == "110");
    let spec = json!({
        "restartPolicy": "Never",
        "volumes": [{"name": "text", "configMap": {"name": "cm"}}, {"name": "shared", "emptyDir": {}}],
        "initContainers": [sh("prepare", "echo prepared > $TOWLINE_VOLUMES/shared/made; echo init done")],
        "containers": [
            with(sh("main", "cat $TOWLINE_VOLUMES/text/greeting; echo; cat $TOWLINE_VOLUMES/shared/made; echo $HOSTNAME"),
                json!({})),
            sh("other", "echo from other >&2"),
        ]
    });
    let (existed, job) = hub.create(spec.clone()).await.unwrap();
    assert!(!existed && job == UID);
    let state = hub.ended().await;
    assert_eq!(hub.create(spec).await.unwrap(), (true, UID.to_owned()));
    assert_eq!(hub.seen.last().unwrap().0, PodEventType::Finished);
    assert_eq!(
        state
            .containers
            .iter()
            .map(|c| ended(c).exit_code)
            .collect::<Vec<_>>(),
        [0, 0]
    );
    let init = ended(&state.init_containers[0]);
    let main = ended(&state.containers[0]);
    assert_eq!(
        (init.reason.as_str(), main.reason.as_str()),
        ("Completed", "Completed")
    );
    let nanos = |at: &towline::wire::Timestamp| (at.seconds, at.nanos);
    assert!(nanos(init.finished_at.as_ref().unwrap()) <= nanos(main.started_at.as_ref().unwrap()));
    assert_eq!(
        hub.log("").await.unwrap(),
        "hello from the map\nprepared\npod-1\n"
    );
    assert_eq!(hub.log("other").await.unwrap(), "from other\n");
    assert_eq!(hub.log("prepare").await.unwrap(), "init done\n");
    let refused = hub.log("nobody").await.unwrap_err();
    assert!(
        refused.message.contains("it has prepare, main, other"),
        "{refused}"
    );
    assert!(hub.delete(None).await);
    let gone = hub.event(|word, _| word == PodEventType::Deleted).await;
    assert_eq!(gone.presence(), Presence::Absent);
    assert!(!dir.path().join("pods").join(UID).exists());
    assert_eq!(hub.state().await.presence(), Presence::Absent);
    assert!(!hub.delete(None).await);
}

#[tokio::test]
async fn exit_codes_and_signals_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start(dir.path()).await;
    // In a pod spec $$ stands for one dollar.
    let missing = json!({"name": "missing", "command": ["/no/such/program"]});
    let spec = json!({"restartPolicy": "Never",
        "containers": [sh("seven", "exit 7"), sh("killed", "kill -9 $$$$"), missing]});
    hub.create(spec).await.unwrap();
    let state = hub.ended().await;
    assert_eq!(hub.seen.last().unwrap().0, PodEventType::Failed);
    assert_eq!(ended(&state.containers[0]).exit_code, 7);
    let killed = ended(&state.containers[1]);
    assert_eq!((killed.exit_code, killed.signal), (137, 9));
    let missing = ended(&state.containers[2]);
    assert!(
        (126..=128).contains(&missing.exit_code) && !missing.message.is_empty(),
        "{missing:?}"
    );
}

#[tokio::test]
async fn a_failed_container_waits_in_backoff_and_the_pod_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start(dir.path()).await;
    hub.create(json!({"restartPolicy": "OnFailure", "containers": [sh("main", "exit 3")]}))
        .await
        .unwrap();
    let state = hub
        .event(|_, state| state.containers[0].last_termination.is_some())
        .await;
    match state.containers[0].state.as_ref().unwrap() {
        State::Waiting(waiting) => assert_eq!(waiting.reason, "CrashLoopBackOff"),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        state.containers[0].last_termination.as_ref().unwrap().exit_code,
        3
    );
    assert!(hub.delete(Some(0)).await);
    hub.event(|word, _| word == PodEventType::Deleted).await;
}

#[tokio::test]
async fn a_sidecar_runs_beside_and_is_stopped_after_the_main_container() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start(dir.path()).await;
    let side = with(
        sh(
            "side",
            "trap 'echo side stops; exit 0' TERM; echo up > $TOWLINE_VOLUMES/v/up; while :; do sleep 0.1; done",
        ),
        json!({"restartPolicy": "Always"}),
    );
    let wait = "until [ -e $TOWLINE_VOLUMES/v/up ]; do sleep 0.05; done";
    let spec = json!({"restartPolicy": "Never", "volumes": [{"name": "v", "emptyDir": {}}],
        "initContainers": [side], "containers": [sh("main", wait)]});
    hub.create(spec).await.unwrap();
    let state = hub.ended().await;
    assert_eq!(hub.seen.last().unwrap().0, PodEventType::Finished);
    assert_eq!(ended(&state.containers[0]).exit_code, 0);
    // The shell also says that its sleep was ended.
    assert!(hub.log("side").await.unwrap().ends_with("side stops\n"));
    assert_eq!(state.init_containers[0].restart_count, 0);
}

#[tokio::test]
async fn a_failed_init_container_fails_the_whole_pod() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start(dir.path()).await;
    let spec = json!({"restartPolicy": "Never", "initContainers": [sh("init", "exit 4")],
        "containers": [sh("main", "true")]});
    hub.create(spec).await.unwrap();
    let state = hub.ended().await;
    assert_eq!(hub.seen.last().unwrap().0, PodEventType::Failed);
    let main = ended(&state.containers[0]);
    assert_ne!(main.exit_code, 0);
    assert_eq!(
        main.message,
        "not started: init container init ended with exit code 4"
    );
}
