//! docs/RELIABILITY.md names the tests that hold its promises; they must be there.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

#[test]
fn every_promise_is_held_by_a_test_that_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/RELIABILITY.md")).unwrap();
    let table = page.split_once("## Which test holds which promise").unwrap().1;
    let rows: Vec<&str> = table
        .lines()
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.starts_with("| ") && !line.starts_with("| **"))
        .skip(1)
        .collect();
    assert!(rows.len() > 20, "{} promises", rows.len());
    for row in rows {
        let tests: Vec<(&str, &str)> = row
            .split('`')
            .filter_map(|word| word.split_once(".rs::"))
            .collect();
        assert!(!tests.is_empty(), "nothing holds: {row}");
        for (file, name) in tests {
            let file = format!("{file}.rs");
            let code = fs::read_to_string(root.join(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            let lines: Vec<&str> = code.lines().map(str::trim).collect();
            let declared = lines
                .iter()
                .position(|line| line.contains(&format!("fn {name}(")))
                .unwrap_or_else(|| panic!("{file} has no {name}"));
            // One in proptest! has its attribute there too.
            let before = &lines[declared.saturating_sub(3)..declared];
            assert!(
                before
                    .iter()
                    .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test")),
                "{file}: {name} is no test"
            );
        }
    }
}
