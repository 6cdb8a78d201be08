//! Whether and how the packets of a link are compressed, and what came of it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Whether packets of a link may be compressed (feature `zstd`). Frames that carry secrets never are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Unless the other side is on this machine: there it costs more than it saves.
    #[default]
    Auto,
    /// If the other side can.
    On,
    /// Never.
    Off,
}

impl Compression {
    /// Whether this side wants it on a link; `local`: what it sends does not leave the machine.
    pub fn is_wanted(self, local: bool) -> bool {
        match self {
            Self::Auto => !local,
            Self::On => true,
            Self::Off => false,
        }
    }

    /// As it is written in settings.
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        }
    }

    /// Reads what [`Compression::word`] gives.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Auto, Self::On, Self::Off]
            .into_iter()
            .find(|one| one.word() == text)
    }
}

/// What compression came to on all links of an owner, who shares one with each: [`super::Config::squeezed`].
#[derive(Debug, Default)]
pub struct Squeezed {
    /// Packets that were sent.
    pub sent: Tally,
    /// Packets that came.
    pub received: Tally,
}

/// Compressed packets of one direction.
#[derive(Debug, Default)]
pub struct Tally {
    packets: AtomicU64,
    plain: AtomicU64,
    wire: AtomicU64,
}

impl Tally {
    pub(super) fn add(&self, plain: u64, wire: u64) {
        // They are only looked at, so nothing depends on their order.
        self.packets.fetch_add(1, Ordering::Relaxed);
        self.plain.fetch_add(plain, Ordering::Relaxed);
        self.wire.fetch_add(wire, Ordering::Relaxed);
    }

    /// How many.
    pub fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }

    /// Their bytes before compression.
    pub fn plain_bytes(&self) -> u64 {
        self.plain.load(Ordering::Relaxed)
    }

    /// Their bytes on the wire.
    pub fn wire_bytes(&self) -> u64 {
        self.wire.load(Ordering::Relaxed)
    }
}
