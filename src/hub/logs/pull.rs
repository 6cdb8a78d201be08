//! Reads of a plugin without flow control (docs/PROTOCOL.md, section 8): what one asks for, and what comes after
//! it. Pure.

use std::time::Duration;

use super::place::Place;
use crate::{
    limits,
    wire::{LogOptions, LogsEnd},
};

/// With prefixes no read asks for less than this many bytes: one prefix must fit, or no read would get on. What is
/// too much for the reader is cut off here.
const LEAST_STAMPED: u64 = 4 << 10;

/// Makes the reader's options those of one bounded read.
pub(crate) fn bound(options: &mut LogOptions) {
    let left = options.limit_bytes.unwrap_or(u64::MAX);
    let least = if options.timestamps { LEAST_STAMPED } else { 0 };
    options.limit_bytes = Some(left.clamp(least, limits::LOG_PULL));
    options.follow = false;
}

/// What comes after a bounded read.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// Nothing: this is how the log ended.
    End(LogsEnd),
    /// The next read, after a pause that may be zero.
    Read(Duration),
}

/// When to read again.
#[derive(Debug)]
pub(crate) struct Pace {
    pause: Duration,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self {
            pause: limits::LOG_PULL_SOON,
        }
    }

    /// After a read that ended well.
    pub(crate) fn next(&mut self, end: LogsEnd, place: &Place, follow: bool) -> Next {
        // Less than a usual chunk is the end of what is there. Not "nothing": a container that never stops writing
        // would make a plain read endless.
        let at_end = place.brought() < limits::LOG_CHUNK as u64;
        if let Some(limit) = place.at_limit() {
            Next::End(limit)
        } else if end.eof || (at_end && !follow) {
            Next::End(LogsEnd {
                next: place.position().or(end.next),
                ..end
            })
        } else if !at_end {
            self.pause = limits::LOG_PULL_SOON;
            Next::Read(Duration::ZERO)
        } else if place.brought() > 0 {
            self.pause = limits::LOG_PULL_SOON;
            Next::Read(self.pause)
        } else {
            let pause = self.pause;
            self.pause = (pause * 2).min(limits::LOG_PULL_LATE);
            Next::Read(pause)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::wire::{LogChunk, LogPosition};

    fn place(brought: usize, limit: Option<u64>) -> Place {
        let mut place = Place::new(None, limit);
        place.opened(None);
        let chunk = LogChunk {
            at: Some(LogPosition { epoch: 1, offset: 0 }),
            next_offset: brought as u64,
            data: vec![b'x'; brought].into(),
            ..LogChunk::default()
        };
        place.take(chunk, false).unwrap();
        place
    }

    fn ended(next: &Next) -> bool {
        matches!(next, Next::End(_))
    }

    #[test]
    fn one_read_is_bounded_by_the_pull_and_by_the_readers_limit() {
        let asked = |limit_bytes, timestamps| {
            let mut options = LogOptions {
                limit_bytes,
                timestamps,
                follow: true,
                tail: Some(3),
                ..LogOptions::default()
            };
            bound(&mut options);
            assert!(!options.follow && options.tail == Some(3));
            options.limit_bytes.unwrap()
        };
        assert_eq!(asked(None, false), limits::LOG_PULL);
        assert_eq!(asked(Some(u64::MAX), true), limits::LOG_PULL);
        assert_eq!(asked(Some(7), false), 7);
        assert_eq!(asked(Some(7), true), LEAST_STAMPED);
    }

    #[test]
    fn a_plain_read_ends_with_what_is_there_and_not_at_the_end_of_one_bounded_read() {
        let mut pace = Pace::new();
        let end = LogsEnd::default();
        assert_eq!(
            pace.next(end, &place(limits::LOG_CHUNK, None), false),
            Next::Read(Duration::ZERO)
        );
        assert!(ended(&pace.next(end, &place(100, None), false)));
        assert!(ended(&pace.next(
            end,
            &place(limits::LOG_CHUNK, Some(limits::LOG_CHUNK as u64)),
            false
        )));
    }

    #[test]
    fn a_follower_asks_seldom_while_nothing_comes_and_often_again_after_bytes() {
        let mut pace = Pace::new();
        let mut pause = |brought| match pace.next(LogsEnd::default(), &place(brought, None), true) {
            Next::Read(pause) => pause.as_millis(),
            Next::End(end) => panic!("{end:?}"),
        };
        let pauses: Vec<_> = (0..5).map(|_| pause(0)).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 2000]);
        assert_eq!((pause(5), pause(0), pause(0)), (250, 250, 500));
        assert_eq!(pause(limits::LOG_CHUNK), 0);
    }

    #[test]
    fn a_follower_stops_at_the_end_of_the_log() {
        let eof = LogsEnd {
            eof: true,
            ..LogsEnd::default()
        };
        let Next::End(end) = Pace::new().next(eof, &place(5, None), true) else {
            panic!("went on");
        };
        assert_eq!(end.next, Some(LogPosition { epoch: 1, offset: 5 }));
    }
}
