//! The environment of a container: a clean one, then what the pod says.

use std::collections::BTreeMap;

use super::{Contents, Delivery, bad_pod, expand::expand, facts::Facts};
use crate::{
    backend::process::{names, store},
    interlink::{Container, EnvVar, EnvVarSource, KeyRef},
    wire::Status,
};

/// PATH of a container that does not set its own.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Resolves the whole environment. A later name replaces an earlier one.
///
/// # Errors
/// When something that is not optional is missing.
pub(super) fn resolve(
    container: &Container,
    facts: &Facts<'_>,
    delivery: &Delivery,
) -> Result<Vec<(String, String)>, Status> {
    let mut env = Vec::new();
    set(&mut env, "PATH", PATH.to_owned());
    set(&mut env, "HOSTNAME", facts.hostname().to_owned());
    let dir = facts.site.pods.join(&facts.pod.uid);
    let text_of = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
    set(
        &mut env,
        "HOME",
        text_of(store::scratch_dir(&dir, &container.name)),
    );
    set(&mut env, "TOWLINE_POD_UID", facts.pod.uid.clone());
    set(&mut env, "TOWLINE_VOLUMES", text_of(store::volumes_dir(&dir)));
    for from in &container.env_from {
        let (kind, source, maps) = match (&from.config_map_ref, &from.secret_ref) {
            (Some(map), _) => ("ConfigMap", map, &delivery.config_maps),
            (None, Some(secret)) => ("Secret", secret, &delivery.secrets),
            (None, None) => continue,
        };
        match maps.get(&source.name) {
            Some(entries) => {
                for (key, bytes) in entries {
                    let name = format!("{}{key}", from.prefix);
                    // What cannot be a variable is left out, as the kubelet does.
                    if let (true, Some(value)) = (names::is_variable(&name), text(bytes)) {
                        set(&mut env, &name, value);
                    }
                }
            }
            None if source.optional => {}
            None => {
                return Err(bad_pod(format!(
                    "container {}: envFrom needs {kind} {}, which did not come with the pod",
                    container.name, source.name
                )));
            }
        }
    }
    for variable in &container.env {
        if !names::is_variable(&variable.name) {
            return Err(bad_pod(format!(
                "container {}: {:?} cannot be the name of an environment variable",
                container.name, variable.name
            )));
        }
        if let Some(value) = value(variable, container, facts, delivery, &env)? {
            if value.contains('\0') {
                return Err(bad_pod(format!(
                    "container {}: env {} contains a NUL byte",
                    container.name, variable.name
                )));
            }
            set(&mut env, &variable.name, value);
        }
    }
    Ok(env)
}

/// The value of a variable.
pub(super) fn lookup<'a>(env: &'a [(String, String)], name: &str) -> Option<&'a str> {
    env.iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

fn set(env: &mut Vec<(String, String)>, name: &str, value: String) {
    match env.iter_mut().find(|(key, _)| key == name) {
        Some(entry) => entry.1 = value,
        None => env.push((name.to_owned(), value)),
    }
}

fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec())
        .ok()
        .filter(|text| !text.contains('\0'))
}

fn value(
    variable: &EnvVar,
    container: &Container,
    facts: &Facts<'_>,
    delivery: &Delivery,
    env: &[(String, String)],
) -> Result<Option<String>, Status> {
    let Some(from) = &variable.value_from else {
        return Ok(Some(expand(&variable.value, |name| lookup(env, name))));
    };
    let at = format!("container {}: env {}", container.name, variable.name);
    match from {
        EnvVarSource {
            field_ref: Some(field),
            ..
        } => match facts.field(&field.field_path) {
            Some(value) => Ok(Some(value)),
            None => Err(bad_pod(format!(
                "{at}: fieldPath {:?} is not supported",
                field.field_path
            ))),
        },
        EnvVarSource {
            resource_field_ref: Some(resource),
            ..
        } => facts
            .resource(resource, container)
            .map(Some)
            .map_err(|wrong| bad_pod(format!("{at}: {wrong}"))),
        EnvVarSource {
            config_map_key_ref: Some(key),
            ..
        } => keyed(&at, "ConfigMap", key, &delivery.config_maps),
        EnvVarSource {
            secret_key_ref: Some(key),
            ..
        } => keyed(&at, "Secret", key, &delivery.secrets),
        _ => Err(bad_pod(format!(
            "{at}: valueFrom is of a kind that is not supported"
        ))),
    }
}

fn keyed(
    at: &str,
    kind: &str,
    key: &KeyRef,
    maps: &BTreeMap<String, Contents>,
) -> Result<Option<String>, Status> {
    match maps.get(&key.name).and_then(|entries| entries.get(&key.key)) {
        Some(bytes) => text(bytes).map(Some).ok_or_else(|| {
            bad_pod(format!(
                "{at}: key {} of {kind} {} is not text",
                key.key, key.name
            ))
        }),
        None if key.optional => Ok(None),
        None => Err(bad_pod(format!(
            "{at}: needs key {} of {kind} {}, which did not come with the pod",
            key.key, key.name
        ))),
    }
}
