//! Missing bytes in a log that is read as raw bytes.

use bytes::Bytes;

/// The bytes of a piece of a log, after a line of its own where `gap_bytes` before it are missing: what follows a gap
/// must not look like what came before it. `line_start`: a line begins here.
pub(crate) fn marked(data: Bytes, gap_bytes: u64, line_start: &mut bool) -> Bytes {
    let mut bytes = data;
    if gap_bytes > 0 {
        let end_of_line = if *line_start { "" } else { "\n" };
        let mark =
            format!("{end_of_line}[towline: at least {gap_bytes} bytes of this log are missing here]\n");
        bytes = [mark.as_bytes(), &bytes].concat().into();
    }
    *line_start = bytes.last().map_or(*line_start, |last| *last == b'\n');
    bytes
}
