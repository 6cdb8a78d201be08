//! The file beneath the store: one redb database, one transaction a batch.

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
};

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError};

use super::{
    Meter, StoreError,
    compact::{self, When},
    key::{ALL, Key},
    migrate::{self, Found, VERSION},
    place::Place,
    queue::Batch,
};

/// Pages that redb keeps in memory: reads happen at the start only.
const CACHE: usize = 8 << 20;

/// An open database. After a failed write it is opened afresh: what the file holds then is what counts.
#[derive(Debug)]
pub(super) struct Disk {
    place: Place,
    database: Option<Database>,
    meter: Meter,
}

/// Why a database cannot be used.
enum Refused {
    InUse,
    Version(u64),
    Damaged(String),
    Io(io::Error),
}

type RowList = Vec<(Key, Vec<u8>)>;

impl Disk {
    /// Opens or makes the database and reads every row. One that cannot be read is moved aside; where to is the third
    /// part.
    pub(super) fn open(place: Place, meter: Meter) -> Result<(Self, RowList, Option<PathBuf>), StoreError> {
        let path = place.path();
        let opened = |place: Place, database| {
            meter.size(place.size());
            Self {
                place,
                database: Some(database),
                meter: meter.clone(),
            }
        };
        let refused = match open(&place, &meter) {
            Ok((database, rows)) => return Ok((opened(place, database), rows, None)),
            Err(refused) => refused,
        };
        let problem = match refused {
            Refused::InUse => return Err(StoreError::InUse(path)),
            Refused::Version(found) => {
                return Err(StoreError::Version {
                    file: path,
                    found,
                    known: VERSION,
                });
            }
            Refused::Io(source) => return Err(StoreError::Io { file: path, source }),
            Refused::Damaged(problem) => problem,
        };
        let aside = place.move_aside().map_err(|source| StoreError::Io {
            file: path.clone(),
            source,
        })?;
        tracing::error!(
            file = %path.display(), moved_to = %aside.display(), %problem,
            "the hub's state is damaged and was moved aside: pods and states come from the plugins again, creates and deletes in hand are lost"
        );
        match open(&place, &meter) {
            Ok((database, rows)) => Ok((opened(place, database), rows, Some(aside))),
            Err(Refused::Io(source)) => Err(StoreError::Io { file: path, source }),
            Err(_) => Err(StoreError::Io {
                file: path,
                source: io::Error::other("a fresh database cannot be made"),
            }),
        }
    }

    /// Whether a write may block the thread for long.
    pub(super) fn blocks(&self) -> bool {
        matches!(self.place, Place::File(_))
    }

    /// Writes a batch in one transaction; it is on the disk when this returns.
    pub(super) fn commit(&mut self, batch: &Batch) -> Result<(), String> {
        if self.database.is_none() {
            self.database = match guarded(|| create(&self.place)) {
                Ok(database) => Some(database),
                Err(Refused::InUse) => return Err("another process has opened it".to_owned()),
                Err(Refused::Version(found)) => return Err(format!("it has version {found} now")),
                Err(Refused::Damaged(problem)) => return Err(problem),
                Err(Refused::Io(error)) => return Err(error.to_string()),
            };
        }
        let Some(database) = &self.database else {
            return Err("it is not open".to_owned());
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| write(database, batch)))
            .unwrap_or_else(|_| Err(redb::Error::Corrupted("a write panicked".to_owned())));
        self.meter.size(self.place.size());
        outcome.map_err(|error| {
            // After an error of the file nothing in memory can be trusted (a second fsync would lie).
            self.database = None;
            error.to_string()
        })
    }
}

impl Disk {
    /// Whether [`Disk::compact`] may have something to do.
    pub(super) fn is_large(&self) -> bool {
        self.database.is_some() && self.place.size() >= compact::RUNNING.least
    }

    /// Makes the file smaller if that is worth it now.
    pub(super) fn compact(&mut self) {
        let Some(database) = &mut self.database else {
            return;
        };
        if let Err(problem) = shrink(database, &self.place, compact::RUNNING, &self.meter) {
            tracing::warn!(%problem, "the hub's state file could not be made smaller");
            // As after a failed write.
            self.database = None;
        }
    }
}

/// Opens the database and reads every row.
fn open(place: &Place, meter: &Meter) -> Result<(Database, RowList), Refused> {
    guarded(|| {
        let mut database = create(place)?;
        if let Err(problem) = shrink(&mut database, place, compact::AT_OPEN, meter) {
            // A full disk, perhaps; it serves as large as it is.
            tracing::warn!(%problem, "the hub's state file could not be made smaller");
            drop(database);
            database = create(place)?;
        }
        let rows = read(&database).map_err(failed)?;
        Ok((database, rows))
    })
}

/// Opens the database, or makes it, with the tables of this version.
fn create(place: &Place) -> Result<Database, Refused> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE);
    let database = match place {
        Place::File(path) => {
            // redb would make it readable for all.
            fs::OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o600)
                .open(path)
                .map_err(Refused::Io)?;
            builder.create(path)
        }
        Place::Memory(file, life) => {
            file.check()?;
            builder.create_with_backend(file.handle(*life))
        }
    };
    let database = database.map_err(refused)?;
    match migrate::prepare(&database).map_err(failed)? {
        Found::Ready => Ok(database),
        Found::Unknown(version) => Err(Refused::Version(version)),
    }
}

/// redb checks much by assertion in debug builds; a damaged file must not end the hub.
fn guarded<T>(work: impl FnOnce() -> Result<T, Refused>) -> Result<T, Refused> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Refused::Damaged("reading it panicked".to_owned())))
}

fn shrink(database: &mut Database, place: &Place, when: When, meter: &Meter) -> Result<(), String> {
    let before = place.size();
    let done = catch_unwind(AssertUnwindSafe(|| compact::compact(database, before, when)));
    match done {
        Ok(Ok(false)) => Ok(()),
        Ok(Ok(true)) => {
            let after = place.size();
            meter.compacted();
            meter.size(after);
            tracing::info!(before, after, "the hub's state file was made smaller");
            Ok(())
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it panicked".to_owned()),
    }
}

fn read(database: &Database) -> Result<RowList, redb::Error> {
    let transaction = database.begin_read()?;
    let mut rows = Vec::new();
    for (table, key_of) in ALL {
        for row in transaction.open_table(table)?.iter()? {
            let (key, value) = row?;
            if let Some(key) = key_of(key.value()) {
                rows.push((key, value.value().to_vec()));
            }
        }
    }
    Ok(rows)
}

fn write(database: &Database, batch: &Batch) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut rows = batch.iter().peekable();
        // Rows are ordered by table.
        while let Some((first, _)) = rows.peek() {
            let definition = first.table();
            let mut table = transaction.open_table(definition)?;
            while let Some((key, value)) = rows.next_if(|(key, _)| key.is_in(&definition)) {
                match value {
                    Some(value) => drop(table.insert(key.text().as_ref(), value.as_slice())?),
                    None => drop(table.remove(key.text().as_ref())?),
                }
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

fn failed(error: redb::Error) -> Refused {
    match error {
        redb::Error::Io(error) => Refused::Io(error),
        error => Refused::Damaged(error.to_string()),
    }
}

fn refused(error: DatabaseError) -> Refused {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => Refused::InUse,
        // redb says "invalid data" of a file that is not its own.
        DatabaseError::Storage(StorageError::Io(error))
            if !matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            ) =>
        {
            Refused::Io(error)
        }
        error => Refused::Damaged(error.to_string()),
    }
}

impl From<super::memory::Broken> for Refused {
    fn from(broken: super::memory::Broken) -> Self {
        Self::Io(io::Error::other(broken))
    }
}
