//! What is remembered of the logs that were read: that they are the same still.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::view::View;
use crate::limits;

/// A sum over all bytes of a log so far (FNV-1a). It tells a log from another one, not from a forged one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sum(u64);

impl Sum {
    pub(super) const EMPTY: Self = Self(0xcbf2_9ce4_8422_2325);

    pub(super) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

/// The logs that were read.
#[derive(Debug)]
pub(in crate::backend::rest) struct Logs(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    logs: HashMap<View, Seen>,
    /// The oldest is let go first.
    order: VecDeque<View>,
}

#[derive(Debug)]
struct Seen {
    generation: u16,
    /// Offsets and the sums up to them.
    marks: VecDeque<(u64, Sum)>,
}

impl Logs {
    pub(in crate::backend::rest) fn new() -> Self {
        Self(Mutex::default())
    }

    /// Forgets the logs of a pod.
    pub(in crate::backend::rest) fn forget(&self, uid: &str) {
        let mut table = self.lock();
        table.logs.retain(|view, _| view.uid != uid);
        table.order.retain(|view| view.uid != uid);
    }

    /// The generation of a log, given the one that a reader has been in: an earlier process may have counted further.
    pub(super) fn generation(&self, view: &View, asked: Option<u16>) -> u16 {
        let mut table = self.lock();
        if let Some(seen) = table.logs.get_mut(view) {
            if let Some(asked) = asked.filter(|asked| *asked > seen.generation) {
                seen.generation = asked;
                seen.marks.clear();
            }
            return seen.generation;
        }
        let generation = asked.unwrap_or(1).max(1);
        if table.order.len() >= limits::UPSTREAM_LOGS
            && let Some(oldest) = table.order.pop_front()
        {
            table.logs.remove(&oldest);
        }
        table.order.push_back(view.clone());
        let marks = VecDeque::new();
        table.logs.insert(view.clone(), Seen { generation, marks });
        generation
    }

    /// Remembers how far a log was read.
    pub(super) fn mark(&self, view: &View, generation: u16, offset: u64, sum: Sum) {
        if let Some(seen) = self.lock().logs.get_mut(view)
            && seen.generation == generation
            && !seen.marks.contains(&(offset, sum))
        {
            seen.marks.push_back((offset, sum));
            if seen.marks.len() > limits::UPSTREAM_LOG_MARKS {
                seen.marks.pop_front();
            }
        }
    }

    /// The last place up to `offset` at which the log is known.
    pub(super) fn known(&self, view: &View, offset: u64) -> Option<(u64, Sum)> {
        let table = self.lock();
        let marks = table.logs.get(view)?.marks.iter();
        marks
            .filter(|(at, _)| *at <= offset)
            .max_by_key(|(at, _)| *at)
            .copied()
    }

    /// The log of this generation is another one now. Gives the present generation.
    pub(super) fn replaced(&self, view: &View, generation: u16) -> u16 {
        let mut table = self.lock();
        let Some(seen) = table.logs.get_mut(view) else {
            return generation.wrapping_add(1).max(1);
        };
        if seen.generation == generation {
            seen.generation = generation.wrapping_add(1).max(1);
            seen.marks.clear();
        }
        seen.generation
    }

    /// Never held over an await.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{LogOptions, PodRef};

    fn view(n: usize) -> View {
        View::new(
            &PodRef::new(format!("uid-{n}"), "n", "p"),
            "main",
            &LogOptions::default(),
        )
    }

    #[test]
    fn a_sum_does_not_depend_on_how_the_bytes_came() {
        let (mut whole, mut parts) = (Sum::EMPTY, Sum::EMPTY);
        whole.add(b"hello world");
        parts.add(b"hello");
        parts.add(b"");
        parts.add(b" world");
        assert_eq!(whole, parts);
        assert_ne!(whole, Sum::EMPTY);
    }

    #[test]
    fn a_replaced_log_is_the_next_generation_for_all_its_readers() {
        let logs = Logs::new();
        assert_eq!(logs.generation(&view(0), None), 1);
        logs.mark(&view(0), 1, 10, Sum::EMPTY);
        assert_eq!(logs.known(&view(0), 12), Some((10, Sum::EMPTY)));
        assert_eq!(logs.known(&view(0), 9), None);
        assert_eq!(logs.replaced(&view(0), 1), 2);
        assert_eq!(logs.replaced(&view(0), 1), 2, "one change, noticed by two");
        assert_eq!(logs.known(&view(0), 12), None);
        assert_eq!(logs.generation(&view(0), Some(1)), 2);
        assert_eq!(logs.generation(&view(0), Some(5)), 5, "of an earlier process");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let logs = Logs::new();
        for n in 0..=limits::UPSTREAM_LOGS {
            logs.generation(&view(n), Some(3));
        }
        assert_eq!(logs.generation(&view(0), None), 1, "the oldest is forgotten");
        assert_eq!(logs.generation(&view(2), None), 3);
        for offset in 0..=limits::UPSTREAM_LOG_MARKS as u64 {
            logs.mark(&view(2), 3, offset, Sum::EMPTY);
        }
        assert_eq!(logs.known(&view(2), 0), None);
        logs.forget("uid-2");
        assert_eq!(logs.generation(&view(2), None), 1);
    }
}
