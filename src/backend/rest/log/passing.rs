//! Passing over what a reader was sent, and checking that it is what it was sent.

use bytes::{Buf, Bytes};

use super::marks::Sum;

/// How far a reader was sent a log.
pub(super) struct Place {
    /// After the last byte that was sent.
    pub(super) offset: u64,
    /// Over all bytes up to `offset`; not known of what an earlier reader was sent.
    pub(super) sum: Option<Sum>,
    /// Up to here the log is known, though its sum at `offset` is not.
    pub(super) known: Option<(u64, Sum)>,
}

impl Place {
    /// The begin of a log.
    pub(super) fn begin() -> Self {
        Self {
            offset: 0,
            sum: Some(Sum::EMPTY),
            known: None,
        }
    }

    /// Where a read is.
    pub(super) fn reached(&mut self, passing: &Passing) {
        self.offset = passing.at;
        self.sum = Some(passing.sum);
    }
}

/// How far a read is, and the sum over what it has brought.
pub(super) struct Passing {
    pub(super) at: u64,
    pub(super) sum: Sum,
}

impl Passing {
    pub(super) fn new() -> Self {
        Self {
            at: 0,
            sum: Sum::EMPTY,
        }
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.at += bytes.len() as u64;
        self.sum.add(bytes);
    }

    /// Passes over what was sent before. False when it is not what was sent.
    pub(super) fn over(&mut self, bytes: &mut Bytes, place: &mut Place) -> bool {
        while self.at < place.offset && !bytes.is_empty() {
            let stop = match place.known {
                Some((known, _)) if known > self.at => known.min(place.offset),
                _ => place.offset,
            };
            let most = usize::try_from(stop - self.at)
                .unwrap_or(usize::MAX)
                .min(bytes.len());
            self.add(&bytes[..most]);
            bytes.advance(most);
            if place
                .known
                .is_some_and(|(at, sum)| at == self.at && sum != self.sum)
            {
                return false;
            }
        }
        if self.at == place.offset {
            if place.sum.is_some_and(|sum| sum != self.sum) {
                return false;
            }
            place.sum = Some(self.sum);
            place.known = None;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(bytes: &[u8]) -> Sum {
        let mut sum = Sum::EMPTY;
        sum.add(bytes);
        sum
    }

    /// What is left of `pieces` behind `place`; none when it is another log.
    fn over(pieces: &[&'static str], mut place: Place) -> Option<String> {
        let mut passing = Passing::new();
        let mut left = String::new();
        for piece in pieces {
            let mut bytes = Bytes::from_static(piece.as_bytes());
            if !passing.over(&mut bytes, &mut place) {
                return None;
            }
            passing.add(&bytes);
            left.push_str(&String::from_utf8_lossy(&bytes));
            if passing.at > place.offset {
                place.reached(&passing);
            }
        }
        Some(left)
    }

    #[test]
    fn what_was_sent_is_passed_over_however_it_comes() {
        for pieces in [
            &["hello world"][..],
            &["hel", "lo", " world"],
            &["hello", " ", "world"],
        ] {
            let place = Place {
                offset: 5,
                sum: Some(sum(b"hello")),
                known: None,
            };
            assert_eq!(over(pieces, place).as_deref(), Some(" world"));
        }
    }

    #[test]
    fn other_bytes_than_were_sent_are_noticed_at_the_last_place_that_is_known() {
        let sent = Place {
            offset: 5,
            sum: Some(sum(b"hello")),
            known: None,
        };
        assert_eq!(over(&["jello world"], sent), None);
        let resumed = |known| Place {
            offset: 5,
            sum: None,
            known,
        };
        assert_eq!(over(&["jel", "lo world"], resumed(Some((2, sum(b"he"))))), None);
        assert!(over(&["hello world"], resumed(Some((2, sum(b"he"))))).is_some());
        assert!(
            over(&["jello world"], resumed(None)).is_some(),
            "nothing is remembered"
        );
    }
}
