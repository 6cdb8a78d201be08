//! Reading a JSON body: errors say what is wrong and where, and never repeat a value.

use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::scan;

/// Longest piece of a path that an error repeats, in bytes.
const MAX_KEY: usize = 64;
/// Deepest nesting that an error's path follows.
const MAX_DEPTH: usize = 32;

/// Why a body was refused: what and where, without any value of it (bodies hold secrets).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at {}{}", if path.is_empty() { "the top" } else { path.as_str() }, place(*line, *column))]
pub struct BadBody {
    /// What is wrong.
    pub what: String,
    /// Where, for example `pod.spec.containers[0].name`; empty for the whole body.
    pub path: String,
    /// Line, from 1; 0 when the body was not read from text.
    pub line: usize,
    /// Column, from 1, in bytes; 0 as for `line`.
    pub column: usize,
}

fn place(line: usize, column: usize) -> String {
    if line == 0 {
        String::new()
    } else {
        format!(" (line {line}, column {column})")
    }
}

/// Reads a JSON body.
///
/// # Errors
/// [`BadBody`], fit to be shown to the caller.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, BadBody> {
    serde_json::from_slice(body).map_err(|error| bad_body(body, &error))
}

/// A body that [`read`] may know a quick way for.
pub trait Body: DeserializeOwned {
    /// The value that begins at `at`, with where it ends; what serde would read. None when that is not sure.
    #[doc(hidden)]
    fn quick(text: &str, at: usize) -> Option<(Self, usize)> {
        let _ = (text, at);
        None
    }
}

/// Reads a JSON body as [`parse`] does, in less time when it is as the virtual kubelet writes it.
///
/// # Errors
/// [`BadBody`], fit to be shown to the caller.
pub fn read<T: Body>(body: &[u8]) -> Result<T, BadBody> {
    let text = std::str::from_utf8(body).ok();
    let quick = text.and_then(|text| scan::whole(body, |at| T::quick(text, at)));
    quick.map_or_else(|| parse(body), Ok)
}

/// Reads a field that must not come twice. Gives where it ends.
pub(super) fn once<T: Body>(field: &mut Option<T>, text: &str, at: usize) -> Option<usize> {
    let (value, end) = T::quick(text, at)?;
    field.replace(value).is_none().then_some(end)
}

impl<T: Body> Body for Option<T> {
    fn quick(text: &str, at: usize) -> Option<(Self, usize)> {
        if let Some(end) = scan::null(text.as_bytes(), at) {
            return Some((None, end));
        }
        let (value, end) = T::quick(text, at)?;
        Some((Some(value), end))
    }
}

impl<T: Body> Body for Vec<T> {
    fn quick(text: &str, at: usize) -> Option<(Self, usize)> {
        let mut all = Self::new();
        let end = scan::list(text.as_bytes(), at, |at| {
            let (one, end) = T::quick(text, at)?;
            all.push(one);
            Some(end)
        })?;
        Some((all, end))
    }
}

impl Body for String {
    fn quick(text: &str, at: usize) -> Option<(Self, usize)> {
        let end = scan::string(text.as_bytes(), at)?;
        Some((serde_json::from_str(&text[at..end]).ok()?, end))
    }
}

/// Explains an error of reading `body`.
pub(super) fn bad_body(body: &[u8], error: &serde_json::Error) -> BadBody {
    let (line, column) = (error.line(), error.column());
    let mut path = path_at(body, offset_of(body, line, column));
    let mut what = match error.classify() {
        Category::Eof if body.iter().all(u8::is_ascii_whitespace) => {
            "the body is empty; JSON is expected".to_owned()
        }
        Category::Eof => "the JSON ends too early".to_owned(),
        Category::Syntax => format!("not JSON: {}", before_position(&error.to_string())),
        Category::Data => without_values(before_position(&error.to_string())),
        Category::Io => "the body cannot be read".to_owned(),
    };
    // An error from inside a value that was read on its own brings the rest of the path along.
    if let Some((inner, rest)) = what.strip_prefix(INNER).and_then(|text| text.split_once(INNER)) {
        path = path_at(body, end_of_value(body, offset_of(body, line, column)));
        let join = if path.is_empty() || inner.is_empty() || inner.starts_with('[') {
            ""
        } else {
            "."
        };
        path = format!("{path}{join}{inner}");
        what = rest.to_owned();
    }
    BadBody {
        what,
        path,
        line,
        column,
    }
}

/// Encloses the path in an error text that travels through serde.
const INNER: char = '\u{1f}';

/// The text that [`bad_body`] takes apart again.
pub(super) fn inner_error(bad: &BadBody) -> String {
    format!("{INNER}{}{INNER}{}", bad.path, bad.what)
}

fn before_position(text: &str) -> &str {
    text.rfind(" at line ").map_or(text, |end| &text[..end])
}

/// Keeps of serde's text what comes from the types, and drops what comes from the body.
fn without_values(text: &str) -> String {
    if text.starts_with(INNER) || text.starts_with("missing field `") || text.starts_with("duplicate field `")
    {
        return text.to_owned();
    }
    let expected = text.rsplit_once(", expected ").map(|(_, expected)| expected);
    // The name of a type in this program says nothing to the caller.
    let expected = expected.map(|expected| match expected.strip_prefix("struct ") {
        Some(_) => "an object",
        None => expected,
    });
    let found = text.strip_prefix("invalid type: ").map(|found| {
        let kind: &str = found.split([' ', ',']).next().unwrap_or_default();
        match kind {
            "boolean" | "integer" | "string" | "map" | "sequence" | "null" => kind,
            "floating" => "floating point number",
            _ => "another type",
        }
    });
    match (expected, found) {
        (Some(expected), Some(found)) => format!("expected {expected}, found {found}"),
        (Some(expected), None) => format!("expected {expected}"),
        _ => "a value that is not valid here".to_owned(),
    }
}

/// The byte offset of serde_json's line and column.
fn offset_of(body: &[u8], line: usize, column: usize) -> usize {
    let start = match line {
        0 | 1 => 0,
        _ => body
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'\n')
            .nth(line - 2)
            .map_or(body.len(), |(at, _)| at + 1),
    };
    (start + column).min(body.len())
}

/// Where the value ends that was read whole before its error was raised: serde_json has by then taken the end of
/// the list or object around it, unless a comma follows.
fn end_of_value(body: &[u8], offset: usize) -> usize {
    let next = body[offset..].iter().find(|byte| !byte.is_ascii_whitespace());
    if next == Some(&b',') {
        offset
    } else {
        offset.saturating_sub(1)
    }
}

/// The path of the value that `body[..end]` ends in or has just left.
fn path_at(body: &[u8], end: usize) -> String {
    enum Level {
        Map(String),
        List(usize),
    }
    let mut levels: Vec<Level> = Vec::new();
    // What was nested deeper than MAX_DEPTH is not followed.
    let mut deeper = 0_usize;
    let mut at = 0;
    let mut key_is_next = false;
    // The last byte may be the end of a container that failed as a whole: its path is the container's own.
    while at < end {
        match body[at] {
            b'"' => {
                let start = at + 1;
                at = start;
                while at < end && body[at] != b'"' {
                    at += if body[at] == b'\\' { 2 } else { 1 };
                }
                if key_is_next && deeper == 0 {
                    if let Some(Level::Map(key)) = levels.last_mut() {
                        *key = shown(&body[start..at.min(end)]);
                    }
                    key_is_next = false;
                }
            }
            open @ (b'{' | b'[') => {
                if levels.len() >= MAX_DEPTH {
                    deeper += 1;
                } else if open == b'{' {
                    levels.push(Level::Map(String::new()));
                    key_is_next = true;
                } else {
                    levels.push(Level::List(0));
                }
            }
            b'}' | b']' => {
                if deeper > 0 {
                    deeper -= 1;
                } else {
                    levels.pop();
                }
                key_is_next = false;
            }
            b',' if deeper == 0 => match levels.last_mut() {
                Some(Level::List(index)) => *index += 1,
                Some(Level::Map(_)) => key_is_next = true,
                None => {}
            },
            _ => {}
        }
        at += 1;
    }
    let mut path = String::new();
    for level in &levels {
        match level {
            Level::Map(key) if key.is_empty() => {}
            Level::Map(key) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
            }
            Level::List(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

fn shown(key: &[u8]) -> String {
    let cut = &key[..key.len().min(MAX_KEY)];
    String::from_utf8_lossy(cut)
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;
    use crate::interlink::{Pod, PodCreateRequests};

    #[derive(Debug, Deserialize)]
    struct Sample {
        #[allow(dead_code)]
        list: Vec<Item>,
    }
    #[derive(Debug, Deserialize)]
    struct Item {
        #[allow(dead_code)]
        port: u16,
    }

    #[test]
    fn an_error_names_the_path_and_the_kind_but_not_the_value() {
        let bad = parse::<Sample>(b"{\"list\": [\n {\"port\": 1},\n {\"port\": \"hunter2\"}]}").unwrap_err();
        assert_eq!(bad.path, "list[1].port");
        assert_eq!(bad.what, "expected u16, found string");
        assert_eq!(bad.line, 3);
        assert!(!bad.to_string().contains("hunter2"));
    }

    #[test]
    fn broken_json_is_told_from_a_wrong_shape() {
        assert_eq!(
            parse::<Sample>(b"  ").unwrap_err().what,
            "the body is empty; JSON is expected"
        );
        assert_eq!(
            parse::<Sample>(b"{\"list\": [").unwrap_err().what,
            "the JSON ends too early"
        );
        assert!(
            parse::<Sample>(b"{\"list\": x")
                .unwrap_err()
                .what
                .starts_with("not JSON: ")
        );
        assert_eq!(parse::<Sample>(b"{}").unwrap_err().what, "missing field `list`");
    }

    #[test]
    fn the_path_goes_on_inside_a_pod() {
        let body =
            br#"{"pod": {"metadata": {}, "spec": {"containers": [{"name": "a", "env": [{"name": 7}]}]}}}"#;
        let bad = parse::<PodCreateRequests>(body).unwrap_err();
        assert_eq!(bad.path, "pod.spec.containers[0].env[0].name");
        assert_eq!(bad.what, "expected a string, found integer");
    }

    #[test]
    fn the_path_goes_on_inside_a_list_of_pods() {
        let bad = parse::<Vec<Pod>>(br#"[{"spec": {}}, {"spec": {"volumes": 3}}]"#).unwrap_err();
        assert_eq!(bad.path, "[1].spec.volumes");
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_error_or_a_value(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse::<PodCreateRequests>(&body);
        }

        #[test]
        fn a_cut_body_gives_an_error_that_keeps_the_secret(cut in 0_usize..120) {
            let whole = br#"{"pod":{"metadata":{"name":"p"},"spec":{}},"secrets":[{"data":{"k":"TOPSECRET"}}],"configmaps":7}"#;
            let bad = parse::<PodCreateRequests>(&whole[..cut.min(whole.len())]).unwrap_err();
            prop_assert!(!bad.to_string().contains("TOPSECRET"));
        }
    }
}
