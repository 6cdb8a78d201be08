//! Projected volumes: the files of all sources merged into one ConfigMap, named like the volume, as the virtual
//! kubelet sends them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{
    environment::field,
    references::{Found, Kind, bytes, keys, list},
};

/// One ConfigMap for each projected volume.
pub(super) fn merge(pod: &Value, found: &Found) -> Result<Vec<Value>, String> {
    let mut maps = Vec::new();
    for volume in list(&pod["spec"]["volumes"]) {
        let sources = &volume["projected"]["sources"];
        if !sources.is_array() {
            continue;
        }
        let name = volume["name"].as_str().unwrap_or_default();
        let mut files = Files::default();
        for source in list(sources) {
            add(&mut files, pod, source, found).map_err(|text| format!("volume {name}: {text}"))?;
        }
        maps.push(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": pod["metadata"]["namespace"]},
            "data": files.text,
            "binaryData": files.binary,
        }));
    }
    Ok(maps)
}

#[derive(Default)]
struct Files {
    text: Map<String, Value>,
    binary: Map<String, Value>,
}

impl Files {
    /// A later source wins, as in Kubernetes.
    fn put(&mut self, path: &str, content: Vec<u8>) {
        self.text.remove(path);
        self.binary.remove(path);
        match String::from_utf8(content) {
            Ok(text) => self.text.insert(path.to_owned(), Value::from(text)),
            Err(error) => self
                .binary
                .insert(path.to_owned(), Value::from(STANDARD.encode(error.as_bytes()))),
        };
    }
}

fn add(files: &mut Files, pod: &Value, source: &Value, found: &Found) -> Result<(), String> {
    let Some((word, source)) = source.as_object().and_then(|source| source.iter().next()) else {
        return Ok(());
    };
    let kind = match word.as_str() {
        "configMap" => Kind::ConfigMap,
        "secret" => Kind::Secret,
        "downwardAPI" => {
            for item in list(&source["items"]) {
                let path = item["path"].as_str().ok_or("a downwardAPI item has no path")?;
                let wanted = item["fieldRef"]["fieldPath"].as_str();
                let value = wanted.and_then(|wanted| field(pod, wanted)).ok_or_else(|| {
                    format!(
                        "downwardAPI file {path}: only metadata fields of the pod are known before it runs"
                    )
                })?;
                files.put(path, value.into_bytes());
            }
            return Ok(());
        }
        other => {
            return Err(format!(
                "a projected {other} needs a cluster; configMap, secret and downwardAPI do not"
            ));
        }
    };
    let name = source["name"].as_str().unwrap_or_default();
    let optional = source["optional"].as_bool().unwrap_or(false);
    // An optional one that is missing has no files; one that must be there was found before.
    let Some(object) = found.get(kind, name) else {
        return Ok(());
    };
    let wanted: Vec<(&str, &str)> = if source["items"].is_array() {
        list(&source["items"])
            .filter_map(|item| Some((item["key"].as_str()?, item["path"].as_str()?)))
            .collect()
    } else {
        keys(object).map(|key| (key.as_str(), key.as_str())).collect()
    };
    for (key, path) in wanted {
        match bytes(kind, object, key).map_err(|text| format!("{name}: {text}"))? {
            Some(content) => files.put(path, content),
            None if optional => {}
            None => return Err(format!("{name} has no key {key}")),
        }
    }
    Ok(())
}
