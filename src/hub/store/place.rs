//! Where the database is: its file, or memory.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use super::{MemoryFile, StoreError};

/// Where the database is.
#[derive(Debug, Clone)]
pub(super) enum Place {
    File(PathBuf),
    /// With the life of who opened it: after a crash it must not write any more.
    Memory(MemoryFile, u64),
}

impl Place {
    /// Bytes of the file.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::File(path) => fs::metadata(path).map_or(0, |file| file.len()),
            Self::Memory(file, _) => file.len(),
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Memory(..) => PathBuf::from("(memory)"),
        }
    }

    pub(super) fn move_aside(&self) -> io::Result<PathBuf> {
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
