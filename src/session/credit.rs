//! Byte credit of one direction of one stream (PROTOCOL.md, flow control).

use crate::limits;

/// What a chunk of `len` bytes costs.
pub(crate) fn cost(len: usize) -> u64 {
    len as u64 + limits::CHUNK_OVERHEAD
}

/// The sending end: may spend what was granted.
#[derive(Debug, Default)]
pub(crate) struct SendCredit {
    available: u64,
}

impl SendCredit {
    pub(crate) fn new(granted: u64) -> Self {
        Self { available: granted }
    }

    /// More was granted. Saturates: a peer that grants without end only removes its own bound.
    pub(crate) fn grant(&mut self, bytes: u64) {
        self.available = self.available.saturating_add(bytes);
    }

    pub(crate) fn affords(&self, cost: u64) -> bool {
        self.available >= cost
    }

    /// Spends; false, and nothing spent, when it is not there.
    pub(crate) fn spend(&mut self, cost: u64) -> bool {
        match self.available.checked_sub(cost) {
            Some(rest) => {
                self.available = rest;
                true
            }
            None => false,
        }
    }

    #[cfg(test)]
    pub(crate) fn available(&self) -> u64 {
        self.available
    }
}

/// The receiving end: grants what was consumed, in blocks.
#[derive(Debug)]
pub(crate) struct RecvWindow {
    /// Granted and not received yet.
    outstanding: u64,
    /// Consumed and not granted again yet.
    consumed: u64,
    /// How much may be on its way or unread at a time.
    window: u64,
    /// What the window becomes once the stream flows.
    flowing: u64,
    /// Consumed in all.
    total: u64,
}

impl RecvWindow {
    /// Of a log stream: the opener makes the first grant.
    pub(crate) fn logs() -> Self {
        Self::new(limits::LOG_CREDIT, limits::LOG_CREDIT_FLOWING)
    }

    /// Of a body: every call begins with the same grant, unsaid.
    pub(crate) fn body() -> Self {
        Self::new(limits::BODY_CREDIT, limits::BODY_CREDIT_FLOWING)
    }

    /// The peer is near: the first grant is enough.
    pub(crate) fn keep(&mut self) {
        self.flowing = self.window;
    }

    fn new(window: u64, flowing: u64) -> Self {
        Self {
            outstanding: window,
            consumed: 0,
            window,
            flowing,
            total: 0,
        }
    }

    /// All that may come on a bounded request to a peer without flow control: `limit` bytes in a bounded number of
    /// chunks. Nothing is ever granted again.
    pub(crate) fn bounded(limit: u64) -> Self {
        Self {
            outstanding: limit.saturating_add(limits::LOG_PULL_CHUNKS * limits::CHUNK_OVERHEAD),
            window: u64::MAX,
            ..Self::new(0, 0)
        }
    }

    /// A chunk came; false when it was not covered.
    #[must_use]
    pub(crate) fn receive(&mut self, cost: u64) -> bool {
        match self.outstanding.checked_sub(cost) {
            Some(rest) => {
                self.outstanding = rest;
                true
            }
            None => false,
        }
    }

    /// Chunks were taken by the reader; gives how much to grant now, if it is worth a frame.
    ///
    /// A quarter of the window is held back at most, so a sender always gets enough for the largest chunk.
    /// A stream that has consumed half a window is flowing and gets a larger one.
    #[must_use]
    pub(crate) fn consume(&mut self, cost: u64) -> Option<u64> {
        self.consumed = self.consumed.saturating_add(cost);
        self.total = self.total.saturating_add(cost);
        if self.total >= self.window / 2 && self.window < self.flowing {
            self.consumed += self.flowing - self.window;
            self.window = self.flowing;
        }
        if self.consumed < self.window / 4 {
            return None;
        }
        let grant = std::mem::take(&mut self.consumed);
        self.outstanding = self.outstanding.saturating_add(grant);
        Some(grant)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever chunks travel and however late they are read, nothing is lost or made up, and a sender
        /// whose reader has read everything can always send the largest chunk.
        #[test]
        fn credit_is_conserved(lens in prop::collection::vec(0usize..=limits::MAX_LOG_CHUNK, 1..200), lag in 0usize..8, body in any::<bool>()) {
            let (first, mut recv) = match body {
                true => (limits::BODY_CREDIT, RecvWindow::body()),
                false => (limits::LOG_CREDIT, RecvWindow::logs()),
            };
            let mut send = SendCredit::new(first);
            let mut unread = std::collections::VecDeque::new();
            for len in lens {
                let cost = cost(len);
                while !send.affords(cost) {
                    let taken = unread.pop_front();
                    prop_assert!(taken.is_some(), "all was read and the sender still waits");
                    if let Some(grant) = recv.consume(taken.unwrap()) { send.grant(grant); }
                }
                prop_assert!(send.spend(cost));
                prop_assert!(recv.receive(cost), "a chunk within credit was refused");
                unread.push_back(cost);
                if unread.len() > lag && let Some(grant) = recv.consume(unread.pop_front().unwrap()) {
                    send.grant(grant);
                }
                let unread_sum: u64 = unread.iter().sum();
                prop_assert_eq!(send.available() , recv.outstanding);
                prop_assert_eq!(recv.outstanding + unread_sum + recv.consumed, recv.window);
            }
        }
    }

    #[test]
    fn a_bounded_read_takes_its_bytes_in_any_chunks_and_grants_nothing() {
        let mut recv = RecvWindow::bounded(limits::LOG_PULL);
        for _ in 0..limits::LOG_PULL_CHUNKS {
            let cost = cost(limits::LOG_PULL as usize / limits::LOG_PULL_CHUNKS as usize);
            assert!(recv.receive(cost));
            assert_eq!(recv.consume(cost), None);
        }
        assert!(!recv.receive(cost(0)));
    }

    #[test]
    fn the_window_grows_as_the_stream_flows_unless_the_peer_is_near() {
        let window = |mut recv: RecvWindow| {
            let piece = limits::LOG_CREDIT / 16;
            for _ in 0..64 {
                assert!(recv.receive(piece));
                let _ = recv.consume(piece);
            }
            recv.outstanding + recv.consumed
        };
        assert_eq!(window(RecvWindow::logs()), limits::LOG_CREDIT_FLOWING);
        let mut near = RecvWindow::logs();
        near.keep();
        assert_eq!(window(near), limits::LOG_CREDIT);
    }

    #[test]
    fn an_overdraft_is_seen() {
        let mut recv = RecvWindow::logs();
        assert!(recv.receive(limits::LOG_CREDIT));
        assert!(!recv.receive(1));
    }
}
