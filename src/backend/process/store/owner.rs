//! The lock of a state directory: one plugin process at a time.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process,
};

/// Takes the lock and writes down who has it; it is let go when the file is dropped, or with the process.
///
/// # Errors
/// Names the process that has it.
pub(super) fn take(path: &Path) -> io::Result<File> {
    let mut lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let owner = fs::read_to_string(path).unwrap_or_default();
            let owner = match owner.trim() {
                "" => "another plugin".to_owned(),
                named => format!("another plugin ({named})"),
            };
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!("{owner} uses it; stop that one, or give each plugin a state directory of its own"),
            ));
        }
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let host = nix::unistd::gethostname().unwrap_or_default();
    lock.set_len(0)?;
    writeln!(lock, "process {} on {}", process::id(), host.to_string_lossy())?;
    Ok(lock)
}
