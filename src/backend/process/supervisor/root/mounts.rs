//! The mounts that a private root is made of.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::symlink,
    path::Path,
};

use nix::{
    mount::{MsFlags, mount},
    sys::statvfs::{FsFlags, statvfs},
};

const NONE: Option<&str> = None;

pub(super) fn tmpfs(at: &Path, flags: MsFlags) -> io::Result<()> {
    Ok(mount(
        Some("tmpfs"),
        at,
        Some("tmpfs"),
        MsFlags::MS_NOSUID | flags,
        Some("mode=755"),
    )?)
}

pub(super) fn rbind(from: &Path, to: &Path) -> io::Result<()> {
    Ok(mount(
        Some(from),
        to,
        NONE,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        NONE,
    )?)
}

pub(super) fn mirror_all(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        mirror(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Makes `to` show `from`. What has gone meanwhile, or may not be bound, is left out.
fn mirror(from: &Path, to: &Path) -> io::Result<()> {
    let Ok(meta) = fs::symlink_metadata(from) else {
        return Ok(());
    };
    if meta.is_symlink() {
        return match fs::read_link(from) {
            Ok(link) => symlink(link, to),
            Err(_) => Ok(()),
        };
    }
    if meta.is_dir() {
        fs::create_dir(to)?;
        if rbind(from, to).is_err() {
            fs::remove_dir(to)?;
        }
    } else {
        File::create_new(to)?;
        if rbind(from, to).is_err() {
            fs::remove_file(to)?;
        }
    }
    Ok(())
}

/// Read-only, keeping the flags that a user namespace may not take away (mount_namespaces(7)).
pub(super) fn seal(place: &Path) -> io::Result<()> {
    let has = statvfs(place)?.flags();
    let mut flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    for (stat, flag) in [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ] {
        flags.set(flag, has.contains(stat));
    }
    Ok(mount(NONE, place, NONE, flags, NONE)?)
}
