//! The bytes of a chunk, with or without a time before each line.

use bytes::Bytes;

use super::source::Source;
use crate::wire::Timestamp;

/// `2026-01-02T03:04:05.123456789Z `.
const PREFIX: usize = 31;

/// The bytes as they are.
pub(super) fn plain(source: &mut Source, buffer: Vec<u8>) -> Bytes {
    source.advance(buffer.len());
    Bytes::from(buffer)
}

/// As many bytes with their prefixes as fit into `room`.
pub(super) fn stamped(source: &mut Source, raw: &[u8], line_start: &mut bool, room: usize) -> Bytes {
    let mut out = Vec::with_capacity(room);
    let mut taken = 0;
    while taken < raw.len() && out.len() < room {
        if *line_start {
            let prefix = prefix(source.time_of(source.position + taken as u64));
            // A prefix never ends a chunk: who goes on from there would get it again.
            if prefix.len() >= room - out.len() {
                // Only a limit leaves no room for a whole prefix in an empty chunk: it then ends within it.
                if out.is_empty() {
                    out.extend_from_slice(&prefix.as_bytes()[..room]);
                }
                break;
            }
            out.extend_from_slice(prefix.as_bytes());
            *line_start = false;
        }
        let rest = &raw[taken..];
        let line = rest
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(rest.len(), |index| index + 1);
        let part = &rest[..line.min(room - out.len())];
        out.extend_from_slice(part);
        taken += part.len();
        *line_start = part.ends_with(b"\n");
    }
    source.advance(taken);
    Bytes::from(out)
}

fn prefix(nanos: Option<u64>) -> String {
    let nanos = nanos.unwrap_or(0);
    let seconds = Timestamp {
        seconds: (nanos / 1_000_000_000) as i64,
        nanos: 0,
    }
    .to_string();
    let text = format!("{}.{:09}Z ", seconds.trim_end_matches('Z'), nanos % 1_000_000_000);
    debug_assert_eq!(text.len(), PREFIX);
    text
}
