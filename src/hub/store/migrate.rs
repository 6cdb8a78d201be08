//! Versions of the file: makes the tables of a new one, brings an older one up to this version.
//!
//! | version | what changed |
//! |---|---|
//! | 1 | the first |
//! | 2 | what was applied of a plugin's outbox left the plugin's row for one of its own, which every event rewrites |
//!
//! A step is one transaction that also writes its version: a crash leaves the former file or the new one.

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use serde::Deserialize;

use super::{
    key::{ALL, MARKS, PLUGINS},
    row::{self, MarkRow, PluginRow},
};

/// Version of the rows and tables.
pub(super) const VERSION: u64 = 2;

const META: TableDefinition<'static, &'static str, u64> = TableDefinition::new("meta");
const KEY: &str = "version";

/// What [`prepare`] found.
pub(super) enum Found {
    /// It is as this version has it now.
    Ready,
    /// Nothing is known of this version; nothing was changed.
    Unknown(u64),
}

/// Checks the version; makes the tables of a new database, migrates an older one.
pub(super) fn prepare(database: &Database) -> Result<Found, redb::Error> {
    match version(database)? {
        Some(VERSION) => return Ok(Found::Ready),
        None => {
            let transaction = database.begin_write()?;
            for (table, _) in ALL {
                transaction.open_table(table)?;
            }
            transaction.open_table(META)?.insert(KEY, VERSION)?;
            transaction.commit()?;
        }
        Some(1) => {
            let transaction = database.begin_write()?;
            marks_of_their_own(&transaction)?;
            transaction.open_table(META)?.insert(KEY, VERSION)?;
            transaction.commit()?;
            tracing::info!(
                from = 1,
                to = VERSION,
                "the hub's state was brought to a new version"
            );
        }
        Some(other) => return Ok(Found::Unknown(other)),
    }
    Ok(Found::Ready)
}

fn version(database: &Database) -> Result<Option<u64>, redb::Error> {
    match database.begin_read()?.open_table(META) {
        Ok(meta) => Ok(meta.get(KEY)?.map(|version| version.value())),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What a plugin's row of version 1 held besides what it holds now.
#[derive(Deserialize)]
struct Applied {
    epoch: u64,
    seq: u64,
    synced: bool,
}

fn marks_of_their_own(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    let mut plugins = transaction.open_table(PLUGINS)?;
    let mut marks = transaction.open_table(MARKS)?;
    let mut moved = Vec::new();
    for entry in plugins.iter()? {
        let (name, bytes) = entry?;
        // One that cannot be read is left for the reader of all rows to tell.
        let Some((old, _)) = row::split::<Applied>(bytes.value()) else {
            continue;
        };
        let Some(plugin) = PluginRow::from_bytes(bytes.value()) else {
            continue;
        };
        let mark = MarkRow {
            epoch: old.epoch,
            seq: old.seq,
            synced: old.synced,
        };
        moved.push((name.value().to_owned(), plugin.to_bytes(), mark));
    }
    for (name, plugin, mark) in moved {
        plugins.insert(name.as_str(), plugin.as_slice())?;
        marks.insert(name.as_str(), mark.to_bytes().as_slice())?;
    }
    Ok(())
}

/// Makes a database of another version.
#[cfg(test)]
pub(super) fn set_version(path: &std::path::Path, version: u64) {
    let made = (|| {
        let database = Database::create(path)?;
        let transaction = database.begin_write()?;
        transaction.open_table(META)?.insert(KEY, version)?;
        transaction.commit()?;
        Ok::<_, redb::Error>(())
    })();
    made.expect("a database of a test");
}
