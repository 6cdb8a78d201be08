//! [`Faults`]: what a test does to a direction.

use super::lane::Lane;

/// Faults in one direction: in what one end sends.
#[derive(Debug, Clone)]
pub struct Faults {
    sends: Lane,
    other: Lane,
}

impl Faults {
    pub(super) fn new(sends: Lane, other: Lane) -> Self {
        Self { sends, other }
    }

    /// Breaks both directions as soon as this many bytes in all were sent; the message that holds that byte
    /// and all later ones are lost.
    pub fn cut_at_byte(&self, byte: u64) {
        let mut state = self.sends.lock();
        state.cut_at_byte = Some(byte);
        state.wake();
    }

    /// Breaks both directions once this many messages in all were sent and taken: later ones are lost.
    pub fn cut_at_message(&self, message: u64) {
        let mut state = self.sends.lock();
        state.cut_at_message = Some(message);
        state.wake();
    }

    /// Breaks both directions now. Messages under way are lost.
    pub fn cut(&self) {
        for lane in [&self.sends, &self.other] {
            let mut state = lane.lock();
            state.queue.clear();
            state.broken = true;
            state.wake();
        }
    }

    /// From now on messages are taken but do not arrive, until [`Faults::release`].
    pub fn hold(&self) {
        self.sends.lock().held = true;
    }

    /// Lets what was held arrive.
    pub fn release(&self) {
        let mut state = self.sends.lock();
        state.held = false;
        state.wake();
    }

    /// Makes the link half-open: from now on messages are taken and lost, and nobody is told.
    pub fn drop_silently(&self) {
        self.sends.lock().dropping = true;
    }

    /// Stops taking messages, as a peer that does not read; `false` ends that.
    pub fn stall(&self, stalled: bool) {
        let mut state = self.sends.lock();
        state.stalled = stalled;
        state.wake();
    }

    /// Messages taken from this end so far.
    pub fn messages(&self) -> u64 {
        self.sends.lock().messages
    }
}
