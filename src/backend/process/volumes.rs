//! Volumes on disk: `<pod>/volumes/<name>/`, and what is bound from there into a container.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use super::{
    plan::{ContainerPlan, VolumePlan},
    spec::Mount,
};

/// Makes a directory that only its owner may enter, with its parents.
pub(crate) fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes all volumes afresh, durably: the record of the pod follows. Only for a pod of which nothing was started.
pub(crate) fn write(root: &Path, volumes: &[VolumePlan]) -> io::Result<()> {
    private_dir(root)?;
    for volume in volumes {
        let dir = root.join(&volume.name);
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        private_dir(&dir)?;
        for file in &volume.files {
            let path = dir.join(&file.path);
            if let Some(parent) = path.parent() {
                private_dir(parent)?;
            }
            let mut out = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            out.write_all(&file.bytes)?;
            // Afterwards, so that the umask has no say.
            out.set_permissions(Permissions::from_mode(file.mode))?;
            out.sync_all()?;
        }
        sync_dirs(&dir)?;
    }
    File::open(root)?.sync_all()
}

/// Makes the names in a directory and in those below it durable.
fn sync_dirs(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_dirs(&entry.path())?;
        }
    }
    File::open(dir)?.sync_all()
}

/// What is bound into a container. A subPath of a writable volume that does not exist yet becomes a directory.
pub(crate) fn mounts(root: &Path, container: &ContainerPlan) -> io::Result<Vec<Mount>> {
    let mut mounts = Vec::new();
    for mount in &container.mounts {
        let volume = root.join(&mount.volume);
        let mut source = volume.clone();
        if !mount.sub_path.is_empty() {
            source = volume.join(&mount.sub_path);
            if !source.exists() {
                private_dir(&source)?;
            }
            // A container may have put a link where the next one mounts.
            let real = source.canonicalize()?;
            if !real.starts_with(volume.canonicalize()?) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!(
                        "subPath {:?} leads out of volume {}",
                        mount.sub_path, mount.volume
                    ),
                ));
            }
            source = real;
        }
        mounts.push(Mount {
            source,
            target: mount.path.clone().into(),
            read_only: mount.read_only,
            optional: false,
        });
    }
    // An outer target before one inside it: /etc before /etc/config.
    mounts.sort_by(|a, b| a.target.cmp(&b.target));
    Ok(mounts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::backend::process::{
        machine::Kind,
        plan::{MountPlan, VolumeFile},
        termination::Termination,
    };

    fn volume(writable: bool) -> VolumePlan {
        let file = VolumeFile {
            path: "deep/key".to_owned(),
            bytes: "text".into(),
            mode: 0o440,
        };
        VolumePlan {
            name: "v".to_owned(),
            files: vec![file],
            writable,
        }
    }

    fn container(mounts: &[(&str, &str)]) -> ContainerPlan {
        let mounts = mounts.iter().map(|(sub_path, path)| MountPlan {
            volume: "v".to_owned(),
            sub_path: (*sub_path).to_owned(),
            path: (*path).to_owned(),
            read_only: false,
        });
        ContainerPlan {
            name: "main".to_owned(),
            image: String::new(),
            kind: Kind::Main,
            argv: Vec::new(),
            env: Vec::new(),
            working_dir: None,
            mounts: mounts.collect(),
            post_start: None,
            pre_stop: None,
            no_new_privileges: false,
            termination: Termination::default(),
            termination_path: String::new(),
        }
    }

    #[test]
    fn files_have_their_mode_and_directories_are_private() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &[volume(false)]).unwrap();
        write(dir.path(), &[volume(false)]).unwrap();
        let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(fs::read(dir.path().join("v/deep/key")).unwrap(), b"text");
        assert_eq!(
            (mode("v"), mode("v/deep"), mode("v/deep/key")),
            (0o700, 0o700, 0o440)
        );
    }

    #[test]
    fn a_sub_path_names_one_file_and_outer_targets_come_first() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &[volume(true)]).unwrap();
        let mounts = mounts(
            dir.path(),
            &container(&[("deep/key", "/etc/app/key"), ("fresh", "/etc")]),
        )
        .unwrap();
        assert_eq!(mounts[0].target, Path::new("/etc"));
        assert!(mounts[0].source.is_dir());
        assert!(mounts[1].source.ends_with("v/deep/key"));
    }

    #[test]
    fn a_link_that_leads_out_of_its_volume_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &[volume(true)]).unwrap();
        symlink("/etc", dir.path().join("v/out")).unwrap();
        assert!(mounts(dir.path(), &container(&[("out", "/x")])).is_err());
    }
}
