//! Stream ids.

use std::fmt;

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
        if self.0.is_multiple_of(2) { Side::Hub } else { Side::Plugin }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
