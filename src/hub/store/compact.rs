//! Gives disk space back: redb uses free pages again, but its file never gets shorter by itself.
//!
//! It costs about as much as writing afresh what the file holds (measured in decision 0009), and nothing is committed
//! meanwhile. So it is left be until it gives back at least half of a large file, and in a hub that runs until little is
//! to be moved. A crash in between loses nothing: it is a row of transactions that move pages.

use std::time::Duration;

use redb::Database;

use crate::limits;

/// How large the file must be, and how much of it may be in use.
#[derive(Debug, Clone, Copy)]
pub(super) struct When {
    pub(super) least: u64,
    pub(super) most_used: u64,
}

/// Before the hub serves.
pub(super) const AT_OPEN: When = When {
    least: limits::STORE_COMPACT_AT_OPEN,
    most_used: u64::MAX,
};
/// Between two transactions.
pub(super) const RUNNING: When = When {
    least: limits::STORE_COMPACT_RUNNING,
    most_used: limits::STORE_COMPACT_USED,
};
/// How often a large file is looked at.
pub(super) const LOOK: Duration = Duration::from_secs(60);

/// Compacts a database whose file has `size` bytes, if it is time. Says whether it did.
pub(super) fn compact(database: &mut Database, size: u64, when: When) -> Result<bool, redb::Error> {
    if size < when.least {
        return Ok(false);
    }
    let transaction = database.begin_write()?;
    let stats = transaction.stats()?;
    transaction.abort()?;
    let used = stats.allocated_pages().saturating_mul(stats.page_size() as u64);
    if used > when.most_used || used > size / 2 {
        return Ok(false);
    }
    Ok(database.compact()?)
}
