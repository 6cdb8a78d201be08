//! What the hub says of its ways when it is started.

use crate::{
    site::towline,
    upstream::{Quirks, Upstream},
};

#[tokio::test]
async fn what_is_wrong_with_a_way_ends_the_hub_with_78_and_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let taken = dir.path().join("taken");
    std::fs::create_dir_all(&taken).unwrap();
    std::fs::write(taken.join("ways"), "a file").unwrap();
    let taken = taken.to_str().unwrap();
    for (args, says) in [
        (
            &["--plugin-url", "p1=127.0.0.1:4000"][..],
            "hub.plugins.p1.url (from flag --plugin-url): bad address",
        ),
        (&["--plugin-url", "P=http://h"], "is no name of a plugin"),
        (
            &["--plugin-url", "p1=http://127.0.0.1:1", "--state-dir", taken],
            "hub.plugins.p1.url (from flag --plugin-url): state directory",
        ),
    ] {
        let all = [&["hub", "--listen", "127.0.0.1:0"], args].concat();
        let output = towline(&all).output().await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(says), "{said}");
    }
}

#[tokio::test]
async fn without_a_state_directory_it_is_said_and_nothing_is_left() {
    let upstream = Upstream::start(Quirks::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let url = format!("p1={}", upstream.address);
    let mut hub = towline(&["hub", "--listen", "127.0.0.1:0", "--plugin-url", &url]);
    let hub = hub.env("TMPDIR", dir.path()).spawn().unwrap();
    upstream.plugin.called("GET /status", 1).await;
    let pid = nix::unistd::Pid::from_raw(hub.id().unwrap().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let output = hub.wait_with_output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(
        said.matches("called over HTTP without --state-dir").count(),
        1,
        "{said}"
    );
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
