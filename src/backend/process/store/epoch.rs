//! The number that says to the hub that the records of pods are the same as before.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

/// Reads the epoch of a state directory. A new one is taken when there is none, when it cannot be read, and when the
/// records beside it are gone.
pub(super) fn of(root: &Path) -> io::Result<u64> {
    let path = root.join("jobs-epoch");
    match fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse() {
            Ok(epoch) if epoch != 0 && root.join("pods").is_dir() => return Ok(epoch),
            _ => tracing::warn!("the records of pods or their epoch are gone: a new epoch is taken"),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let epoch = fastrand::u64(1..);
    let draft = root.join(".jobs-epoch.new");
    let mut file = File::create(&draft)?;
    writeln!(file, "{epoch}")?;
    file.sync_all()?;
    fs::rename(draft, path)?;
    File::open(root)?.sync_all()?;
    Ok(epoch)
}
