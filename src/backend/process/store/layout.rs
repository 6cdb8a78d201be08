//! Where what is in the directory of a pod. A component per level; the names were checked.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Where the volumes of a pod are.
pub(crate) fn volumes_dir(pod_dir: &Path) -> PathBuf {
    pod_dir.join("volumes")
}

/// Where a container works that does not say where.
pub(crate) fn scratch_dir(pod_dir: &Path, container: &str) -> PathBuf {
    pod_dir.join("scratch").join(container)
}

/// Where the runs of a container are.
pub(crate) fn container_dir(pod_dir: &Path, container: &str) -> PathBuf {
    pod_dir.join("containers").join(container)
}

/// Where one run is.
pub(crate) fn run_dir(pod_dir: &Path, container: &str, epoch: u64) -> PathBuf {
    container_dir(pod_dir, container).join(epoch.to_string())
}

/// How many runs of a container were begun.
pub(crate) fn runs(pod_dir: &Path, container: &str) -> io::Result<u64> {
    let entries = match fs::read_dir(container_dir(pod_dir, container)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut highest = 0;
    for entry in entries {
        let epoch = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        highest = highest.max(epoch.unwrap_or(0));
    }
    Ok(highest)
}

/// Deletes a directory as far as possible.
pub(crate) fn discard(dir: &Path) {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(dir = %dir.display(), %error, "a removed pod's files could not all be deleted");
        }
        _ => {}
    }
}
