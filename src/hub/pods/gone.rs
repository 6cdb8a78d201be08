//! The pods that went last: a read that was asked before may still tell of them.

use std::collections::{HashMap, VecDeque};

use tokio::time::Instant;

use crate::limits;

/// Uids and when they went; the oldest is let go first.
#[derive(Debug, Default)]
pub(super) struct Gone {
    at: HashMap<String, Instant>,
    order: VecDeque<String>,
}

impl Gone {
    pub(super) fn put(&mut self, uid: &str, now: Instant) {
        if self.at.insert(uid.to_owned(), now).is_some() {
            return;
        }
        self.order.push_back(uid.to_owned());
        if self.order.len() > limits::HUB_TOMBSTONES
            && let Some(oldest) = self.order.pop_front()
        {
            self.at.remove(&oldest);
        }
    }

    /// Whether a pod went when this was asked already.
    pub(super) fn since(&self, asked: Instant, uid: &str) -> bool {
        self.at.get(uid).is_some_and(|gone| asked <= *gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_let_go_when_there_are_too_many() {
        let now = Instant::now();
        let mut gone = Gone::default();
        for pod in 0..=limits::HUB_TOMBSTONES {
            gone.put(&pod.to_string(), now);
        }
        assert!(!gone.since(now, "0"));
        assert!(gone.since(now, "1"));
        assert_eq!(gone.at.len(), gone.order.len());
    }
}
