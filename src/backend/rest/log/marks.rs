//! What is remembered of the logs that were read: that they are the same still.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::{grown::Hole, view::View};
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

/// A log of one name, as its readers have it: the newest last. Only one that has grown in front of what was sent is
/// several at once.
#[derive(Debug)]
struct Seen {
    runs: VecDeque<Run>,
}

#[derive(Debug)]
struct Run {
    generation: u16,
    /// Offsets and the sums up to them.
    marks: VecDeque<(u64, Sum)>,
    /// The first bytes.
    head: Vec<u8>,
    /// What its readers do not get.
    hole: Option<Hole>,
}

impl Run {
    fn new(generation: u16) -> Self {
        Self {
            generation,
            marks: VecDeque::new(),
            head: Vec::new(),
            hole: None,
        }
    }
}

impl Seen {
    fn new(generation: u16) -> Self {
        Self {
            runs: VecDeque::from([Run::new(generation)]),
        }
    }

    /// The generation of those who begin now.
    fn present(&self) -> u16 {
        self.runs.back().map_or(1, |run| run.generation)
    }

    fn run(&mut self, generation: u16) -> Option<&mut Run> {
        self.runs.iter_mut().find(|run| run.generation == generation)
    }
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
            let asked = asked.unwrap_or(0);
            if asked > seen.present() {
                *seen = Seen::new(asked);
            }
            let is_known = seen.run(asked).is_some();
            return if is_known { asked } else { seen.present() };
        }
        let generation = asked.unwrap_or(1).max(1);
        if table.order.len() >= limits::UPSTREAM_LOGS
            && let Some(oldest) = table.order.pop_front()
        {
            table.logs.remove(&oldest);
        }
        table.order.push_back(view.clone());
        table.logs.insert(view.clone(), Seen::new(generation));
        generation
    }

    /// Remembers how far a log was read.
    pub(super) fn mark(&self, view: &View, generation: u16, offset: u64, sum: Sum) {
        self.with(view, generation, |run| {
            if !run.marks.contains(&(offset, sum)) {
                run.marks.push_back((offset, sum));
                if run.marks.len() > limits::UPSTREAM_LOG_MARKS {
                    run.marks.pop_front();
                }
            }
        });
    }

    /// Remembers the first bytes of a log word for word: these are at `offset`.
    pub(super) fn begins(&self, view: &View, generation: u16, offset: u64, bytes: &[u8]) {
        if offset < limits::UPSTREAM_LOG_HEAD as u64 {
            self.with(view, generation, |run| {
                if run.head.len() as u64 == offset {
                    let room = limits::UPSTREAM_LOG_HEAD - run.head.len();
                    run.head.extend_from_slice(&bytes[..room.min(bytes.len())]);
                }
            });
        }
    }

    /// The first bytes of a log up to `offset`, as far as they are remembered.
    pub(super) fn head(&self, view: &View, generation: u16, offset: u64) -> Bytes {
        let head = self.with(view, generation, |run| Bytes::copy_from_slice(&run.head));
        let mut head = head.unwrap_or_default();
        head.truncate(usize::try_from(offset).unwrap_or(usize::MAX));
        head
    }

    /// What the readers of this generation do not get.
    pub(super) fn hole(&self, view: &View, generation: u16) -> Option<Hole> {
        self.with(view, generation, |run| run.hole).flatten()
    }

    /// The log has grown in front of what the readers of this generation were sent. Who begins now gets all of it.
    pub(super) fn grown(&self, view: &View, generation: u16, hole: Hole) {
        self.with(view, generation, |run| run.hole = Some(hole));
        let mut table = self.lock();
        if let Some(seen) = table.logs.get_mut(view)
            && seen.present() == generation
        {
            seen.runs.push_back(Run::new(next(generation)));
            if seen.runs.len() > limits::UPSTREAM_LOG_RUNS {
                seen.runs.pop_front();
            }
        }
    }

    /// The last place up to `offset` at which the log is known.
    pub(super) fn known(&self, view: &View, generation: u16, offset: u64) -> Option<(u64, Sum)> {
        self.with(view, generation, |run| {
            let before = run.marks.iter().filter(|(at, _)| *at <= offset);
            before.max_by_key(|(at, _)| *at).copied()
        })
        .flatten()
    }

    /// The log of this generation is another one now. Gives the present generation.
    pub(super) fn replaced(&self, view: &View, generation: u16) -> u16 {
        let mut table = self.lock();
        let Some(seen) = table.logs.get_mut(view) else {
            return next(generation);
        };
        if seen.run(generation).is_some() {
            *seen = Seen::new(next(seen.present()));
        }
        seen.present()
    }

    fn with<R>(&self, view: &View, generation: u16, what: impl FnOnce(&mut Run) -> R) -> Option<R> {
        let mut table = self.lock();
        table.logs.get_mut(view)?.run(generation).map(what)
    }

    /// Never held over an await.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn next(generation: u16) -> u16 {
    generation.wrapping_add(1).max(1)
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
        assert_eq!(logs.known(&view(0), 1, 12), Some((10, Sum::EMPTY)));
        assert_eq!(logs.known(&view(0), 1, 9), None);
        assert_eq!(logs.replaced(&view(0), 1), 2);
        assert_eq!(logs.replaced(&view(0), 1), 2, "one change, noticed by two");
        assert_eq!(logs.known(&view(0), 2, 12), None);
        assert_eq!(logs.generation(&view(0), Some(1)), 2);
        assert_eq!(logs.generation(&view(0), Some(5)), 5, "of an earlier process");
    }

    #[test]
    fn a_log_that_has_grown_is_the_same_for_its_readers_and_another_for_who_comes() {
        let (logs, hole) = (Logs::new(), Hole { at: 3, len: 4 });
        assert_eq!(logs.generation(&view(0), None), 1);
        logs.begins(&view(0), 1, 0, b"one");
        logs.begins(&view(0), 1, 2, b"not the next");
        logs.begins(&view(0), 1, 3, b"two");
        assert_eq!(logs.head(&view(0), 1, 5), &b"onetw"[..]);
        logs.mark(&view(0), 1, 10, Sum::EMPTY);
        logs.grown(&view(0), 1, hole);
        logs.grown(&view(0), 1, hole);
        assert_eq!(logs.generation(&view(0), None), 2);
        assert_eq!(
            (logs.hole(&view(0), 2), logs.head(&view(0), 2, 9).len()),
            (None, 0)
        );
        assert_eq!(logs.generation(&view(0), Some(1)), 1);
        assert_eq!(logs.hole(&view(0), 1), Some(hole));
        assert_eq!(logs.known(&view(0), 1, 12), Some((10, Sum::EMPTY)));
        assert_eq!(logs.replaced(&view(0), 1), 3, "all are another log now");
        assert_eq!(logs.generation(&view(0), Some(2)), 3);
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
        assert_eq!(logs.known(&view(2), 3, 0), None);
        logs.begins(&view(2), 3, 0, &vec![b'x'; 2 * limits::UPSTREAM_LOG_HEAD]);
        assert_eq!(logs.head(&view(2), 3, u64::MAX).len(), limits::UPSTREAM_LOG_HEAD);
        for generation in 3..40 {
            logs.grown(&view(2), generation, Hole { at: 0, len: 1 });
        }
        assert_eq!(logs.generation(&view(2), Some(3)), 40, "too long ago");
        logs.forget("uid-2");
        assert_eq!(logs.generation(&view(2), None), 1);
    }
}
