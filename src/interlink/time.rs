//! Times as RFC 3339 text.

use crate::wire::Timestamp;

/// Go's zero time, which stands for no time.
const GO_ZERO: &str = "0001-01-01T00:00:00Z";

/// Reads RFC 3339, any offset. Nothing for text that is not a time, and for Go's zero time.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    if text == GO_ZERO || !text.contains(['T', 't']) {
        return None;
    }
    text.parse().ok()
}

/// Writes RFC 3339 in UTC, with as many digits as the time has.
pub fn format_time(time: &Timestamp) -> String {
    time.to_string()
}

/// Writes RFC 3339 in UTC, in whole seconds, as Kubernetes does.
pub(super) fn format_seconds(time: &Timestamp) -> String {
    Timestamp {
        seconds: time.seconds,
        nanos: 0,
    }
    .to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_offset_is_counted_in() {
        assert_eq!(
            parse_time("2026-09-01T12:00:00+02:00"),
            parse_time("2026-09-01T10:00:00Z")
        );
        assert_eq!(parse_time("2026-09-01T10:00:00.5Z").unwrap().nanos, 500_000_000);
    }

    #[test]
    fn the_zero_time_and_other_text_are_no_time() {
        for text in [GO_ZERO, "", "yesterday", "2026-13-01T00:00:00Z", "2026-09-01"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_time_survives_its_text(seconds in -60_000_000_000_i64..250_000_000_000, nanos in 0..1_000_000_000) {
            let time = Timestamp { seconds, nanos };
            prop_assert_eq!(parse_time(&format_time(&time)), Some(time));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC{0,40}") {
            let _ = parse_time(&text);
        }
    }
}
