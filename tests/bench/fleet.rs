//! `towline bench fleet`

use std::process::{Command, Output};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_towline");

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn fleet(args: &[&str]) -> Output {
    Command::new(PROGRAM)
        .args(["bench", "fleet", "--quick"])
        .args(args)
        .output()
        .unwrap()
}

#[test]
fn a_small_fleet_goes_through_every_phase_with_and_without_tls() {
    let out = fleet(&["--plugins", "20", "--tls", "-o", "json"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(report["bench"], "fleet");
    let rows = report["rows"].as_array().unwrap();
    let of = |peer: &str| -> Vec<&str> {
        rows.iter()
            .filter(|row| row["peer"] == peer)
            .map(|row| row["measure"].as_str().unwrap())
            .collect()
    };
    let every = [
        "connect",
        "connect, hub",
        "idle, hub",
        "connect, plugin",
        "idle, plugin",
        "create over REST",
        "create over REST, hub",
        "events",
        "events, hub",
        "status over REST",
        "status over REST, hub",
        "status over REST, p50",
        "status over REST, p99",
        "storm, half are back",
        "storm, 99 % are back",
        "storm, all are back",
        "storm, failed dials a plugin",
        "storm, most failed dials",
        "storm, hub",
    ];
    assert_eq!(of("towline"), every);
    assert_eq!(of("towline tls"), every);
    assert_eq!(of("tonic"), every[..5]);
    for row in rows {
        assert_eq!(row["plugins"], 20, "{row}");
        assert!(row["value"].is_number() && row["unit"].is_string(), "{row}");
    }
    let idle = rows.iter().find(|row| row["measure"] == "idle, hub").unwrap();
    assert_eq!(
        (&idle["unit"], &idle["goal"]),
        (&"KiB resident".into(), &10.0.into())
    );
    let back = rows
        .iter()
        .find(|row| row["measure"] == "storm, all are back")
        .unwrap();
    assert!(back["value"].as_f64().unwrap() > 0.0, "{back}");
}

#[test]
fn a_number_of_plugins_that_no_hub_takes_is_wrong_usage() {
    for count in ["0", "10001"] {
        let out = fleet(&["--plugins", count]);
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{said}");
        assert!(
            said.contains(&format!("--plugins {count}: must be 1 to 10000")),
            "{said}"
        );
        assert!(out.stdout.is_empty());
    }
}

#[test]
fn too_few_open_files_are_told_with_the_number_that_is_needed() {
    let script = format!("ulimit -n 200 && exec {PROGRAM} bench fleet --plugins 100");
    let out = Command::new("sh").args(["-c", &script]).output().unwrap();
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("100 plugins need 356 open files"), "{said}");
    assert!(said.contains("200 are allowed"), "{said}");
}

#[test]
fn the_processes_of_a_fleet_are_not_for_people() {
    let help = Command::new(PROGRAM).args(["bench", "--help"]).output().unwrap();
    let help = text(&help.stdout);
    assert!(help.contains("fleet") && !help.contains("fleet-"), "{help}");
}
