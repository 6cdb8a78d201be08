//! Which ConfigMaps and Secrets a pod refers to.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use super::ByName;

/// What a pod refers to, by name; all in its namespace.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) config_maps: BTreeMap<String, Value>,
    pub(super) secrets: BTreeMap<String, Value>,
}

/// The two kinds of object that a pod can refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    ConfigMap,
    Secret,
}

impl Found {
    /// An object, if it is there.
    pub(super) fn get(&self, kind: Kind, name: &str) -> Option<&Value> {
        match kind {
            Kind::ConfigMap => self.config_maps.get(name),
            Kind::Secret => self.secrets.get(name),
        }
    }
}

/// Gathers them from volumes, projected volumes and the environment.
pub(super) fn gather(
    pod: &Value,
    namespace: &str,
    config_maps: &ByName,
    secrets: &ByName,
) -> Result<Found, String> {
    let mut found = Found::default();
    for (kind, name, optional) in references(pod) {
        let key = (namespace.to_owned(), name.to_owned());
        let (all, into, word) = match kind {
            Kind::ConfigMap => (config_maps, &mut found.config_maps, "ConfigMap"),
            Kind::Secret => (secrets, &mut found.secrets, "Secret"),
        };
        match all.get(&key) {
            Some(value) => {
                into.insert(name.to_owned(), value.clone());
            }
            None if optional => {}
            None => {
                return Err(format!(
                    "refers to {word} {name} in namespace {namespace}, which none of the files has: add it, or mark the \
                     reference optional"
                ));
            }
        }
    }
    Ok(found)
}

/// All references of a pod: kind, name, whether it may be missing.
fn references(pod: &Value) -> Vec<(Kind, &str, bool)> {
    let mut sources = Vec::new();
    for volume in list(&pod["spec"]["volumes"]) {
        sources.push((Kind::ConfigMap, &volume["configMap"], "name"));
        sources.push((Kind::Secret, &volume["secret"], "secretName"));
        for source in list(&volume["projected"]["sources"]) {
            sources.push((Kind::ConfigMap, &source["configMap"], "name"));
            sources.push((Kind::Secret, &source["secret"], "name"));
        }
    }
    for container in containers(pod) {
        for from in list(&container["envFrom"]) {
            sources.push((Kind::ConfigMap, &from["configMapRef"], "name"));
            sources.push((Kind::Secret, &from["secretRef"], "name"));
        }
        for variable in list(&container["env"]) {
            sources.push((Kind::ConfigMap, &variable["valueFrom"]["configMapKeyRef"], "name"));
            sources.push((Kind::Secret, &variable["valueFrom"]["secretKeyRef"], "name"));
        }
    }
    sources
        .into_iter()
        .filter_map(|(kind, source, field)| {
            Some((
                kind,
                source[field].as_str()?,
                source["optional"].as_bool().unwrap_or(false),
            ))
        })
        .collect()
}

/// Init and main containers.
pub(super) fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    list(&pod["spec"]["initContainers"]).chain(list(&pod["spec"]["containers"]))
}

/// The elements of an array; none of anything else.
pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A Secret's stringData goes into data, as an API server does it.
pub(super) fn merge_string_data(secret: &mut Value) {
    let Some(Value::Object(plain)) = secret
        .as_object_mut()
        .and_then(|secret| secret.remove("stringData"))
    else {
        return;
    };
    if !secret["data"].is_object() {
        secret["data"] = Value::Object(Map::new());
    }
    for (key, value) in plain {
        if let Some(text) = value.as_str() {
            secret["data"][key] = Value::from(STANDARD.encode(text));
        }
    }
}

/// The bytes under a key of a ConfigMap (data, binaryData) or Secret (data); `None` when there is no such key.
pub(super) fn bytes(kind: Kind, object: &Value, key: &str) -> Result<Option<Vec<u8>>, String> {
    let decode = |text: &str| {
        let compact: String = text.split_whitespace().collect();
        STANDARD
            .decode(compact)
            .map_err(|error| format!("key {key} is not base64: {error}"))
    };
    let (plain, coded) = match kind {
        Kind::ConfigMap => (object["data"][key].as_str(), object["binaryData"][key].as_str()),
        Kind::Secret => (None, object["data"][key].as_str()),
    };
    match (plain, coded) {
        (Some(text), _) => Ok(Some(text.as_bytes().to_vec())),
        (None, Some(text)) => decode(text).map(Some),
        (None, None) => Ok(None),
    }
}

/// All keys of a ConfigMap or Secret.
pub(super) fn keys(object: &Value) -> impl Iterator<Item = &String> {
    ["data", "binaryData"]
        .into_iter()
        .filter_map(|field| object[field].as_object())
        .flat_map(Map::keys)
}
