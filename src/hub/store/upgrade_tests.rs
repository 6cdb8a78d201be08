#![allow(clippy::unwrap_used)]

use redb::{Database, TableDefinition};

use super::{tests::runtime, *};
use crate::wire::NodeStatus;

const META: TableDefinition<'static, &'static str, u64> = TableDefinition::new("meta");
/// Plugin rows as version 1 wrote them.
const SITE: &str = r#"{"name":"site","kind":"slurm","software":"x 1","instance":"i1","labels":{"node":"n1"},"jobs_epoch":3,"last_seen":{"secs":1700000000,"nanos":0},"epoch":9,"seq":41,"synced":true}"#;
const AWAY: &str = r#"{"name":"away","kind":"","software":"","instance":"","labels":{},"jobs_epoch":0,"last_seen":null,"epoch":0,"seq":0,"synced":false}"#;
const POD: &str = r#"{"uid":"a","namespace":"default","name":"web","plugin":"site","job_id":"42","answered":true,"deleting":false,"delete_asked":null,"lost":null,"created_at":{"secs":1700000000,"nanos":5},"observed_at":null,"terminal_at":null,"names":[["main","image"]],"epoch":9,"seq":40}"#;

/// A row as version 1 wrote it: the length of the head, the head, the tail.
fn old_row(head: &str, tail: &[u8]) -> Vec<u8> {
    let length = u32::try_from(head.len()).unwrap().to_le_bytes();
    [length.as_slice(), head.as_bytes(), tail].concat()
}

/// A file as version 1 left it, also with a plugin's row that cannot be read.
fn version_1() -> MemoryFile {
    let file = MemoryFile::default();
    let database = Database::builder()
        .create_with_backend(file.handle(file.life()))
        .unwrap();
    let transaction = database.begin_write().unwrap();
    for table in ["pods", "plugins", "creates", "deletes", "tombstones"] {
        let table = TableDefinition::<&str, &[u8]>::new(table);
        transaction.open_table(table).unwrap();
    }
    let put = |table, key, row: Vec<u8>| {
        let table = TableDefinition::<&str, &[u8]>::new(table);
        let mut table = transaction.open_table(table).unwrap();
        table.insert(key, row.as_slice()).unwrap();
    };
    let node = NodeStatus::ready(4, "1Gi", 10).to_bytes();
    put("plugins", "site", old_row(SITE, &node));
    put("plugins", "away", old_row(AWAY, &node));
    put("plugins", "torn", vec![1, 2, 3]);
    put("pods", "a", old_row(POD, &[]));
    put("tombstones", "z", 7_u64.to_be_bytes().to_vec());
    transaction
        .open_table(META)
        .unwrap()
        .insert("version", 1)
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    file
}

fn check(found: &Recovered) {
    assert!(found.damaged.is_none());
    let plugins: Vec<_> = found.plugins.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(plugins, ["away", "site"]);
    let site = &found.plugins[1];
    assert_eq!((site.kind.as_str(), site.jobs_epoch), ("slurm", 3));
    assert_eq!(
        (site.labels["node"].as_str(), site.node.memory.as_str()),
        ("n1", "1Gi")
    );
    let mark = MarkRow {
        epoch: 9,
        seq: 41,
        synced: true,
    };
    assert_eq!((site.mark, found.plugins[0].mark), (mark, MarkRow::default()));
    assert_eq!((found.pods[0].job_id.as_str(), found.pods[0].seq), ("42", 40));
    assert_eq!(found.tombstones, ["z"]);
}

#[test]
fn a_file_of_version_1_is_brought_to_this_version_with_all_that_it_holds() {
    runtime().block_on(async {
        let file = version_1();
        let place = StateDir::Memory(file.clone());
        let (store, found) = Store::open(&place, Meter::default()).unwrap();
        check(&found);
        let mark = MarkRow {
            epoch: 9,
            seq: 42,
            synced: true,
        };
        store.put_mark("site", mark);
        store.close().await.unwrap();
        // It was migrated once: a second time would bring the old mark back.
        let (_, found) = Store::open(&place, Meter::default()).unwrap();
        assert_eq!(found.plugins[1].mark, mark);
    });
}

#[test]
fn a_crash_at_any_moment_of_a_migration_loses_nothing() {
    runtime().block_on(async {
        let before = version_1();
        let mut whole = false;
        for step in 0.. {
            for seed in 0..4 {
                let file = MemoryFile::default();
                file.set_bytes(&before.bytes());
                let place = StateDir::Memory(file.clone());
                file.fail_after(Some(step));
                let opened = Store::open(&place, Meter::default());
                whole = opened.is_ok();
                drop(opened);
                file.crash(seed);
                file.fail_after(None);
                let (_, found) = Store::open(&place, Meter::default())
                    .unwrap_or_else(|error| panic!("step {step}: {error}"));
                check(&found);
            }
            if whole {
                assert!(step > 5, "a migration writes and syncs");
                break;
            }
        }
    });
}

#[tokio::test]
async fn a_file_of_an_unknown_version_is_refused_and_left_as_it_is() {
    for version in [0, migrate::VERSION + 1, 99] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hub.redb");
        migrate::set_version(&file, version);
        let place = StateDir::Path {
            dir: dir.path().to_owned(),
            key_file: None,
        };
        for _ in 0..2 {
            let refused = Store::open(&place, Meter::default()).unwrap_err().to_string();
            assert!(
                refused.contains(&format!("has version {version};"))
                    && refused.contains("reads versions 1 to 2"),
                "{refused}"
            );
        }
        assert!(file.exists());
        let aside = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(aside, 2, "the database and the key: nothing was moved aside");
    }
}

#[test]
fn an_event_rewrites_the_mark_of_its_plugin_and_not_the_plugin() {
    runtime().block_on(async {
        let file = MemoryFile::default();
        let (store, _) = Store::open(&StateDir::Memory(file.clone()), Meter::default()).unwrap();
        // A node with much to say for itself.
        let plugin = PluginRow {
            name: "site".into(),
            labels: (0..64).map(|n| (format!("label-{n}"), "x".repeat(60))).collect(),
            node: NodeStatus::ready(1, "1Gi", 10),
            ..PluginRow::default()
        };
        store.put_plugin(&plugin);
        store.committed().await.unwrap();
        let mut bytes = [0, 0];
        for seq in 1..=200 {
            let mark = MarkRow {
                seq,
                ..MarkRow::default()
            };
            for (bytes, whole) in bytes.iter_mut().zip([true, false]) {
                let before = file.written();
                if whole {
                    store.put_plugin(&PluginRow {
                        mark,
                        ..plugin.clone()
                    });
                } else {
                    store.put_mark("site", mark);
                }
                store.committed().await.unwrap();
                *bytes += file.written() - before;
            }
        }
        let [whole, mark] = bytes.map(|bytes| bytes / 200);
        assert!(
            mark + 4096 <= whole,
            "{mark} bytes a mark, {whole} bytes a plugin"
        );
    });
}
