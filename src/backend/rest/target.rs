//! Which path of the plugin may be reached through the hub (pure).
//!
//! A path that two programs read in two ways is refused, never cleaned: what the bridge takes for harmless must be what the
//! plugin, or a proxy before it, makes of it.

use std::borrow::Cow;

use crate::{code::Code, wire::Status};

/// interLink's own calls: the hub makes them, and knows pods by them.
const CALLS: [&str; 4] = ["create", "delete", "status", "getlogs"];

/// Lets a target (path and query) through, or says why not.
pub(super) fn check(target: &str) -> Result<(), Status> {
    let refuse = |code, text: String| Err(Status::new(code, "", text).not_started());
    let bad = |why: &str| refuse(Code::InvalidArgument, format!("the path {why}"));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if !query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return refuse(
            Code::InvalidArgument,
            "the query holds a character that must be percent-encoded".to_owned(),
        );
    }
    let Some(relative) = path.strip_prefix('/') else {
        return bad("must begin with a slash");
    };
    if !path.bytes().all(is_path_byte) {
        return bad("holds a character that must be percent-encoded");
    }
    let count = relative.split('/').count();
    for (place, segment) in relative.split('/').enumerate() {
        let Some(plain) = decoded(segment) else {
            return bad("holds a % that is no percent-encoding of a character");
        };
        if segment.is_empty() && place + 1 < count {
            return bad("has an empty segment (//)");
        }
        if plain
            .iter()
            .any(|byte| b"/\\%".contains(byte) || byte.is_ascii_control())
        {
            return bad("holds an encoded slash, backslash, percent sign or control character");
        }
        // Some servers take what follows a semicolon for parameters, and off.
        let name = plain.split(|byte| *byte == b';').next().unwrap_or_default();
        if name == b"." || name == b".." {
            return bad("has a segment . or ..");
        }
        if place == 0
            && CALLS
                .iter()
                .any(|call| name.trim_ascii().eq_ignore_ascii_case(call.as_bytes()))
        {
            let shown = String::from_utf8_lossy(name);
            return refuse(
                Code::PermissionDenied,
                format!(
                    "/{shown} is one of interLink's own calls, which the hub alone makes: ask the hub for them \
                     (/create, /delete, /status, /getLogs)"
                ),
            );
        }
    }
    Ok(())
}

/// What may stand in a path (RFC 3986 section 3.3).
fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%/".contains(&byte)
}

/// Without percent-encoding; none when it is broken.
fn decoded(segment: &str) -> Option<Cow<'_, [u8]>> {
    if !segment.contains('%') {
        return Some(Cow::Borrowed(segment.as_bytes()));
    }
    let mut parts = segment.split('%');
    let mut plain = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        plain.push(u8::from_str_radix(digits, 16).ok()?);
        plain.extend_from_slice(rest.as_bytes());
    }
    Some(Cow::Owned(plain))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn endpoints_of_a_plugin_are_let_through() {
        for target in [
            "/",
            "/system-info",
            "/system-info/",
            "/v1/jobs/42/steps?state=running&sort=%2Fname&next=/create",
            "/statuses",
            "/v1/status",
            "/a%20b/caf%C3%A9",
            "/...",
            "/.well-known/x",
            "/jobs;v=1",
        ] {
            assert_eq!(check(target), Ok(()), "{target}");
        }
    }

    #[test]
    fn interlinks_calls_are_forbidden_however_they_are_written() {
        for target in [
            "/create",
            "/create/",
            "/create?x=1",
            "/create?",
            "/Create",
            "/getLogs",
            "/getlogs/x",
            "/delete",
            "/status",
            "/%63reate",
            "/%63%72%65%61%74%65",
            "/create;x=1",
            "/create%3Bx",
            "/create%20",
            "/status/..;/create",
        ] {
            let refused = check(target).unwrap_err();
            assert_eq!(refused.kind(), Code::PermissionDenied, "{target}: {refused}");
            assert!(refused.message.contains("ask the hub"), "{refused}");
        }
    }

    #[test]
    fn a_path_that_can_be_read_in_two_ways_is_refused() {
        for target in [
            "",
            "create",
            "http://example.org/create",
            "//create",
            "/x//create",
            "/./create",
            "/x/../create",
            "/..",
            "/x/..",
            "/%2e%2e/create",
            "/x/%2E./create",
            "/x/.%2e",
            "/..;/create",
            "/..%3b/create",
            "/x%2fcreate",
            "/x%2F..%2Fcreate",
            "/x%5ccreate",
            "/x\\create",
            "/%252e%252e/create",
            "/%2563reate",
            "/create%00",
            "/create#x",
            "/x?y#z",
            "/x y",
            "/x\tz",
            "/caf\u{e9}",
            "/x%",
            "/x%2",
            "/x%zz",
            "/x%+1",
        ] {
            let refused = check(target).unwrap_err();
            assert_eq!(refused.kind(), Code::InvalidArgument, "{target}: {refused}");
        }
    }
}
