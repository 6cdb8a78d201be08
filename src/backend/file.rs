//! Small files that a restart must find whole.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use serde::Serialize;

/// Writes a record, for its owner alone, so that a reader sees the whole of it or nothing, also after a power cut. What a
/// cut leaves behind is `.NAME.new`.
pub(crate) fn write_record<T: Serialize>(dir: &Path, name: &str, record: &T) -> io::Result<()> {
    let bytes = serde_json::to_vec(record)?;
    let draft = dir.join(format!(".{name}.new"));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&draft, dir.join(name))?;
    File::open(dir)?.sync_all()
}
