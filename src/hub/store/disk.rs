//! The file beneath the store: one redb database, one transaction a batch.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition};

use super::{MemoryFile, StoreError, queue::Batch};

/// Version of the rows and tables.
const VERSION: u64 = 1;
/// Pages that redb keeps in memory: reads happen at the start only.
const CACHE: usize = 8 << 20;

type Rows = TableDefinition<'static, &'static str, &'static [u8]>;

const META: TableDefinition<'static, &'static str, u64> = TableDefinition::new("meta");
const PODS: Rows = TableDefinition::new("pods");
const PLUGINS: Rows = TableDefinition::new("plugins");
const CREATES: Rows = TableDefinition::new("creates");
const DELETES: Rows = TableDefinition::new("deletes");
const TOMBSTONES: Rows = TableDefinition::new("tombstones");
const ALL: [Rows; 5] = [PODS, PLUGINS, CREATES, DELETES, TOMBSTONES];

/// Which row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Pod(String),
    Plugin(String),
    Create(String),
    Delete { plugin: String, uid: String },
    Tombstone(String),
}

impl Key {
    fn table(&self) -> Rows {
        match self {
            Self::Pod(_) => PODS,
            Self::Plugin(_) => PLUGINS,
            Self::Create(_) => CREATES,
            Self::Delete { .. } => DELETES,
            Self::Tombstone(_) => TOMBSTONES,
        }
    }

    fn text(&self) -> std::borrow::Cow<'_, str> {
        match self {
            Self::Pod(key) | Self::Plugin(key) | Self::Create(key) | Self::Tombstone(key) => key.into(),
            // A plugin's name holds no slash.
            Self::Delete { plugin, uid } => format!("{plugin}/{uid}").into(),
        }
    }

    fn read(table: usize, text: &str) -> Option<Self> {
        let key = text.to_owned();
        Some(match table {
            0 => Self::Pod(key),
            1 => Self::Plugin(key),
            2 => Self::Create(key),
            3 => {
                let (plugin, uid) = text.split_once('/')?;
                Self::Delete {
                    plugin: plugin.to_owned(),
                    uid: uid.to_owned(),
                }
            }
            _ => Self::Tombstone(key),
        })
    }
}

/// Where the database is.
#[derive(Debug, Clone)]
pub(super) enum Place {
    File(PathBuf),
    /// With the life of who opened it: after a crash it must not write any more.
    Memory(MemoryFile, u64),
}

/// An open database. After a failed write it is opened afresh: what the file holds then is what counts.
#[derive(Debug)]
pub(super) struct Disk {
    place: Place,
    database: Option<Database>,
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
    pub(super) fn open(place: Place) -> Result<(Self, RowList, Option<PathBuf>), StoreError> {
        let path = place.path();
        let refused = match open(&place) {
            Ok((database, rows)) => {
                let database = Some(database);
                return Ok((Self { place, database }, rows, None));
            }
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
        match open(&place) {
            Ok((database, rows)) => {
                let database = Some(database);
                Ok((Self { place, database }, rows, Some(aside)))
            }
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
            self.database = match open(&self.place) {
                Ok((database, _)) => Some(database),
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
        outcome.map_err(|error| {
            // After an error of the file nothing in memory can be trusted (a second fsync would lie).
            self.database = None;
            error.to_string()
        })
    }
}

impl Place {
    fn path(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Memory(..) => PathBuf::from("(memory)"),
        }
    }

    fn move_aside(&self) -> io::Result<PathBuf> {
        match self {
            Self::File(path) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let mut name = path.as_os_str().to_owned();
                name.push(format!(".damaged-{}", now.as_secs()));
                let aside = PathBuf::from(name);
                fs::rename(path, &aside)?;
                Ok(aside)
            }
            Self::Memory(file, _) => {
                file.clear();
                Ok(self.path())
            }
        }
    }
}

/// Makes a directory that only its owner may enter.
pub(super) fn private_dir(dir: &Path) -> Result<(), StoreError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| StoreError::Io {
            file: dir.to_owned(),
            source,
        })
}

fn open(place: &Place) -> Result<(Database, RowList), Refused> {
    // redb checks much by assertion in debug builds; a damaged file must not end the hub.
    catch_unwind(AssertUnwindSafe(|| {
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
        prepare(&database)?;
        let rows = read(&database).map_err(|error| Refused::Damaged(error.to_string()))?;
        Ok((database, rows))
    }))
    .unwrap_or_else(|_| Err(Refused::Damaged("reading it panicked".to_owned())))
}

/// Checks the version, or makes the tables of a new database.
fn prepare(database: &Database) -> Result<(), Refused> {
    let damaged = |error: redb::Error| match error {
        redb::Error::Io(error) => Refused::Io(error),
        error => Refused::Damaged(error.to_string()),
    };
    let found = (|| {
        let transaction = database.begin_read()?;
        match transaction.open_table(META) {
            Ok(meta) => Ok(meta.get("version")?.map(|version| version.value())),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(redb::Error::from(error)),
        }
    })();
    match found.map_err(damaged)? {
        Some(VERSION) => Ok(()),
        // There is no older version yet; the first one is migrated here.
        Some(other) => Err(Refused::Version(other)),
        None => (|| {
            let transaction = database.begin_write()?;
            for table in ALL {
                transaction.open_table(table)?;
            }
            transaction.open_table(META)?.insert("version", VERSION)?;
            transaction.commit()?;
            Ok(())
        })()
        .map_err(damaged),
    }
}

fn read(database: &Database) -> Result<RowList, redb::Error> {
    let transaction = database.begin_read()?;
    let mut rows = Vec::new();
    for (index, definition) in ALL.into_iter().enumerate() {
        for row in transaction.open_table(definition)?.iter()? {
            let (key, value) = row?;
            if let Some(key) = Key::read(index, key.value()) {
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
            while let Some((key, value)) = rows.next_if(|(key, _)| {
                redb::TableHandle::name(&key.table()) == redb::TableHandle::name(&definition)
            }) {
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

/// Makes a database of another version.
#[cfg(test)]
pub(super) fn set_version(path: &Path, version: u64) {
    let made = (|| {
        let database = Database::create(path)?;
        let transaction = database.begin_write()?;
        transaction.open_table(META)?.insert("version", version)?;
        transaction.commit()?;
        Ok::<_, redb::Error>(())
    })();
    made.expect("a database of a test");
}
