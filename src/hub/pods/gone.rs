//! The pods that went last: a read that was asked before may still tell of them.

use std::collections::{HashMap, VecDeque};

use tokio::time::Instant;

use super::Uid;
use crate::limits;

/// Uids and when they went; the oldest is let go first.
#[derive(Debug, Default)]
pub(super) struct Gone {
    at: HashMap<Uid, Instant>,
    order: VecDeque<Uid>,
}

impl Gone {
    pub(super) fn put(&mut self, uid: Uid, now: Instant) {
        if self.at.insert(uid, now).is_some() {
            return;
        }
        self.order.push_back(uid);
        if self.order.len() > limits::HUB_TOMBSTONES
            && let Some(oldest) = self.order.pop_front()
        {
            self.at.remove(&oldest);
        }
    }

    /// Whether a pod went when this was asked already.
    pub(super) fn since(&self, asked: Instant, uid: Uid) -> bool {
        self.at.get(&uid).is_some_and(|gone| asked <= *gone)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_oldest_is_let_go_when_there_are_too_many() {
        let uid = |pod: usize| Uid::read(&format!("00000000-0000-4000-8000-{pod:012x}")).unwrap();
        let now = Instant::now();
        let mut gone = Gone::default();
        for pod in 0..=limits::HUB_TOMBSTONES {
            gone.put(uid(pod), now);
        }
        assert!(!gone.since(now, uid(0)));
        assert!(gone.since(now, uid(1)));
        assert_eq!(gone.at.len(), gone.order.len());
    }
}
