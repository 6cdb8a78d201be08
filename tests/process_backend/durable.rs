//! Pods outlive the plugin: what a plugin process finds on disk, however the one before it ended.
//!
//! Each state that a kill can leave is laid down as files, and a plugin is started on it: no timing is involved.

use std::{fs, path::PathBuf, time::SystemTime};

use nix::{sys::stat::Mode, unistd::mkfifo};
use serde_json::{Value, json};
use towline::wire::{ContainerTerminated, EventAck, Presence, container_state::State};

use crate::hub::{Hub, UID, ended, is_running, payload, sh};

/// A state directory with one pod, whose container notes each start in a file.
struct Left {
    state: tempfile::TempDir,
    marks: tempfile::TempDir,
}

impl Left {
    /// The pod was taken: its record is the last of what a create writes.
    fn taken() -> Self {
        let left = Self::untaken();
        let record =
            json!({"version": 1, "namespace": "ns", "name": "pod-1", "accepted_at": SystemTime::now()});
        left.write("pod.json", &record);
        left
    }

    /// A create was cut short before that.
    fn untaken() -> Self {
        let left = Self {
            state: tempfile::tempdir().unwrap(),
            marks: tempfile::tempdir().unwrap(),
        };
        let script = format!("echo x >> {}; exit 5", left.ran().display());
        let spec = json!({"restartPolicy": "Never", "containers": [sh("main", &script)]});
        fs::create_dir_all(left.pod().join("volumes")).unwrap();
        left.write("payload.json", &payload(spec));
        left
    }

    fn pod(&self) -> PathBuf {
        self.state.path().join("pods").join(UID)
    }

    fn ran(&self) -> PathBuf {
        self.marks.path().join("ran")
    }

    /// How often the container was started.
    fn starts(&self) -> usize {
        fs::read_to_string(self.ran()).unwrap_or_default().lines().count()
    }

    fn write(&self, name: &str, value: &Value) {
        fs::write(self.pod().join(name), value.to_string()).unwrap();
    }

    /// The directory of the first run, with these empty files.
    fn run_with(&self, files: &[&str]) -> PathBuf {
        let dir = self.pod().join("containers/main/1");
        fs::create_dir_all(&dir).unwrap();
        for file in files {
            fs::write(dir.join(file), "").unwrap();
        }
        dir
    }

    async fn ended(&self) -> ContainerTerminated {
        let mut hub = Hub::start(self.state.path()).await;
        let state = hub
            .event(|_, state| {
                let main = state.containers.first().and_then(|main| main.state.as_ref());
                matches!(main, Some(State::Terminated(_)))
            })
            .await;
        assert_eq!(state.containers[0].restart_count, 0);
        hub.stop().await;
        ended(&state.containers[0]).clone()
    }
}

#[tokio::test]
async fn a_create_that_was_cut_short_left_no_pod() {
    let left = Left::untaken();
    left.write(".pod.json.new", &json!({"version": 1}));
    let hub = Hub::start(left.state.path()).await;
    assert_eq!(hub.state().await.presence(), Presence::Absent);
    assert!(!left.pod().exists());
    assert_eq!(left.starts(), 0);
}

#[tokio::test]
async fn a_pod_that_was_taken_but_not_begun_runs_once() {
    let left = Left::taken();
    assert_eq!(left.ended().await.exit_code, 5);
    assert_eq!(left.starts(), 1);
    // And not once more when the next plugin comes.
    assert_eq!(left.ended().await.exit_code, 5);
    assert_eq!(left.starts(), 1);
}

#[tokio::test]
async fn a_run_that_was_not_begun_is_begun_again_from_each_step_of_its_start() {
    // In the order in which they are made; the supervisor's control file is the first that it makes itself.
    let steps = ["lock", ".spec.json.new", "spec.json", "log", "supervisor.log"];
    for made in 0..=steps.len() {
        let left = Left::taken();
        left.run_with(&steps[..made]);
        assert_eq!(left.ended().await.exit_code, 5, "{:?}", &steps[..made]);
        assert_eq!(left.starts(), 1, "{:?}", &steps[..made]);
    }
}

#[tokio::test]
async fn a_run_that_may_have_been_begun_is_lost_and_not_begun_again() {
    // A record that was not finished does not count.
    for draft in [None, Some(".exit.json.new"), Some(".started.json.new")] {
        let left = Left::taken();
        let dir = left.run_with(&["lock", "spec.json", "supervisor.log"]);
        left.run_with(draft.as_slice());
        mkfifo(&dir.join("control"), Mode::S_IRWXU).unwrap();
        let lost = left.ended().await;
        assert_eq!((lost.exit_code, lost.reason.as_str()), (137, "ContainerLost"));
        let talk = dir.canonicalize().unwrap().join("supervisor.log");
        assert!(lost.message.contains(talk.to_str().unwrap()), "{}", lost.message);
        assert_eq!(left.starts(), 0);
    }
}

#[tokio::test]
async fn an_end_that_nobody_saw_is_told_by_the_next_plugin() {
    let left = Left::taken();
    let dir = left.run_with(&["lock", "supervisor.log"]);
    let now = SystemTime::now();
    let exit = json!({"exit_code": 9, "signal": 0, "reason": "Error", "message": "", "started_at": now,
        "finished_at": now, "started": true, "oom_killed": false, "stopped": false, "log_end": 0, "log_lost": 0});
    fs::write(dir.join("exit.json"), exit.to_string()).unwrap();
    assert_eq!(left.ended().await.exit_code, 9);
    assert_eq!(left.starts(), 0);
}

#[tokio::test]
async fn a_delete_that_was_recorded_is_carried_out_and_nothing_is_started() {
    let left = Left::taken();
    left.write("delete.json", &json!({"grace_seconds": null}));
    let hub = Hub::start(left.state.path()).await;
    // Whether the hub was there in time for the event is left open; here it asks until the pod is gone.
    while hub.state().await.presence() != Presence::Absent {}
    assert!(!left.pod().exists());
    assert_eq!(left.starts(), 0);
}

#[tokio::test]
async fn a_start_that_failed_stays_failed() {
    let state = tempfile::tempdir().unwrap();
    let mut hub = Hub::start(state.path()).await;
    // Something else stands where the scratch directory is to be made.
    let spec = json!({"restartPolicy": "Never", "containers": [sh("main", "true")],
        "initContainers": [sh("init", "ln -s /dev/null $HOME/../main")]});
    hub.create(spec).await.unwrap();
    let failed = ended(&hub.ended().await.containers[0]).clone();
    assert_eq!(
        (failed.exit_code, failed.reason.as_str()),
        (128, "StartError"),
        "{failed:?}"
    );
    hub.stop().await;
    fs::remove_file(state.path().join("pods").join(UID).join("scratch/main")).unwrap();
    let hub = Hub::start(state.path()).await;
    assert_eq!(ended(&hub.state().await.containers[0]), &failed);
}

#[tokio::test]
async fn the_node_is_told_again_when_its_state_directory_cannot_be_used_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(dir.path()).await;
    assert!(hub.node.ready, "{}", hub.node.reason);
    fs::remove_dir(dir.path().join("pods")).unwrap();
    let mut told = hub.nodes.clone();
    let told = tokio::time::timeout(crate::hub::PATIENCE, told.wait_for(|node| !node.ready)).await;
    let reason = told.unwrap().unwrap().reason.clone();
    assert!(reason.contains("cannot be written"), "{reason}");
}

#[tokio::test]
async fn a_pod_outlives_the_plugin_and_is_taken_up_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start(dir.path()).await;
    let go = dir.path().join("go");
    let script = format!(
        "echo begun; until [ -e {} ]; do sleep 0.05; done; echo ended; exit 5",
        go.display()
    );
    hub.create(json!({"restartPolicy": "Never", "containers": [sh("main", &script)]}))
        .await
        .unwrap();
    hub.event(|_, state| is_running(&state.containers[0])).await;
    hub.stop().await;
    let mut hub = Hub::start(dir.path()).await;
    let state = hub.event(|_, state| is_running(&state.containers[0])).await;
    assert_eq!(state.containers[0].restart_count, 0);
    std::fs::write(&go, "").unwrap();
    let state = hub.ended().await;
    assert_eq!(ended(&state.containers[0]).exit_code, 5);
    assert_eq!(hub.log("").await.unwrap(), "begun\nended\n");
    hub.stop().await;
    let hub = Hub::start(dir.path()).await;
    assert_eq!(ended(&hub.state().await.containers[0]).exit_code, 5);
}

#[tokio::test]
async fn an_end_is_told_once_however_often_the_plugin_is_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start_kept(dir.path(), EventAck::default()).await;
    let go = dir.path().join("go");
    let script = format!("until [ -e {} ]; do sleep 0.05; done; exit 5", go.display());
    hub.create(json!({"restartPolicy": "Never", "containers": [sh("main", &script)]}))
        .await
        .unwrap();
    hub.event(|_, state| is_running(&state.containers[0])).await;
    hub.ack().await;
    let told = hub.told;
    hub.stop().await;
    // It ends while no plugin is there.
    fs::write(&go, "").unwrap();
    let exit = dir
        .path()
        .join("pods")
        .join(UID)
        .join("containers/main/1/exit.json");
    let ends = async {
        while !exit.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(crate::hub::PATIENCE, ends).await.unwrap();
    let mut hub = Hub::start_kept(dir.path(), told).await;
    assert_eq!(ended(&hub.ended().await.containers[0]).exit_code, 5);
    assert_eq!(hub.seen.len(), 1, "nothing that was told before: {:?}", hub.seen);
    hub.ack().await;
    let told = hub.told;
    assert!(hub.events.try_recv().is_err());
    hub.stop().await;
    for _ in 0..2 {
        let hub = Hub::start_kept(dir.path(), told).await;
        assert_eq!(ended(&hub.state().await.containers[0]).exit_code, 5);
        assert!(hub.finish().await.is_empty());
    }
}
