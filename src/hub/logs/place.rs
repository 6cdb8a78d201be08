//! Where a reader is in a log: what was delivered, what is a repetition, what is missing. Pure.

use super::LogPiece;
use crate::{
    code::{Code, reason},
    planted::{self, Bug},
    wire::{LogChunk, LogPosition, LogsEnd, Status},
};

/// The place of one reader.
#[derive(Debug)]
pub(crate) struct Place {
    /// Where the caller wanted to begin.
    wanted: Option<LogPosition>,
    /// After the last byte that was delivered.
    at: Option<LogPosition>,
    limit: Option<u64>,
    delivered: u64,
    /// The first chunk of the present stream is still to come.
    fresh: bool,
    /// What the present stream was asked to begin at.
    asked: Option<LogPosition>,
    /// What the present stream has brought, in bytes: data, or raw ones where that is more.
    brought: u64,
    /// The log had to begin anew: its next chunk comes after a gap that nobody can measure.
    anew: bool,
}

impl Place {
    /// Nothing was delivered yet.
    pub(crate) fn new(wanted: Option<LogPosition>, limit: Option<u64>) -> Self {
        Self {
            wanted,
            at: None,
            limit,
            delivered: 0,
            fresh: true,
            asked: None,
            brought: 0,
            anew: false,
        }
    }

    /// After the last byte delivered.
    pub(crate) fn position(&self) -> Option<LogPosition> {
        self.at
    }

    /// What to ask the next stream to begin at. None: as the options say. A log whose container had not started has
    /// no position that could be asked for.
    pub(crate) fn start(&self) -> Option<LogPosition> {
        match self.at {
            Some(at) if at.epoch > 1 && planted::is(Bug::OffsetOfOtherEpoch) => Some(LogPosition {
                epoch: at.epoch - 1,
                ..at
            }),
            Some(at) if at.epoch != 0 => Some(at),
            _ => self.wanted,
        }
    }

    /// A stream was asked for.
    pub(crate) fn opened(&mut self, asked: Option<LogPosition>) {
        self.fresh = true;
        self.brought = 0;
        self.asked = asked;
    }

    /// Bytes that may still be delivered.
    pub(crate) fn limit_left(&self) -> Option<u64> {
        self.limit.map(|limit| limit.saturating_sub(self.delivered))
    }

    /// How it ends once all that was asked for is delivered.
    pub(crate) fn at_limit(&self) -> Option<LogsEnd> {
        (self.limit_left() == Some(0)).then_some(LogsEnd {
            next: self.at,
            eof: false,
            reset: false,
        })
    }

    /// What the present stream has brought, in bytes.
    pub(crate) fn brought(&self) -> u64 {
        self.brought
    }

    /// The log that the place is in does not exist any more: the next stream is asked for the present one.
    pub(crate) fn begin_anew(&mut self) {
        self.wanted = None;
        self.at = Some(LogPosition::default());
        self.anew = true;
    }

    /// Checks a chunk against the place and gives what is new of it.
    ///
    /// # Errors
    /// DATA_LOSS when a repetition cannot be cut out exactly, or bytes come without their position.
    pub(crate) fn take(&mut self, chunk: LogChunk, timestamps: bool) -> Result<Option<LogPiece>, Status> {
        let fresh = std::mem::take(&mut self.fresh);
        let mut at = chunk.at.unwrap_or_default();
        let mut data = chunk.data;
        let mut gap_bytes = chunk.gap_bytes;
        let mut next_offset = chunk.next_offset.max(at.offset);
        // What this stream goes on from: a position that was asked for, or the former chunk.
        let expected = if fresh {
            self.asked.filter(|asked| asked.epoch != 0)
        } else {
            self.at
        };
        match expected {
            Some(expected) if expected.epoch == at.epoch && !chunk.reset => {
                if at.offset > expected.offset {
                    gap_bytes = gap_bytes.max(at.offset - expected.offset);
                } else if next_offset < expected.offset {
                    // All of it was delivered before.
                    return Ok(None);
                } else if at.offset < expected.offset {
                    let twice = expected.offset - at.offset;
                    let exact = !timestamps && data.len() as u64 == next_offset - at.offset;
                    if !exact {
                        return Err(Status::new(
                            Code::DataLoss,
                            reason::CORRUPT,
                            format!(
                                "the plugin repeated {twice} bytes of the log that cannot be told from new ones"
                            ),
                        ));
                    }
                    data = data.slice(usize::try_from(twice).unwrap_or(data.len()).min(data.len())..);
                    at.offset = expected.offset;
                }
            }
            // The log begins anew: how much is missing nobody can tell, but that something is must be seen.
            Some(expected) if expected.epoch != 0 && (chunk.reset || fresh) => gap_bytes = gap_bytes.max(1),
            // The next run of the container, or the first one of a container that had not started.
            _ => {}
        }
        if std::mem::take(&mut self.anew) {
            gap_bytes = gap_bytes.max(1);
        }
        if let Some(left) = self.limit_left() {
            let whole = data.len();
            data.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            // Without prefixes the place after the cut is known; with them the end of the chunk is the best there is.
            if data.len() < whole && !timestamps {
                next_offset = next_offset.min(at.offset + data.len() as u64);
            }
        }
        self.delivered += data.len() as u64;
        // Without a position the next stream would bring the same bytes again. Only a limit may cut within a prefix,
        // before any raw byte.
        let raw = if timestamps { 1 } else { data.len() as u64 };
        let placed = at.epoch != 0 && next_offset >= at.offset + raw;
        if !data.is_empty() && !placed && self.at_limit().is_none() {
            return Err(Status::new(
                Code::DataLoss,
                reason::CORRUPT,
                "the plugin sent bytes of the log without saying where they are: `at.epoch` and `next_offset` are needed",
            ));
        }
        self.brought += (data.len() as u64).max(next_offset - at.offset);
        self.at = Some(LogPosition {
            epoch: at.epoch,
            offset: next_offset,
        });
        Ok(Some(LogPiece {
            at,
            next_offset,
            data,
            gap_bytes,
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(epoch: u64, offset: u64) -> LogPosition {
        LogPosition { epoch, offset }
    }

    fn chunk(epoch: u64, offset: u64, data: &'static str) -> LogChunk {
        LogChunk {
            at: Some(at(epoch, offset)),
            next_offset: offset + data.len() as u64,
            data: data.into(),
            ..LogChunk::default()
        }
    }

    #[test]
    fn a_resumed_log_asks_for_the_place_where_it_was() {
        let mut place = Place::new(None, None);
        place.opened(None);
        place.take(chunk(3, 100, "hello"), false).unwrap();
        assert_eq!(place.start(), Some(at(3, 105)));
    }

    #[test]
    fn what_was_delivered_is_not_delivered_again() {
        let mut place = Place::new(None, None);
        place.opened(None);
        place.take(chunk(1, 0, "hello"), false).unwrap();
        place.opened(place.start());
        let piece = place.take(chunk(1, 3, "lo world"), false).unwrap().unwrap();
        assert_eq!(
            (&piece.data[..], piece.at.offset, piece.gap_bytes),
            (&b" world"[..], 5, 0)
        );
    }

    #[test]
    fn a_repetition_that_cannot_be_cut_is_an_error() {
        let mut place = Place::new(None, None);
        place.opened(None);
        place.take(chunk(1, 0, "hello"), true).unwrap();
        assert_eq!(
            place.take(chunk(1, 3, "lo world"), true).unwrap_err().kind(),
            Code::DataLoss
        );
    }

    #[test]
    fn missing_bytes_are_marked() {
        let mut place = Place::new(None, None);
        place.opened(None);
        place.take(chunk(1, 0, "hello"), false).unwrap();
        let piece = place.take(chunk(1, 9, "x"), false).unwrap().unwrap();
        assert_eq!(piece.gap_bytes, 4);
    }

    #[test]
    fn a_log_that_begins_anew_is_marked() {
        let mut place = Place::new(Some(at(1, 50)), None);
        place.opened(place.start());
        let anew = LogChunk {
            reset: true,
            ..chunk(2, 0, "x")
        };
        assert_eq!(place.take(anew, false).unwrap().unwrap().gap_bytes, 1);
    }

    #[test]
    fn the_first_run_after_waiting_for_it_is_no_gap() {
        let mut place = Place::new(None, None);
        place.opened(None);
        place.take(chunk(0, 0, ""), false).unwrap();
        assert_eq!(place.start(), None);
        assert_eq!(place.take(chunk(1, 0, "x"), false).unwrap().unwrap().gap_bytes, 0);
    }

    #[test]
    fn a_log_that_has_gone_is_followed_by_the_present_one_and_marked() {
        let mut place = Place::new(None, None);
        place.opened(None);
        place.take(chunk(1, 0, "hello"), false).unwrap();
        place.begin_anew();
        assert_eq!(place.start(), None);
        place.opened(None);
        assert_eq!(place.take(chunk(2, 0, "x"), false).unwrap().unwrap().gap_bytes, 1);
        assert_eq!(place.take(chunk(2, 1, "y"), false).unwrap().unwrap().gap_bytes, 0);
    }

    #[test]
    fn bytes_without_a_position_are_an_error() {
        let without = [
            chunk(0, 0, "hello"),
            LogChunk {
                next_offset: 0,
                ..chunk(1, 0, "hello")
            },
        ];
        for (chunk, stamped) in without.into_iter().zip([false, true]) {
            let mut place = Place::new(None, None);
            place.opened(None);
            assert_eq!(place.take(chunk, stamped).unwrap_err().kind(), Code::DataLoss);
        }
    }

    #[test]
    fn what_a_read_brought_counts_for_it_alone() {
        let mut place = Place::new(None, None);
        place.opened(None);
        place.take(chunk(1, 0, "hello"), false).unwrap();
        place.take(chunk(1, 9, "x"), false).unwrap();
        assert_eq!(place.brought(), 6);
        place.opened(place.start());
        assert_eq!(place.brought(), 0);
    }

    #[test]
    fn the_limit_counts_what_was_delivered_before_the_loss() {
        let mut place = Place::new(None, Some(7));
        place.opened(None);
        place.take(chunk(1, 0, "hello"), false).unwrap();
        assert_eq!(place.limit_left(), Some(2));
        place.opened(place.start());
        let piece = place.take(chunk(1, 5, " world"), false).unwrap().unwrap();
        assert_eq!(&piece.data[..], b" w");
        assert!(place.at_limit().is_some());
    }
}
