#![allow(clippy::unwrap_used)]
use std::os::unix::fs::PermissionsExt;

use super::*;

const UID: &str = "3f0c9d0e-8f0b-4c53-9e1b-5d2f9a4b7c11";

#[test]
fn two_plugins_do_not_share_a_state_directory() {
    let dir = tempfile::tempdir().unwrap();
    let first = Store::open(dir.path()).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    let owner = format!("another plugin (process {} on ", std::process::id());
    assert!(error.to_string().starts_with(&owner), "{error}");
    drop(first);
    Store::open(dir.path()).unwrap();
}

#[test]
fn a_pod_is_found_again_until_it_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.put(&PodRef::new(UID, "ns", "name"), b"{}", &[]).unwrap();
    store
        .put_delete(
            UID,
            DeleteRecord {
                grace_seconds: Some(3),
            },
        )
        .unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(store.pod_dir(UID)), 0o700);
    assert_eq!(mode(store.pod_dir(UID).join(PAYLOAD)), 0o600);
    let found = store.load().unwrap();
    assert_eq!(
        (
            found.len(),
            found[0].pod.name.as_str(),
            found[0].payload.as_slice()
        ),
        (1, "name", &b"{}"[..])
    );
    assert_eq!(found[0].delete.unwrap().grace_seconds, Some(3));
    store.remove(UID).unwrap();
    assert!(store.load().unwrap().is_empty());
    assert!(!store.root.join("gone").join(UID).exists());
}

#[test]
fn what_a_create_left_unfinished_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    fs::create_dir_all(store.pod_dir(UID).join("volumes/v")).unwrap();
    assert!(store.load().unwrap().is_empty());
    assert!(!store.pod_dir(UID).exists());
}

#[test]
fn the_jobs_epoch_lives_as_long_as_the_records() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Store::open(dir.path()).unwrap().jobs_epoch();
    let epoch = open();
    assert_ne!(epoch, 0);
    assert_eq!(open(), epoch);
    fs::remove_dir(dir.path().join("pods")).unwrap();
    let second = open();
    assert_ne!(second, epoch);
    fs::write(dir.path().join("jobs-epoch"), "torn").unwrap();
    assert_ne!(open(), second);
}

#[test]
fn a_state_directory_that_cannot_be_written_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.check().unwrap();
    fs::remove_dir(store.pods_dir()).unwrap();
    assert!(store.check().is_err());
}
