//! Which files a volume holds.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Contents, Delivery, VolumeFile, VolumePlan, bad_pod, facts::Facts};
use crate::{
    backend::process::names,
    interlink::{Container, DownwardApiSource, KeyToPath, ProjectedSource, VolumeSource},
    wire::Status,
};

/// Mode of files that do not say, secrets and tokens too: Kubernetes' default, so that a program which looks at the
/// mode sees here what it sees there. The state directory above lets nobody else in.
const MODE: u32 = 0o644;

/// Plans all volumes of a pod. One that no container mounts may be of any kind, and may lack its ConfigMap or
/// Secret: interLink sends only what is mounted.
///
/// # Errors
/// When a volume that is mounted cannot be had.
pub(super) fn volumes(facts: &Facts<'_>, delivery: &Delivery) -> Result<Vec<VolumePlan>, Status> {
    let spec = facts.manifest.spec();
    let mut volumes = Vec::new();
    for volume in &spec.volumes {
        let name = &volume.name;
        let is_mounted = spec
            .init_containers
            .iter()
            .chain(&spec.containers)
            .any(|container| container.volume_mounts.iter().any(|mount| mount.name == *name));
        match files(facts, delivery, name, &volume.source) {
            Ok((files, writable)) => volumes.push(VolumePlan {
                name: name.clone(),
                files,
                writable,
            }),
            Err(wrong) if is_mounted => return Err(bad_pod(format!("volume {name}: {wrong}"))),
            Err(_) => {}
        }
    }
    Ok(volumes)
}

/// Whether a volume has a file or a directory at this path.
pub(super) fn holds(volume: &VolumePlan, path: &str) -> bool {
    volume.files.iter().any(|file| {
        file.path == path
            || file
                .path
                .strip_prefix(path)
                .is_some_and(|rest| rest.starts_with('/'))
    })
}

fn files(
    facts: &Facts<'_>,
    delivery: &Delivery,
    name: &str,
    source: &VolumeSource,
) -> Result<(Vec<VolumeFile>, bool), String> {
    let mut files = Files::default();
    match source {
        VolumeSource::EmptyDir(_) => return Ok((Vec::new(), true)),
        VolumeSource::ConfigMap(from) => {
            let what = format!("ConfigMap {}", from.name);
            let mode = from.default_mode.unwrap_or(MODE);
            files.keys(
                &what,
                delivery.config_maps.get(&from.name),
                &from.items,
                from.optional,
                mode,
            )?;
        }
        VolumeSource::Secret(from) => {
            let what = format!("Secret {}", from.secret_name);
            let mode = from.default_mode.unwrap_or(MODE);
            files.keys(
                &what,
                delivery.secrets.get(&from.secret_name),
                &from.items,
                from.optional,
                mode,
            )?;
        }
        VolumeSource::DownwardApi(from) => files.downward(facts, from, from.default_mode.unwrap_or(MODE))?,
        VolumeSource::Projected(from) => {
            files.projected(facts, delivery, delivery.projected.get(name), from)?
        }
        other => {
            return Err(format!(
                "kind {} is not supported; configMap, secret, projected, downwardAPI and emptyDir are",
                other.kind()
            ));
        }
    }
    Ok((files.done(), false))
}

/// Files by path; a later one replaces an earlier one.
#[derive(Default)]
struct Files(BTreeMap<String, (Bytes, u32)>);

impl Files {
    fn put(&mut self, path: &str, bytes: &Bytes, mode: u32) -> Result<(), String> {
        names::check_inner(path).map_err(|wrong| format!("path {path:?} {wrong}"))?;
        if mode > 0o777 {
            return Err(format!("mode {mode} of {path:?} is above 0777 (511)"));
        }
        let is_under = |outer: &str, inner: &str| {
            inner
                .strip_prefix(outer)
                .is_some_and(|rest| rest.starts_with('/'))
        };
        if let Some(other) = self
            .0
            .keys()
            .find(|other| is_under(other, path) || is_under(path, other))
        {
            return Err(format!("{path:?} and {other:?} cannot both be files"));
        }
        self.0.insert(path.to_owned(), (bytes.clone(), mode));
        Ok(())
    }

    fn keys(
        &mut self,
        what: &str,
        entries: Option<&Contents>,
        items: &[KeyToPath],
        optional: bool,
        mode: u32,
    ) -> Result<(), String> {
        let Some(entries) = entries else {
            return if optional {
                Ok(())
            } else {
                Err(format!("{what} did not come with the pod"))
            };
        };
        if items.is_empty() {
            for (key, bytes) in entries {
                if !names::is_key(key) {
                    return Err(format!("{what}: {key:?} is not a key"));
                }
                self.put(key, bytes, mode)?;
            }
            return Ok(());
        }
        for item in items {
            match entries.get(&item.key) {
                Some(bytes) => self.put(&item.path, bytes, item.mode.unwrap_or(mode))?,
                None if optional => {}
                None => return Err(format!("{what} has no key {}", item.key)),
            }
        }
        Ok(())
    }

    fn downward(&mut self, facts: &Facts<'_>, from: &DownwardApiSource, mode: u32) -> Result<(), String> {
        for item in &from.items {
            let text = match (&item.field_ref, &item.resource_field_ref) {
                (Some(field), _) => facts
                    .field(&field.field_path)
                    .ok_or_else(|| format!("fieldPath {:?} is not supported", field.field_path))?,
                (None, Some(resource)) if resource.container_name.is_empty() => {
                    return Err(format!("{:?}: resourceFieldRef needs containerName", item.path));
                }
                (None, Some(resource)) => facts.resource(resource, &Container::default())?,
                (None, None) => return Err(format!("{:?} has no source", item.path)),
            };
            self.put(&item.path, &Bytes::from(text), item.mode.unwrap_or(mode))?;
        }
        Ok(())
    }

    /// interLink resolves a projected volume by itself and sends it as one map named after the volume; what it leaves
    /// out, such as the downward API, is added from the sources.
    fn projected(
        &mut self,
        facts: &Facts<'_>,
        delivery: &Delivery,
        delivered: Option<&Contents>,
        from: &ProjectedSource,
    ) -> Result<(), String> {
        let mode = from.default_mode.unwrap_or(MODE);
        for source in &from.sources {
            let mut own = Self::default();
            let outcome = if let Some(map) = &source.config_map {
                let what = format!("ConfigMap {}", map.name);
                own.keys(
                    &what,
                    delivery.config_maps.get(&map.name),
                    &map.items,
                    map.optional,
                    mode,
                )
            } else if let Some(secret) = &source.secret {
                let what = format!("Secret {}", secret.secret_name);
                own.keys(
                    &what,
                    delivery.secrets.get(&secret.secret_name),
                    &secret.items,
                    secret.optional,
                    mode,
                )
            } else if let Some(downward) = &source.downward_api {
                own.downward(facts, downward, mode)
            } else if let Some(token) = &source.service_account_token {
                match delivered.and_then(|map| map.get(&token.path)) {
                    Some(bytes) => own.put(&token.path, bytes, mode),
                    None => Err("the service account token did not come with the pod; set \
                                 automountServiceAccountToken: false if it is not needed"
                        .to_owned()),
                }
            } else {
                Err("a projected source is of a kind that is not supported".to_owned())
            };
            match outcome {
                Ok(()) => {
                    for (path, (bytes, mode)) in own.0 {
                        self.put(&path, &bytes, mode)?;
                    }
                }
                Err(wrong) if delivered.is_none() => return Err(wrong),
                Err(_) => {}
            }
        }
        for (path, bytes) in delivered.into_iter().flatten() {
            let mode = self.0.get(path).map_or(mode, |(_, mode)| *mode);
            self.put(path, bytes, mode)?;
        }
        Ok(())
    }

    fn done(self) -> Vec<VolumeFile> {
        self.0
            .into_iter()
            .map(|(path, (bytes, mode))| VolumeFile { path, bytes, mode })
            .collect()
    }
}
