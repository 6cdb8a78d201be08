//! `towline bench` as its users run it: what it prints, what it refuses, and the documents that it makes.
#![allow(clippy::unwrap_used)]

mod codec;
mod fleet;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

fn towline(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_towline"))
        .arg("bench")
        .args(args)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const SHORT: [&str; 7] = ["link", "--quick", "--rounds", "1", "--only", "c=64", "-o"];

#[test]
fn figures_go_to_stdout_as_one_object_and_progress_goes_to_stderr() {
    let out = towline(&[&SHORT[..], &["json"]].concat());
    assert!(out.status.success(), "{}", text(&out.stderr));
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(report["bench"], "link");
    let peers: Vec<&str> = (report["rows"].as_array().unwrap().iter())
        .map(|row| row["peer"].as_str().unwrap())
        .collect();
    assert_eq!(peers, ["towline", "tonic unary", "tonic bidi", "json path"]);
    let progress = text(&out.stderr);
    assert!(
        progress.contains("unary c=64: round 1 of 1, towline"),
        "{progress}"
    );
    // The fields stand in their order, for people who read it.
    let out = text(&out.stdout);
    let keys = [
        "machine",
        "versions",
        "bench",
        "rows",
        "peer",
        "cpu_us",
        "ratio_to_tonic",
    ];
    let places = keys.map(|key| out.find(&format!("\"{key}\":")).unwrap());
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn the_link_over_grpc_is_a_peer_of_a_whole_run_and_of_its_documents() {
    let out = towline(&[
        "link", "--rounds", "1", "--only", "c=64", "--only", "towline", "-o", "json",
    ]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let dir = tempfile::tempdir().unwrap();
    let (docs, json) = (dir.path().join("BENCHMARKS.md"), dir.path().join("link.json"));
    fs::write(&json, &out.stdout).unwrap();
    fs::write(&docs, "<!-- bench:link -->\n<!-- /bench:link -->\n").unwrap();
    let report = [
        "report",
        "--docs",
        dir.path().to_str().unwrap(),
        json.to_str().unwrap(),
    ];
    assert!(towline(&report).status.success());
    assert!(towline(&[&report[..], &["--check"]].concat()).status.success());
    let made = fs::read_to_string(docs).unwrap();
    let rows = ["| unary c=64 | towline | ", "|  | towline grpc | "];
    assert!(rows.iter().all(|row| made.contains(row)), "{made}");
}

#[test]
fn each_peer_is_explained_beside_its_figures() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/BENCHMARKS.md");
    let docs = fs::read_to_string(docs).unwrap();
    for peer in towline::bench::peers::PEERS {
        let row = format!("\n| `{}` ", peer.name);
        assert!(docs.contains(&row), "{}", peer.name);
    }
}

#[test]
fn the_table_fits_a_terminal_and_names_the_machine() {
    let out = towline(&[&SHORT[..], &["table"]].concat());
    assert!(out.status.success(), "{}", text(&out.stderr));
    let table = text(&out.stdout);
    assert!(table.starts_with("LOAD "), "{table}");
    assert!(
        table.contains("\nunary c=64  towline ") && table.contains("1.00x"),
        "{table}"
    );
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
    assert!(text(&out.stderr).contains(" cores, Linux "));
}

#[test]
fn a_name_that_is_none_is_refused_with_those_that_are() {
    let out = towline(&["link", "--quick", "--only", "grpc-web"]);
    assert_eq!(out.status.code(), Some(2));
    let error = text(&out.stderr);
    for part in ["--only", "\"grpc-web\"", "unary c=64", "json path"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    assert!(out.stdout.is_empty());
}

#[test]
fn a_report_is_made_into_documents_that_check_and_a_change_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let out = towline(&[&SHORT[..], &["json"]].concat());
    fs::write(path("link.json"), &out.stdout).unwrap();
    fs::write(
        path("BENCHMARKS.md"),
        "a\n<!-- bench:link -->\n<!-- /bench:link -->\nb\n",
    )
    .unwrap();
    let report = |more: &[&str]| {
        let (docs, file) = (dir.path().to_str().unwrap(), path("link.json"));
        towline(&[&["report", "--docs", docs, file.to_str().unwrap()], more].concat())
    };
    let stale = report(&["--check"]);
    assert_eq!(stale.status.code(), Some(1));
    assert!(
        text(&stale.stderr).contains("link-requests.svg"),
        "{}",
        text(&stale.stderr)
    );
    assert!(!path("bench").exists(), "a check writes nothing");
    assert!(report(&[]).status.success());
    assert!(report(&["--check"]).status.success());
    assert!(
        fs::read_to_string(path("BENCHMARKS.md"))
            .unwrap()
            .contains("| unary c=64 | towline |")
    );
    let chart = path("bench/link-requests.svg");
    fs::write(
        &chart,
        fs::read_to_string(&chart).unwrap().replace("towline", "ours"),
    )
    .unwrap();
    assert_eq!(report(&["--check"]).status.code(), Some(1));
    let none = towline(&[
        "report",
        "--docs",
        "/nowhere",
        path("link.json").to_str().unwrap(),
    ]);
    assert!(text(&none.stderr).contains("--docs"), "{}", text(&none.stderr));
}

#[test]
fn the_documents_say_what_the_committed_reports_do() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let reports: Vec<PathBuf> = (fs::read_dir(docs.join("bench")).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .collect();
    assert!(!reports.is_empty());
    let mut args = vec!["report", "--check", "--docs", docs.to_str().unwrap()];
    args.extend(reports.iter().map(|path| path.to_str().unwrap()));
    let out = towline(&args);
    assert!(out.status.success(), "{}", text(&out.stderr));
}
