//! A log that has grown in front of what a reader was sent.
//!
//! slurm's plugin answers with the output of the batch script and, behind it, that of the container. The script says more
//! when its containers have ended, so bytes come to stand between what was sent. They are found by the begin of the log
//! as it was, and left out for the readers of that time: then their offsets, sums and all hold as before.

use bytes::Bytes;

use crate::limits;

/// Bytes of a log that its readers do not get: they came to stand in front of others that were sent already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hole {
    pub(super) at: u64,
    pub(super) len: u64,
}

/// Leaves a hole out of the pieces of a read.
pub(super) struct Leaving {
    at: u64,
    hole: Option<Hole>,
}

impl Leaving {
    pub(super) fn out(hole: Option<Hole>) -> Self {
        Self { at: 0, hole }
    }

    /// What of the next bytes stands before the hole, and what behind it.
    pub(super) fn split(&mut self, mut bytes: Bytes) -> [Bytes; 2] {
        let Some(hole) = self.hole else {
            return [bytes, Bytes::new()];
        };
        let within = |place: u64| {
            let offset = place.saturating_sub(self.at);
            usize::try_from(offset).map_or(bytes.len(), |offset| offset.min(bytes.len()))
        };
        let (before, behind) = (within(hole.at), within(hole.at + hole.len));
        self.at += bytes.len() as u64;
        let rest = bytes.split_off(behind);
        bytes.truncate(before);
        [bytes, rest]
    }
}

/// What a search has come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// This much was put in.
    Grown(Hole),
    /// It is another log.
    Other,
}

/// Looks in a log for what was put into it since its begin was `head`.
pub(super) struct Search {
    head: Bytes,
    /// So much of the head was there.
    same: usize,
    /// What stands there since.
    other: Vec<u8>,
    /// In it, from here on the head may go on.
    looked: usize,
}

impl Search {
    pub(super) fn new(head: Bytes) -> Self {
        Self {
            head,
            same: 0,
            other: Vec::new(),
            looked: 1,
        }
    }

    /// Takes the next bytes of the log; nothing while more are needed.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Option<Found> {
        let mut bytes = bytes;
        if self.other.is_empty() {
            let pairs = bytes.iter().zip(&self.head[self.same..]);
            let same = pairs.take_while(|(is, was)| is == was).count();
            self.same += same;
            bytes = &bytes[same..];
            if self.same == self.head.len() {
                // What differs comes later, where nothing is remembered word for word.
                return Some(Found::Other);
            }
        }
        self.other.extend_from_slice(bytes);
        let goes_on = &self.head[self.same..];
        let goes_on = &goes_on[..goes_on.len().min(limits::UPSTREAM_LOG_ANCHOR)];
        let ahead = self.other.get(self.looked..).unwrap_or_default();
        if let Some(found) = ahead.windows(goes_on.len()).position(|window| window == goes_on) {
            return Some(Found::Grown(Hole {
                at: self.same as u64,
                len: (self.looked + found) as u64,
            }));
        }
        self.looked += (ahead.len() + 1).saturating_sub(goes_on.len());
        (self.other.len() > limits::UPSTREAM_LOG_GROWN).then_some(Found::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(head: &'static [u8], log: &[u8], piece: usize) -> Option<Found> {
        let mut search = Search::new(Bytes::from_static(head));
        log.chunks(piece).find_map(|piece| search.feed(piece))
    }

    #[test]
    fn what_was_put_in_is_found_however_the_log_comes() {
        let grown = |at, len| Some(Found::Grown(Hole { at, len }));
        for piece in [1, 2, 3, 7, 100] {
            assert_eq!(
                search(b"script\nline 1\n", b"script\nend\nline 1\nline 2\n", piece),
                grown(7, 4)
            );
            assert_eq!(search(b"one\ntwo\n", b"zero\none\ntwo\n", piece), grown(0, 5));
            // It begins as what follows it does.
            assert_eq!(search(b"a\nline 1\n", b"a\nlimit\nline 1\n", piece), grown(4, 6));
        }
    }

    #[test]
    fn another_log_is_told_from_one_that_has_grown() {
        for piece in [1, 5, 4_096] {
            assert_eq!(search(b"one\n", b"two\nthree\n", piece), None, "not to its end");
            assert_eq!(search(b"one\n", b"one\ntwo\n", piece), Some(Found::Other));
            let long = vec![b'x'; limits::UPSTREAM_LOG_GROWN + 2 * 4_096];
            assert_eq!(search(b"one\n", &long, piece), Some(Found::Other));
        }
    }

    #[test]
    fn the_hole_is_left_out_wherever_the_pieces_are_cut() {
        let log = b"script\nend\nline 1\nline 2\n";
        for piece in 1..=log.len() {
            let mut leaving = Leaving::out(Some(Hole { at: 7, len: 4 }));
            let mut left = Vec::new();
            for piece in log.chunks(piece) {
                for part in leaving.split(Bytes::copy_from_slice(piece)) {
                    left.extend_from_slice(&part);
                }
            }
            assert_eq!(left, b"script\nline 1\nline 2\n", "pieces of {piece}");
        }
        let mut leaving = Leaving::out(None);
        assert_eq!(leaving.split(Bytes::from_static(b"all"))[0], &b"all"[..]);
    }
}
