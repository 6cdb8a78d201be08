#![allow(clippy::unwrap_used)]

use super::{
    tests::{pod, runtime},
    *,
};

/// A pod whose row takes about 64 KiB.
fn large(n: u64) -> PodRow {
    let mut row = pod(&format!("{n:05}"), n);
    row.names[0].1 = "x".repeat(64_000);
    row
}

async fn fill(store: &Store, pods: u64) {
    for n in 0..pods {
        store.put_pod(&large(n));
    }
    store.committed().await.unwrap();
}

/// All but every twentieth.
async fn empty(store: &Store, pods: u64) {
    for n in (0..pods).filter(|n| n % 20 != 0) {
        store.drop_pod(&format!("{n:05}"));
    }
    store.committed().await.unwrap();
}

fn check(found: &Recovered, pods: u64) {
    let expected: Vec<PodRow> = (0..pods).step_by(20).map(large).collect();
    assert!(found.damaged.is_none() && found.pods == expected);
}

const MIB: u64 = 1 << 20;

#[tokio::test]
async fn after_many_pods_have_come_and_gone_a_hub_that_starts_makes_its_file_small_again() {
    let dir = tempfile::tempdir().unwrap();
    let place = StateDir::Path {
        dir: dir.path().to_owned(),
        key_file: None,
    };
    let size = || std::fs::metadata(dir.path().join("hub.redb")).unwrap().len();
    let pods = 500;
    let (store, _) = Store::open(&place, Meter::default()).unwrap();
    fill(&store, pods).await;
    empty(&store, pods).await;
    store.close().await.unwrap();
    assert!(size() > 24 * MIB, "{}", size());
    let (store, found) = Store::open(&place, Meter::default()).unwrap();
    assert!(size() < 4 * MIB, "{}", size());
    check(&found, pods);
    // It can be written and read as before.
    fill(&store, 1).await;
    store.close().await.unwrap();
    let (_, found) = Store::open(&place, Meter::default()).unwrap();
    check(&found, pods);
}

#[test]
fn a_hub_that_runs_makes_a_very_large_file_small_when_nothing_is_to_be_written() {
    runtime().block_on(async {
        let file = MemoryFile::default();
        let place = StateDir::Memory(file.clone());
        let pods = 1_200;
        let (store, _) = Store::open(&place, Meter::default()).unwrap();
        fill(&store, pods).await;
        let full = file.len();
        assert!(full > 64 * MIB, "{full}");
        // Full it stays as it is.
        tokio::time::sleep(2 * compact::LOOK).await;
        assert_eq!(file.len(), full);
        empty(&store, pods).await;
        tokio::time::sleep(2 * compact::LOOK).await;
        assert!(file.len() < 8 * MIB, "{}", file.len());
        store.health().unwrap();
        file.crash(1);
        let (_, found) = Store::open(&place, Meter::default()).unwrap();
        check(&found, pods);
    });
}

#[test]
fn a_crash_at_any_moment_of_making_it_smaller_loses_nothing() {
    runtime().block_on(async {
        let pods = 60;
        let before = MemoryFile::default();
        let (store, _) = Store::open(&StateDir::Memory(before.clone()), Meter::default()).unwrap();
        fill(&store, pods).await;
        empty(&store, pods).await;
        store.close().await.unwrap();
        let when = compact::When {
            least: 0,
            most_used: u64::MAX,
        };
        let (mut step, mut whole) = (0, false);
        while !whole {
            let file = MemoryFile::default();
            file.set_bytes(&before.bytes());
            let size = file.len();
            let mut database = redb::Database::builder()
                .create_with_backend(file.handle(file.life()))
                .unwrap();
            file.fail_after(Some(step));
            whole = compact::compact(&mut database, size, when).is_ok_and(|done| done);
            drop(database);
            file.crash(step);
            file.fail_after(None);
            let (_, found) = Store::open(&StateDir::Memory(file), Meter::default()).unwrap();
            check(&found, pods);
            step += 1;
        }
        assert!(step > 5, "it writes and syncs");
    });
}

#[test]
fn the_meter_tells_what_the_store_does() {
    runtime().block_on(async {
        let mut registry = prometheus_client::registry::Registry::default();
        let meter = Meter::new(&mut registry);
        let value = |name: &str| {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(&format!("{name} ")));
            line.unwrap().parse::<f64>().unwrap()
        };
        let file = MemoryFile::default();
        let (store, _) = Store::open(&StateDir::Memory(file.clone()), meter).unwrap();
        assert_eq!(value("store_file_bytes"), file.len() as f64);
        fill(&store, 10).await;
        assert_eq!(value("store_commits_total"), 1.0);
        assert_eq!(value("store_commit_duration_seconds_count"), 1.0);
        assert_eq!((value("store_rows_queued"), value("store_failing")), (0.0, 0.0));
        file.fail(Some("No space left on device"));
        store.put_pod(&large(1));
        store.put_pod(&large(2));
        store.committed().await.unwrap_err();
        assert_eq!(
            (value("store_failures_total"), value("store_failing")),
            (1.0, 1.0)
        );
        assert_eq!(value("store_rows_queued"), 2.0);
        file.fail(None);
        tokio::time::sleep(std::time::Duration::from_secs(20)).await;
        assert_eq!((value("store_failing"), value("store_rows_queued")), (0.0, 0.0));
        assert_eq!(value("store_commits_total"), 2.0);
        assert_eq!(value("store_file_bytes"), file.len() as f64);
    });
}
