//! A private root made of binds: the container sees the host's files and its volumes at their mountPath, and the
//! host sees nothing of it.
//!
//! The root is a tmpfs of the container's own, each top-level entry of the host bound into it. A mountPath that
//! does not exist is made in a private layer: the directory it is missing from is replaced, for the container
//! alone, by a tmpfs whose entries are bound from the original.

mod mounts;

use std::{
    collections::HashSet,
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Component, Path, PathBuf},
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    unistd::{getegid, geteuid, pivot_root},
};

use self::mounts::{mirror_all, rbind, seal, tmpfs};
use crate::backend::process::spec::Mount;

/// Where the host's root stands while the new one is being built.
const HOST: &str = "/.towline-host";
/// Where a private layer is built before it is moved into place.
const LAYER: &str = "/.towline-layer";

const NONE: Option<&str> = None;

/// Moves this process into a new root with these volumes. `scratch` becomes a mount point, in this process only;
/// directories missing in a volume from below `pod_dir` are made there, as the kubelet does.
///
/// # Errors
/// What was not possible, and what to do.
pub(super) fn enter(scratch: &Path, pod_dir: &Path, mounts: &[Mount]) -> Result<(), String> {
    let sources = mounts.iter().map(source).collect::<Result<Vec<_>, _>>()?;
    let pod_dir = fs::canonicalize(pod_dir).unwrap_or_else(|_| pod_dir.to_owned());
    isolate()?;
    build(scratch).map_err(|error| not_allowed("build a private root", &error))?;

    let mut order = mounts.iter().zip(sources).collect::<Vec<_>>();
    order.sort_by_key(|(mount, _)| (mount.optional, mount.target.components().count()));
    let mut root = Root {
        private: HashSet::from([PathBuf::from("/")]),
        volumes: Vec::new(),
        pod_dir,
    };
    let mut read_only = Vec::new();
    for (mount, source) in order {
        let place = match root.bind(mount, source) {
            Ok(place) => place,
            Err(_) if mount.optional => continue,
            Err(message) => return Err(message),
        };
        if mount.read_only {
            read_only.push(place);
        }
    }
    // At last, so that a volume can be mounted in another that is read-only.
    for place in read_only {
        seal(&place).map_err(|error| format!("cannot make {} read-only: {error}", place.display()))?;
    }
    umount2(HOST, MntFlags::MNT_DETACH)
        .map_err(io::Error::from)
        .and_then(|()| fs::remove_dir(HOST))
        .map_err(|error| not_allowed("leave the host's root", &error))
}

struct Source {
    path: PathBuf,
    directory: bool,
}

fn source(mount: &Mount) -> Result<Source, String> {
    let at = |error: io::Error| {
        format!(
            "volume {} for mountPath {}: {error}",
            mount.source.display(),
            mount.target.display()
        )
    };
    let path = fs::canonicalize(&mount.source).map_err(at)?;
    let directory = fs::metadata(&path).map_err(at)?.is_dir();
    Ok(Source { path, directory })
}

/// A mount namespace of our own; where that takes a user namespace, one that maps our own ids only.
fn isolate() -> Result<(), String> {
    let (uid, gid) = (geteuid(), getegid());
    match unshare(CloneFlags::CLONE_NEWNS) {
        Err(Errno::EPERM) => {
            unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)
                .map_err(|error| not_allowed("enter a user and mount namespace", &error.into()))?;
            let write = |name: &str, text: String| fs::write(format!("/proc/self/{name}"), text);
            write("setgroups", "deny".into())
                .and_then(|()| write("uid_map", format!("{uid} {uid} 1")))
                .and_then(|()| write("gid_map", format!("{gid} {gid} 1")))
                .map_err(|error| not_allowed("map the user id", &error))
        }
        entered => entered.map_err(|error| not_allowed("enter a mount namespace", &error.into())),
    }
}

fn not_allowed(what: &str, error: &io::Error) -> String {
    // unshare(2) has this word for a limit: nobody should look at the disk.
    let error = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOSPC) => "the limit user.max_user_namespaces is reached".to_owned(),
        Some(Errno::EPERM) => "not permitted (is this a container or a chroot?)".to_owned(),
        _ => error.to_string(),
    };
    format!(
        "cannot {what}: {error}. Volumes at their mountPath need user and mount namespaces: allow them \
         (sysctl -w kernel.unprivileged_userns_clone=1, user.max_user_namespaces=10000, \
         kernel.apparmor_restrict_unprivileged_userns=0, whichever this machine has), or run the plugin as root, \
         or use $TOWLINE_VOLUMES/NAME instead of a mountPath"
    )
}

fn build(scratch: &Path) -> io::Result<()> {
    // Mounts that the host makes later are seen; ours never reach it.
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_SLAVE, NONE)?;
    tmpfs(scratch, MsFlags::MS_NODEV)?;
    // Or else the bind of the directory above it would hold the new root again.
    mount(NONE, scratch, NONE, MsFlags::MS_UNBINDABLE, NONE)?;
    mirror_all(Path::new("/"), scratch)?;
    let host = scratch.join(HOST.trim_start_matches('/'));
    fs::create_dir(&host)?;
    pivot_root(scratch, &host)?;
    std::env::set_current_dir("/")
}

/// The new root, being filled. All paths are seen from inside.
struct Root {
    /// Directories in which something may be made: the container's own.
    private: HashSet<PathBuf>,
    /// What is mounted where: target and source.
    volumes: Vec<(PathBuf, PathBuf)>,
    pod_dir: PathBuf,
}

impl Root {
    fn bind(&mut self, mount: &Mount, source: Source) -> Result<PathBuf, String> {
        let at = |text: String| format!("mountPath {}: {text}", mount.target.display());
        let place = self.place(&mount.target, source.directory).map_err(at)?;
        if place.is_dir() != source.directory {
            let (volume, path) = if source.directory {
                ("directory", "file")
            } else {
                ("file", "directory")
            };
            return Err(at(format!(
                "the volume is a {volume}, but the path is a {path} on this machine"
            )));
        }
        let host = Path::new(HOST).join(source.path.strip_prefix("/").unwrap_or(&source.path));
        rbind(&host, &place)
            .map_err(|error| at(format!("cannot bind {}: {error}", source.path.display())))?;
        self.private.retain(|dir| !dir.starts_with(&place));
        self.volumes.push((place.clone(), source.path));
        Ok(place)
    }

    /// The real path of a target, made where it is missing.
    fn place(&mut self, target: &Path, directory: bool) -> Result<PathBuf, String> {
        let mut names = Vec::new();
        for part in target.components() {
            match part {
                Component::RootDir | Component::CurDir => {}
                Component::Normal(name) => names.push(name),
                _ => return Err("must not hold `..`".into()),
            }
        }
        if !target.is_absolute() || names.is_empty() {
            return Err("must be absolute and not `/`".into());
        }
        let mut here = PathBuf::from("/");
        for (index, name) in names.iter().enumerate() {
            let next = here.join(name);
            let last = index + 1 == names.len();
            here = match fs::canonicalize(&next) {
                Ok(real) => real,
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(&next).is_err() =>
                {
                    self.make(&here, next, directory || !last)?
                }
                Err(error) => return Err(format!("{}: {error}", next.display())),
            };
            if !last && !here.is_dir() {
                return Err(format!("{} is not a directory on this machine", here.display()));
            }
        }
        Ok(here)
    }

    fn make(&mut self, parent: &Path, path: PathBuf, directory: bool) -> Result<PathBuf, String> {
        if ["/proc", "/sys"].iter().any(|system| parent.starts_with(system)) {
            return Err(format!("nothing can be added in {}", parent.display()));
        }
        let in_volume = !self.private.contains(parent) && self.in_own_volume(parent);
        if !in_volume && !self.private.contains(parent) {
            self.cover(parent)
                .map_err(|error| format!("cannot add an entry to {}: {error}", parent.display()))?;
        }
        let made = if directory {
            fs::create_dir(&path)
        } else {
            File::create_new(&path).map(drop)
        };
        made.map_err(|error| format!("cannot make {}: {error}", path.display()))?;
        if directory && !in_volume {
            self.private.insert(path.clone());
        }
        Ok(path)
    }

    /// True below a volume that belongs to the pod.
    fn in_own_volume(&self, path: &Path) -> bool {
        let inner = self
            .volumes
            .iter()
            .filter(|(target, _)| path.starts_with(target))
            .max_by_key(|(target, _)| target.components().count());
        inner.is_some_and(|(_, source)| source.starts_with(&self.pod_dir))
    }

    /// Replaces a directory by a private layer that shows the same entries.
    fn cover(&mut self, dir: &Path) -> io::Result<()> {
        let layer = Path::new(LAYER);
        let meta = fs::metadata(dir)?;
        fs::create_dir(layer)?;
        // A device that is made on demand, as some drivers do, must work there.
        let in_dev = dir.starts_with("/dev");
        tmpfs(
            layer,
            if in_dev {
                MsFlags::empty()
            } else {
                MsFlags::MS_NODEV
            },
        )?;
        mirror_all(dir, layer)?;
        // Only root may give it away; as another user it is ours, as the rest of the private root.
        let _ = nix::unistd::chown(layer, Some(meta.uid().into()), Some(meta.gid().into()));
        fs::set_permissions(layer, Permissions::from_mode(meta.mode() & 0o7777))?;
        mount(Some(layer), dir, NONE, MsFlags::MS_MOVE, NONE)?;
        fs::remove_dir(layer)?;
        self.private.insert(dir.to_owned());
        Ok(())
    }
}
