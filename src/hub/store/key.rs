//! The tables, and the name of a row in them.

use std::borrow::Cow;

use redb::{TableDefinition, TableHandle};

/// A table of rows.
pub(super) type Rows = TableDefinition<'static, &'static str, &'static [u8]>;

pub(super) const PODS: Rows = TableDefinition::new("pods");
pub(super) const PLUGINS: Rows = TableDefinition::new("plugins");
pub(super) const CREATES: Rows = TableDefinition::new("creates");
pub(super) const DELETES: Rows = TableDefinition::new("deletes");
pub(super) const TOMBSTONES: Rows = TableDefinition::new("tombstones");
pub(super) const MARKS: Rows = TableDefinition::new("marks");
/// How a key is read.
type Reader = fn(&str) -> Option<Key>;
/// All of them, and how a key of each is read.
pub(super) const ALL: [(Rows, Reader); 6] = [
    (PODS, |key| Some(Key::Pod(key.to_owned()))),
    (PLUGINS, |key| Some(Key::Plugin(key.to_owned()))),
    (CREATES, |key| Some(Key::Create(key.to_owned()))),
    (DELETES, Key::delete),
    (TOMBSTONES, |key| Some(Key::Tombstone(key.to_owned()))),
    (MARKS, |key| Some(Key::Mark(key.to_owned()))),
];

/// Which row. Rows of one table stand together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Pod(String),
    Plugin(String),
    Create(String),
    Delete { plugin: String, uid: String },
    Tombstone(String),
    Mark(String),
}

impl Key {
    pub(super) fn table(&self) -> Rows {
        match self {
            Self::Pod(_) => PODS,
            Self::Plugin(_) => PLUGINS,
            Self::Create(_) => CREATES,
            Self::Delete { .. } => DELETES,
            Self::Tombstone(_) => TOMBSTONES,
            Self::Mark(_) => MARKS,
        }
    }

    pub(super) fn is_in(&self, table: &Rows) -> bool {
        self.table().name() == table.name()
    }

    pub(super) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Pod(key)
            | Self::Plugin(key)
            | Self::Create(key)
            | Self::Tombstone(key)
            | Self::Mark(key) => key.into(),
            // A plugin's name holds no slash.
            Self::Delete { plugin, uid } => format!("{plugin}/{uid}").into(),
        }
    }

    fn delete(text: &str) -> Option<Self> {
        let (plugin, uid) = text.split_once('/')?;
        Some(Self::Delete {
            plugin: plugin.to_owned(),
            uid: uid.to_owned(),
        })
    }
}
