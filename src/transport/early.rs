//! [`Early`]: bytes of a stream that were read before its reader was there.

use bytes::Bytes;
use tokio::io::ReadBuf;

/// What is given first.
#[derive(Debug, Default)]
pub(super) struct Early(Bytes);

impl Early {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// Gives what fits; false when there is nothing left to give.
    pub(super) fn give(&mut self, out: &mut ReadBuf<'_>) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let size = self.0.len().min(out.remaining());
        out.put_slice(&self.0.split_to(size));
        if self.0.is_empty() {
            // The end of a buffer would keep the whole of it.
            self.0 = Bytes::new();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_given_in_order_and_then_no_more() {
        let mut early = Early::new(Bytes::from_static(b"hello"));
        let mut room = [0; 3];
        let mut all = Vec::new();
        let mut out = ReadBuf::new(&mut room);
        while early.give(&mut out) {
            all.extend_from_slice(out.filled());
            out.clear();
        }
        assert_eq!(all, b"hello");
        assert!(!early.give(&mut out) && !Early::default().give(&mut out));
    }
}
