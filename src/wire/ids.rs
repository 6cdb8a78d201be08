//! Stream ids.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasherDefault, Hasher},
    ops::{Deref, DerefMut},
};

/// Which end of a connection: it decides the parity of the streams that this end opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The accepting peer: opens even streams.
    Hub,
    /// The dialling peer: opens odd streams.
    Plugin,
}

impl Side {
    /// The other end.
    pub fn peer(self) -> Self {
        match self {
            Self::Hub => Self::Plugin,
            Self::Plugin => Self::Hub,
        }
    }
}

/// The id of a stream: one call's channel on a connection. [`StreamId::LINK`] is the link itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u32);

impl StreamId {
    /// Stream 0: the link itself.
    pub const LINK: Self = Self(0);

    /// The first id that this side opens.
    pub fn first(side: Side) -> Self {
        match side {
            Side::Hub => Self(2),
            Side::Plugin => Self(1),
        }
    }

    /// The next id of the same side, or none when they are used up: the connection must then be replaced.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(2).map(Self)
    }

    /// Which side opens this id. Not meaningful for [`StreamId::LINK`].
    pub fn opener(self) -> Side {
        if self.0.is_multiple_of(2) {
            Side::Hub
        } else {
            Side::Plugin
        }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A table of what belongs to streams. Looked into several times a frame, so its hash is a multiplication: a peer that
/// chose its ids to collide would slow down its own connection, by no more than the streams it may have open.
#[derive(Debug)]
pub(crate) struct StreamMap<T>(HashMap<StreamId, T, BuildHasherDefault<IdHasher>>);

impl<T> StreamMap<T> {
    /// Everything, in the order in which one side opened them.
    #[cfg(feature = "link")]
    pub(crate) fn take_all(&mut self) -> Vec<(StreamId, T)> {
        let mut all: Vec<_> = self.0.drain().collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }

    /// The ids that are asked for, in the order in which one side opened them.
    pub(crate) fn ids(&self, wanted: impl Fn(StreamId, &T) -> bool) -> Vec<StreamId> {
        let wanted = self.0.iter().filter(|(id, value)| wanted(**id, value));
        let mut ids: Vec<StreamId> = wanted.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }
}

impl<T> Default for StreamMap<T> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<T> Deref for StreamMap<T> {
    type Target = HashMap<StreamId, T, BuildHasherDefault<IdHasher>>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<T> DerefMut for StreamMap<T> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

/// Fibonacci hashing (Knuth, TAOCP 6.4): ids rise in steps of two, and every bit of the product depends on them.
#[derive(Debug, Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, id: u32) {
        let product = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_gives_its_ids_in_the_order_of_opening() {
        let mut table = StreamMap::default();
        for id in (2..200).step_by(2).rev() {
            table.insert(StreamId(id), id);
        }
        assert_eq!(table.get(&StreamId(42)), Some(&42));
        let ids = table.ids(|_, value| value % 4 == 0);
        assert!(ids.is_sorted() && ids.len() == 49, "{ids:?}");
    }

    #[test]
    fn neighbours_differ_in_the_bits_that_a_table_looks_at() {
        let hash = |id| {
            let mut hasher = IdHasher::default();
            hasher.write_u32(id);
            hasher.finish()
        };
        let low: std::collections::HashSet<u64> = (2..130).step_by(2).map(|id| hash(id) & 0x7f).collect();
        let high: std::collections::HashSet<u64> = (2..130).step_by(2).map(|id| hash(id) >> 57).collect();
        assert!(low.len() > 32 && high.len() > 32, "{} {}", low.len(), high.len());
    }
}
