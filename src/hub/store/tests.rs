#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use proptest::prelude::*;

use super::*;
use crate::wire::{ContainerState, NodeStatus, PodState};

const CANARY: &str = "canary-5f2d1c";

pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

pub(super) fn pod(uid: &str, seq: u64) -> PodRow {
    PodRow {
        uid: uid.into(),
        namespace: "default".into(),
        name: "web".into(),
        plugin: "site".into(),
        job_id: "42".into(),
        answered: true,
        created_at: Some(UNIX_EPOCH + Duration::from_millis(1_500)),
        observed_at: Some(UNIX_EPOCH + Duration::from_nanos(7)),
        names: vec![("main".into(), "image".into())],
        epoch: 9,
        seq,
        state: Some(PodState {
            containers: vec![ContainerState::waiting("main", "Pulling")],
            ..PodState::default()
        }),
        ..PodRow::default()
    }
}

fn create(uid: &str) -> CreateRow {
    CreateRow {
        uid: uid.into(),
        plugin: "site".into(),
        session: "CreatePod#1".into(),
        payload: format!("{{\"secret\":\"{CANARY}\"}}").into(),
        ..CreateRow::default()
    }
}

fn delete(uid: &str) -> DeleteRow {
    DeleteRow {
        uid: uid.into(),
        plugin: "site".into(),
        grace_seconds: Some(3),
        pod_json: format!("{{\"env\":\"{CANARY}\"}}").into(),
        ..DeleteRow::default()
    }
}

fn path(dir: &Path) -> StateDir {
    StateDir::Path {
        dir: dir.to_owned(),
        key_file: None,
    }
}

fn fill(store: &Store) {
    store.put_pod(&pod("a", 1));
    store.put_plugin(&PluginRow {
        name: "site".into(),
        labels: BTreeMap::from([("node".into(), "n1".into())]),
        mark: MarkRow {
            epoch: 9,
            seq: 4,
            synced: true,
        },
        node: NodeStatus::ready(1, "1Gi", 10),
        ..PluginRow::default()
    });
    store.put_create(&create("b"));
    store.put_delete(&delete("c"));
    for uid in ["z", "y", "x"] {
        store.bury(uid);
    }
}

#[tokio::test]
async fn everything_that_was_put_is_found_again_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (store, found) = Store::open(&path(dir.path()), Meter::default()).unwrap();
    assert!(found.pods.is_empty() && found.damaged.is_none());
    fill(&store);
    store.put_create(&create("gone"));
    store.drop_create("gone");
    store.committed().await.unwrap();
    let written = store.close().await;
    written.unwrap();

    let (store, found) = Store::open(&path(dir.path()), Meter::default()).unwrap();
    assert_eq!(found.pods, [pod("a", 1)]);
    assert_eq!(found.plugins[0].node.memory, "1Gi");
    assert_eq!(
        (found.plugins[0].labels["node"].as_str(), found.plugins[0].mark),
        (
            "n1",
            MarkRow {
                epoch: 9,
                seq: 4,
                synced: true
            }
        )
    );
    assert_eq!(found.creates, [create("b")]);
    assert_eq!(found.deletes, [delete("c")]);
    assert_eq!(found.tombstones, ["z", "y", "x"]);
    // Later ones come after those of the former life.
    store.bury("w");
    store.unbury("z");
    store.close().await.unwrap();
    let (_, found) = Store::open(&path(dir.path()), Meter::default()).unwrap();
    assert_eq!(found.tombstones, ["y", "x", "w"]);
}

#[tokio::test]
async fn no_secret_is_readable_in_any_file_and_nobody_else_may_look() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let (store, _) = Store::open(&path(&state), Meter::default()).unwrap();
    fill(&store);
    store.committed().await.unwrap();
    store.drop_create("b");
    store.close().await.unwrap();
    let mut files = 0;
    assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
    for file in fs::read_dir(&state).unwrap() {
        let file = file.unwrap().path();
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600,
            "{}",
            file.display()
        );
        let bytes = fs::read(&file).unwrap();
        assert!(
            !bytes.windows(CANARY.len()).any(|part| part == CANARY.as_bytes()),
            "{}",
            file.display()
        );
        files += 1;
    }
    assert_eq!(files, 2, "the database and the key");
}

#[tokio::test]
async fn a_pod_is_held_until_its_last_change_is_on_the_disk() {
    let file = MemoryFile::default();
    let (store, _) = Store::open(&StateDir::Memory(file.clone()), Meter::default()).unwrap();
    assert!(!store.holds_pod("a"));
    file.fail(Some("no space left"));
    store.put_pod(&pod("a", 1));
    assert!(store.holds_pod("a"));
    store.committed().await.unwrap_err();
    assert!(store.holds_pod("a"));
    file.fail(None);
    store.put_pod(&pod("b", 1));
    while store.committed().await.is_err() {}
    assert!(!store.holds_pod("a") && !store.holds_pod("b"));
}

#[tokio::test]
async fn with_another_key_a_create_is_left_out_and_a_delete_still_stands() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&path(dir.path()), Meter::default()).unwrap();
    fill(&store);
    store.close().await.unwrap();
    let key_file = dir.path().join("other");
    fs::write(&key_file, "ab".repeat(32)).unwrap();
    let place = StateDir::Path {
        dir: dir.path().to_owned(),
        key_file: Some(key_file.clone()),
    };
    let (_, found) = Store::open(&place, Meter::default()).unwrap();
    assert!(found.creates.is_empty());
    assert_eq!(
        (found.deletes[0].uid.as_str(), found.deletes[0].pod_json.len()),
        ("c", 0)
    );

    fs::write(&key_file, "not a key").unwrap();
    let refused = Store::open(&place, Meter::default()).unwrap_err().to_string();
    assert!(refused.contains("64 hexadecimal digits"), "{refused}");
}

#[tokio::test]
async fn a_directory_serves_one_hub_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, _) = Store::open(&path(dir.path()), Meter::default()).unwrap();
    let refused = Store::open(&path(dir.path()), Meter::default()).unwrap_err();
    assert!(matches!(refused, StoreError::InUse(_)), "{refused}");
}

#[tokio::test]
async fn a_damaged_file_is_moved_aside_and_a_fresh_one_serves() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hub.redb");
    for garbage in [b"this is no database".to_vec(), vec![0; 8192]] {
        fs::write(&file, &garbage).unwrap();
        let (store, found) = Store::open(&path(dir.path()), Meter::default()).unwrap();
        let aside = found.damaged.unwrap();
        assert_eq!(fs::read(&aside).unwrap(), garbage);
        store.put_pod(&pod("a", 1));
        store.close().await.unwrap();
        let (store, found) = Store::open(&path(dir.path()), Meter::default()).unwrap();
        assert_eq!(found.pods.len(), 1);
        store.close().await.unwrap();
        fs::remove_file(aside).unwrap();
    }
}

#[test]
fn what_could_not_be_written_is_said_kept_and_written_later() {
    runtime().block_on(async {
        let file = MemoryFile::default();
        let place = StateDir::Memory(file.clone());
        let (store, _) = Store::open(&place, Meter::default()).unwrap();
        store.committed().await.unwrap();
        file.fail(Some("No space left on device"));
        store.put_pod(&pod("a", 1));
        let refused = store.committed().await.unwrap_err().to_string();
        assert!(refused.contains("No space left on device"), "{refused}");
        assert!(store.health().is_err());
        store.put_pod(&pod("a", 2));
        store.put_pod(&pod("b", 1));
        store.committed().await.unwrap_err();
        file.fail(None);
        // Paused time runs to the next try.
        while store.committed().await.is_err() {
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        store.health().unwrap();
        file.crash(0);
        let (_, found) = Store::open(&place, Meter::default()).unwrap();
        assert_eq!(found.pods, [pod("a", 2), pod("b", 1)]);
    });
}

#[test]
fn all_who_wait_share_one_fsync() {
    runtime().block_on(async {
        let file = MemoryFile::default();
        let (store, _) = Store::open(&StateDir::Memory(file.clone()), Meter::default()).unwrap();
        let before = file.syncs();
        for n in 0..1_000 {
            store.put_pod(&pod(&n.to_string(), n));
        }
        store.committed().await.unwrap();
        assert!(file.syncs() - before <= 4, "{} fsyncs", file.syncs() - before);
    });
}

#[test]
fn a_store_without_a_directory_holds_nothing_up() {
    runtime().block_on(async {
        let store = Store::none(Meter::default());
        store.put_pod(&pod("a", 1));
        store.committed().await.unwrap();
        store.health().unwrap();
        assert!(!store.is_durable());
    });
}

#[test]
fn a_time_before_1970_does_not_lose_the_row() {
    runtime().block_on(async {
        let place = StateDir::Memory(MemoryFile::default());
        let (store, _) = Store::open(&place, Meter::default()).unwrap();
        let mut row = pod("a", 1);
        row.observed_at = SystemTime::UNIX_EPOCH.checked_sub(Duration::from_secs(5));
        store.put_pod(&row);
        store.close().await.unwrap();
        let (_, found) = Store::open(&place, Meter::default()).unwrap();
        assert_eq!(found.pods[0].observed_at, Some(UNIX_EPOCH));
    });
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u64),
    Drop(u8),
    Commit,
    Let,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..6_u8, 0..1_000_u64).prop_map(|(uid, seq)| Step::Put(uid, seq)),
        2 => (0..6_u8).prop_map(Step::Drop),
        2 => Just(Step::Commit),
        1 => Just(Step::Let),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// After a crash the store is as it was at some moment since the last commit that was answered: nothing older,
    /// nothing torn.
    #[test]
    fn a_crash_loses_only_what_was_not_committed(steps in steps(), seed in any::<u64>()) {
        runtime().block_on(async {
            let file = MemoryFile::default();
            let place = StateDir::Memory(file.clone());
            let (store, _) = Store::open(&place, Meter::default()).unwrap();
            let mut now: BTreeMap<String, u64> = BTreeMap::new();
            // What may be found: every state since the last answered commit.
            let mut may_be = vec![now.clone()];
            for step in steps {
                match step {
                    Step::Put(uid, seq) => {
                        store.put_pod(&pod(&uid.to_string(), seq));
                        now.insert(uid.to_string(), seq);
                        may_be.push(now.clone());
                    }
                    Step::Drop(uid) => {
                        store.drop_pod(&uid.to_string());
                        now.remove(&uid.to_string());
                        may_be.push(now.clone());
                    }
                    Step::Commit => {
                        store.committed().await.unwrap();
                        may_be = vec![now.clone()];
                    }
                    Step::Let => tokio::task::yield_now().await,
                }
            }
            file.crash(seed);
            let (_store, found) = Store::open(&place, Meter::default()).unwrap();
            prop_assert!(found.damaged.is_none());
            let found: BTreeMap<String, u64> = found.pods.into_iter().map(|row| (row.uid, row.seq)).collect();
            prop_assert!(may_be.contains(&found), "{found:?} is none of {may_be:?}");
            Ok(())
        })?;
    }
}
