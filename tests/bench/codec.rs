//! `towline bench codec`

use std::process::Command;

use serde_json::Value;

fn codec(args: &[&str]) -> (bool, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_towline"))
        .args(["bench", "codec", "--quick", "--rounds", "1"])
        .args(args)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (out.status.success(), text(&out.stdout), text(&out.stderr))
}

#[test]
fn a_report_has_each_form_of_a_frame_and_each_level_of_a_log() {
    let (good, json, said) = codec(&[
        "--only",
        "pod event",
        "--only",
        "text log 4 KiB",
        "--only",
        "random bytes 4 KiB",
        "-o",
        "json",
    ]);
    assert!(good, "{said}");
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["bench"], "codec");
    let rows = report["rows"].as_array().unwrap();
    let found = |load: &str, peer: &str, op: &str| {
        rows.iter()
            .find(|row| row["load"] == load && row["peer"] == peer && row["op"] == op)
            .unwrap_or_else(|| panic!("no {load}, {peer}, {op} in {json}"))
    };
    for form in ["protobuf", "JSON envelope", "serde_json"] {
        for op in ["encode", "decode"] {
            let row = found("pod event", form, op);
            for field in [
                "bytes",
                "cpu_ns",
                "cpu_ns_per_byte",
                "mb_per_s",
                "ratio_to_protobuf",
            ] {
                assert!(
                    row[field].as_f64().is_some_and(|value| value > 0.0),
                    "{field}: {row}"
                );
            }
            assert!(row.get("compression_ratio").is_none(), "{row}");
        }
    }
    for level in ["zstd 1", "zstd 3"] {
        let text = found("text log 4 KiB", level, "compress");
        assert!(text["compression_ratio"].as_f64().unwrap() > 1.5, "{text}");
        assert!(text["pays_below_mb_per_s"].as_f64().unwrap() > 0.0, "{text}");
        let random = found("random bytes 4 KiB", level, "inflate");
        assert!(random.get("pays_below_mb_per_s").is_none(), "{random}");
    }
    assert_eq!(rows.len(), 6 + 2 * 4);
}

#[test]
fn the_tables_are_for_people() {
    let (good, table, said) = codec(&["--only", "random bytes 4 KiB", "--only", "create"]);
    assert!(good, "{said}");
    let (frames, logs) = table.split_once("\n\n").unwrap();
    assert!(
        frames.starts_with("FRAME") && frames.contains("serde_json"),
        "{table}"
    );
    assert!(logs.starts_with("LOG") && logs.contains("never"), "{table}");
    assert!(said.contains("create: encode: round 1 of 1, protobuf"), "{said}");
}
