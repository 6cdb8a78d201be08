//! The guard as it is run: that it fails when it should, and says what to do.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A file of bounds in an empty folder.
fn bounds(name: &str, text: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("bounds.tsv");
    fs::write(&file, text).unwrap();
    file
}

fn guard(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_towline-guard"));
    command.args(args);
    command
}

fn compare(file: &Path, scenario: &str, more: &[&str]) -> (Option<i32>, String) {
    let mut command = guard(&["--bounds", file.to_str().unwrap(), "--only", scenario]);
    said(&command.args(more).output().unwrap())
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// What the table says of a scenario.
fn counted(text: &str, scenario: &str) -> u64 {
    let row = text.lines().find(|line| line.starts_with(scenario)).unwrap();
    row.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Whether anything can be counted on this machine; says so if not.
fn can_count() -> bool {
    let can = cfg!(target_arch = "x86_64") && Command::new("valgrind").arg("--version").output().is_ok();
    if !can {
        println!("not run: it needs valgrind on x86_64");
    }
    can
}

#[test]
fn what_is_over_its_bound_fails_and_its_profile_is_there() {
    if !can_count() {
        return;
    }
    let file = bounds("over", "session-keepalive\t100\t110\n");
    let (code, text) = compare(&file, "session-keepalive", &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("OVER session-keepalive: "), "{text}");
    assert!(text.ends_with("guard: 0 passed, 1 failed\n"), "{text}");
    let command = text
        .lines()
        .find(|line| line.contains("callgrind_annotate"))
        .unwrap();
    let profile = fs::read_to_string(command.split_whitespace().last().unwrap()).unwrap();
    assert!(
        profile.contains("poll_packet"),
        "the profile is of something else"
    );
}

#[test]
fn what_was_accepted_passes_and_counts_the_same_again() {
    if !can_count() {
        return;
    }
    let file = bounds("accepted", "another\t100\t110\n");
    let (code, text) = compare(&file, "encode-response", &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("UNBOUNDED encode-response"), "{text}");
    let first = counted(&text, "encode-response");

    let (code, text) = compare(&file, "encode-response", &["--accept"]);
    assert_eq!(code, Some(0), "{text}");
    let rows = fs::read_to_string(&file).unwrap();
    assert!(
        rows.contains("\nencode-response\t") && rows.contains("\nanother\t100\t110\n"),
        "{rows}"
    );

    let (code, text) = compare(&file, "encode-response", &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.ends_with("guard: 1 passed, 0 failed\n"), "{text}");
    let again = counted(&text, "encode-response");
    assert!(
        first.abs_diff(again) * 100 <= first,
        "{first} and then {again}: more than 1 % apart"
    );
}

#[test]
fn without_valgrind_it_says_that_nothing_was_compared() {
    let output = guard(&[]).env("PATH", "/nowhere").output().unwrap();
    let (code, text) = said(&output);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("not compared"), "{text}");
    assert!(!text.contains("passed"), "{text}");
}

#[test]
fn what_it_does_not_know_is_named() {
    for (args, status, says) in [
        (&["--onyl", "x"][..], 2, "\"--onyl\" is not known"),
        (&["--only"], 2, "--only needs a part of a scenario's name"),
        (
            &["run", "encode-response", "0"],
            2,
            "\"0\" is not a number of times",
        ),
        (
            &["run", "no-such-thing"],
            1,
            "there is no scenario \"no-such-thing\"; --list names them",
        ),
    ] {
        let (code, text) = said(&guard(args).output().unwrap());
        assert_eq!(code, Some(status), "{text}");
        assert!(text.contains(says), "{says:?} is not in {text}");
    }
}

/// The committed bounds are of scenarios that there are, and there is one for each.
#[test]
fn each_scenario_has_its_committed_bound() {
    let (code, listed) = said(&guard(&["--list"]).output().unwrap());
    assert_eq!(code, Some(0));
    let mut scenarios: Vec<&str> = listed.lines().collect();
    scenarios.sort_unstable();
    assert!(scenarios.len() >= 30, "{listed}");
    let file = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("bounds.tsv")).unwrap();
    let rows = file.lines().filter(|line| !line.starts_with('#'));
    let bounded: Vec<&str> = rows.filter_map(|line| line.split('\t').next()).collect();
    assert_eq!(bounded, scenarios, "make bench-guard-accept writes the file anew");
}
