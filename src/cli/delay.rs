//! How a reader waits for a hub that is away.

use std::time::Duration;

/// Waits between tries: doubling from a quarter of a second to five, and so long in all.
#[derive(Debug)]
pub(crate) struct Delay {
    next: Duration,
    waited: Duration,
}

impl Delay {
    const FIRST: Duration = Duration::from_millis(250);
    const LAST: Duration = Duration::from_secs(5);
    /// For this long without a hub a reader goes on trying: over a hub's restart by hand.
    const LIMIT: Duration = Duration::from_secs(300);
    /// So long a restarted hub may take until its plugins are back.
    const EARLY: Duration = Duration::from_secs(60);

    /// From the start.
    pub(crate) fn new() -> Self {
        Self {
            next: Self::FIRST,
            waited: Duration::ZERO,
        }
    }

    /// Whether there is time left to try.
    pub(crate) fn goes_on(&self) -> bool {
        self.waited < Self::LIMIT
    }

    /// Whether a pod that is not known may only be not known yet.
    pub(crate) fn is_early(&self) -> bool {
        self.waited < Self::EARLY
    }

    /// Whether nothing was waited for yet.
    pub(crate) fn is_first(&self) -> bool {
        self.waited.is_zero()
    }

    /// Waits.
    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.next).await;
        self.waited += self.next;
        self.next = (self.next * 2).min(Self::LAST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_gives_up_after_a_while() {
        let mut delay = Delay::new();
        let mut tries = 0;
        while delay.goes_on() {
            delay.wait().await;
            tries += 1;
        }
        assert!((50..100).contains(&tries), "{tries}");
        assert!(!delay.is_early());
    }
}
