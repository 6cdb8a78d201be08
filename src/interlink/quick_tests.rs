//! The quick way of reading says what serde says, of bodies with any part changed.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::Value;

use super::{Pod, PodCreateRequests, RetrievedPodData, parse, read, surely_holds};

/// Stands for a key or a value that is put in as text.
const MARK: &str = "@@";

/// What may stand where a value was.
const PIECES: [&str; 24] = [
    "null",
    "true",
    "tru",
    "0",
    "-0",
    "01",
    "1.5",
    "1.",
    "1e5",
    "1e999",
    "1234567890123456789012345678901234567890",
    "\"\"",
    "\"x\"",
    "\"\\u0078\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud800\"",
    "\"\\x\"",
    "\"\u{1}\"",
    "[]",
    "[null]",
    "{}",
    "{\"a\": 1, \"a\": 2}",
    "{\"name\": \"x\", \"name\": null, \"na\\u006de\": \"y\"}",
    "",
];

/// How many values there are in a tree, itself included.
fn count(tree: &Value) -> usize {
    1 + match tree {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// The value of this number in the order of reading.
fn nth<'t>(tree: &'t mut Value, n: &mut usize) -> Option<&'t mut Value> {
    if *n == 0 {
        return Some(tree);
    }
    *n -= 1;
    match tree {
        Value::Array(items) => items.iter_mut().find_map(|item| nth(item, n)),
        Value::Object(fields) => fields.values_mut().find_map(|field| nth(field, n)),
        _ => None,
    }
}

/// One change: at which value (as a share of all), to which piece, and whether that comes beside it, as a field of the same
/// name, when it is in an object.
fn change() -> impl Strategy<Value = (f64, usize, bool)> {
    (0.0..1.0, 0..PIECES.len() + 1, any::<bool>())
}

/// The text of a body after these changes.
fn changed(body: &str, changes: &[(f64, usize, bool)], pretty: bool) -> String {
    let deep = format!("{}{}", "[".repeat(130), "]".repeat(130));
    let mut text = body.to_owned();
    for (share, piece, beside) in changes {
        let Ok(mut tree) = serde_json::from_str::<Value>(&text) else {
            break;
        };
        let mut n = (share * count(&tree) as f64) as usize;
        let Some(value) = nth(&mut tree, &mut n) else {
            break;
        };
        let mut key = None;
        match value {
            Value::Object(fields) if *beside && !fields.is_empty() => {
                key = fields.keys().next().cloned();
                fields.insert(MARK.into(), MARK.into());
            }
            value => *value = MARK.into(),
        }
        text = match pretty {
            true => serde_json::to_string_pretty(&tree).unwrap(),
            false => tree.to_string(),
        };
        if let Some(key) = key {
            text = text.replacen(&format!("\"{MARK}\""), &Value::from(key).to_string(), 1);
        }
        let piece = PIECES.get(*piece).copied().unwrap_or(&deep);
        text = text.replacen(&format!("\"{MARK}\""), piece, 1);
    }
    text
}

fn create() -> &'static str {
    include_str!("../../tests/payloads/create.vk.json")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_create_is_read_as_serde_reads_it(changes in prop::collection::vec(change(), 1..3), pretty: bool) {
        let text = changed(create(), &changes, pretty);
        let (quick, long) = (read::<PodCreateRequests>(text.as_bytes()), parse(text.as_bytes()));
        prop_assert!(quick == long, "{text}\n{quick:?}\n{long:?}");
        if let (Ok(quick), Ok(long)) = (quick, long) {
            prop_assert_eq!(quick.retrieve().to_payload().unwrap(), long.retrieve().to_payload().unwrap());
        }
    }

    #[test]
    fn pods_are_read_as_serde_reads_them(changes in prop::collection::vec(change(), 1..3), pretty: bool) {
        let tree: Value = serde_json::from_str(create()).unwrap();
        let pods = format!("[{}, {}]", tree["pod"], changed(&tree["pod"].to_string(), &changes, pretty));
        let (quick, long) = (read::<Vec<Pod>>(pods.as_bytes()), parse(pods.as_bytes()));
        prop_assert!(quick == long, "{pods}\n{quick:?}\n{long:?}");
    }

    #[test]
    fn a_payload_that_is_surely_good_is_good(changes in prop::collection::vec(change(), 0..3), pretty: bool) {
        let data = parse::<PodCreateRequests>(create().as_bytes()).unwrap().retrieve();
        let payload = String::from_utf8(data.to_payload().unwrap().into()).unwrap();
        let text = changed(&payload, &changes, pretty);
        if surely_holds(text.as_bytes(), data.pod.uid()) {
            let tree: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&tree["pod"]["metadata"]["uid"], data.pod.uid());
            prop_assert!(tree["pod"].get("spec").is_some());
        } else {
            prop_assert!(!changes.is_empty());
        }
        // What the types make of it is another matter: a handler reads what it needs.
        let _ = parse::<RetrievedPodData>(text.as_bytes());
    }
}
