#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;

use super::*;

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

async fn opened(dir: &Path) -> (FileDisk, Option<Bytes>) {
    let mut disk = FileDisk::new(dir);
    let found = disk.open().await.unwrap();
    (disk, found)
}

#[tokio::test]
async fn a_log_is_found_again_with_all_that_was_added() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("state/link");
    let (mut disk, found) = opened(&link).await;
    assert_eq!(found, None);
    disk.replace(bytes("one")).await.unwrap();
    disk.append(bytes(" two")).await.unwrap();
    drop(disk);
    let (mut disk, found) = opened(&link).await;
    assert_eq!(found.unwrap(), "one two");
    disk.replace(bytes("three")).await.unwrap();
    drop(disk);
    assert_eq!(opened(&link).await.1.unwrap(), "three");

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&link), 0o700);
    let files: Vec<_> = fs::read_dir(&link)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(files.len(), 2, "the lock and one log: {files:?}");
    assert!(files.iter().all(|path| mode(path) == 0o600));
}

#[tokio::test]
async fn a_crash_inside_a_replacement_leaves_the_former_log_or_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let (mut disk, _) = opened(dir.path()).await;
    disk.replace(bytes("one")).await.unwrap();
    drop(disk);
    // Written, not yet in its place.
    fs::write(dir.path().join("journal-00000002.new"), "tw").unwrap();
    let (disk, found) = opened(dir.path()).await;
    assert_eq!(found.unwrap(), "one");
    drop(disk);
    assert!(!dir.path().join("journal-00000002.new").exists());
    // In its place, the former not yet removed.
    fs::write(dir.path().join("journal-00000002"), "two").unwrap();
    let (mut disk, found) = opened(dir.path()).await;
    assert_eq!(found.unwrap(), "two");
    disk.replace(bytes("three")).await.unwrap();
    assert!(!dir.path().join("journal-00000001").exists());
    assert!(!dir.path().join("journal-00000002").exists());
}

#[tokio::test]
async fn two_processes_do_not_share_a_journal() {
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = opened(dir.path()).await;
    let error = FileDisk::new(dir.path()).open().await.unwrap_err();
    let expected = format!(
        "{} is used by process {}: give each plugin a state directory of its own",
        dir.path().display(),
        std::process::id()
    );
    assert_eq!(error.to_string(), expected);
    drop(first);
    opened(dir.path()).await;
}

#[tokio::test]
async fn after_a_failed_write_the_log_is_not_added_to() {
    let dir = tempfile::tempdir().unwrap();
    let (mut disk, _) = opened(dir.path()).await;
    disk.replace(bytes("one")).await.unwrap();
    // Every write to it fails with ENOSPC.
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    disk.files.lock().unwrap().log = Some(full);
    let error = disk.append(bytes(" two")).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(disk.append(bytes(" two")).await.is_err());
    disk.replace(bytes("two")).await.unwrap();
    disk.append(bytes(" three")).await.unwrap();
    drop(disk);
    assert_eq!(opened(dir.path()).await.1.unwrap(), "two three");
}

#[tokio::test]
async fn a_replacement_that_fails_leaves_the_former_log_and_no_draft() {
    let dir = tempfile::tempdir().unwrap();
    let (mut disk, _) = opened(dir.path()).await;
    disk.replace(bytes("one")).await.unwrap();
    // A directory is in the way of the rename.
    fs::create_dir(dir.path().join("journal-00000002")).unwrap();
    assert!(disk.replace(bytes("two")).await.is_err());
    assert!(!dir.path().join("journal-00000002.new").exists());
    assert_eq!(fs::read(dir.path().join("journal-00000001")).unwrap(), b"one");
    disk.replace(bytes("three")).await.unwrap();
    fs::remove_dir(dir.path().join("journal-00000002")).unwrap();
    drop(disk);
    assert_eq!(opened(dir.path()).await.1.unwrap(), "three");
}

#[tokio::test]
async fn only_the_newest_damaged_log_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    for text in ["one", "two"] {
        let (mut disk, _) = opened(dir.path()).await;
        disk.replace(bytes(text)).await.unwrap();
        let aside = disk.set_aside().await.unwrap();
        assert_eq!(fs::read_to_string(aside).unwrap(), text);
        disk.replace(bytes("fresh")).await.unwrap();
    }
    let damaged = fs::read_dir(dir.path()).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_str().unwrap().starts_with("damaged-")
    });
    assert_eq!(damaged.count(), 1);
    assert_eq!(opened(dir.path()).await.1.unwrap(), "fresh");
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = FileDisk::new(file.join("link")).open().await.unwrap_err();
    assert!(
        error.to_string().contains("file/link cannot be used: "),
        "{error}"
    );
}
