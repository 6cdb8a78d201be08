//! The demo.

use std::{
    io::{BufRead, BufReader},
    path::Path,
};

use nix::sys::signal::Signal;

use super::process::{Running, code, stderr, stdout, towline};

/// Directories that a demo left in the temporary directory.
fn left_in(dir: &Path) -> Vec<String> {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn the_demo_runs_a_pod_to_its_end_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let output = towline(&["demo", "--once"])
        .env("TMPDIR", dir.path())
        .output()
        .unwrap();
    let text = stdout(&output);
    assert_eq!(code(&output), 0, "{text}\n{}", stderr(&output));
    for line in [
        "[prepare] preparing",
        "[ticker] tick 4",
        "[watcher] the watcher saw it",
        "Final phase: Succeeded",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert!(
        text.contains("[ticker] demo says: hello from a ConfigMap"),
        "{text}"
    );
    assert_eq!(left_in(dir.path()), Vec::<String>::new());
}

#[test]
fn an_interrupted_demo_leaves_nothing_either() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = towline(&["demo", "--once"]);
    command.env("TMPDIR", dir.path());
    let (mut demo, _) = Running::start(command, "hub at");
    let mut lines = BufReader::new(demo.child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("tick 1")));
    demo.signal(Signal::SIGINT);
    // Drained to its end, which comes when the demo ends.
    assert!(!lines.any(|line| line.unwrap().contains("Final phase")));
    assert_eq!(demo.child.wait().unwrap().code(), Some(1));
    assert_eq!(left_in(dir.path()), Vec::<String>::new());
}
