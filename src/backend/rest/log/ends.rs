//! How a read of a log ends.

use super::Gone;
use crate::upstream::{Failed, Whole};

/// How a read ended.
pub(super) enum Done {
    /// At the end of the log, and so many bytes were sent.
    Read(u64),
    /// All that was asked for is sent.
    Limit,
    /// Bytes that were sent before are others now.
    Changed,
    /// The log does not reach to where it was read.
    Shorter {
        /// There is nothing in it.
        empty: bool,
    },
}

/// What kept a read from its end.
pub(super) enum Stop {
    /// The reader has gone.
    Gone,
    /// The plugin cannot be asked.
    Failed(Failed),
    /// The plugin answered with an error.
    Refused(Whole),
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<Failed> for Stop {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}
