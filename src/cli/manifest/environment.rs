//! The environment of containers: references become values before the pod is sent, as the virtual kubelet does it.
//! What is known only where the pod runs (status, resources, node) is left as it is.

use serde_json::{Map, Value, json};

use super::references::{Found, Kind, bytes, keys};

/// Resolves `envFrom` and `valueFrom` of all containers.
pub(super) fn resolve(pod: &mut Value, found: &Found) -> Result<(), String> {
    let whole = pod.clone();
    for group in ["initContainers", "containers"] {
        for container in pod["spec"][group].as_array_mut().into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or("?").to_owned();
            resolve_one(container, &whole, found).map_err(|text| format!("container {name}: {text}"))?;
        }
    }
    Ok(())
}

fn resolve_one(container: &mut Value, pod: &Value, found: &Found) -> Result<(), String> {
    let Some(container) = container.as_object_mut() else {
        return Err("is not an object".to_owned());
    };
    let mut variables = Vec::new();
    for from in taken(container, "envFrom") {
        variables.extend(all_of(&from, found)?);
    }
    for variable in taken(container, "env") {
        variables.extend(one_of(variable, pod, found)?);
    }
    if !variables.is_empty() {
        container.insert("env".to_owned(), Value::from(variables));
    }
    Ok(())
}

fn taken(container: &mut Map<String, Value>, field: &str) -> Vec<Value> {
    match container.remove(field) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

/// The variables of one `envFrom`. A key that is no name of a variable is skipped, as the kubelet does.
fn all_of(from: &Value, found: &Found) -> Result<Vec<Value>, String> {
    let prefix = from["prefix"].as_str().unwrap_or_default();
    let mut variables = Vec::new();
    for (kind, reference) in [(Kind::ConfigMap, "configMapRef"), (Kind::Secret, "secretRef")] {
        let Some(name) = from[reference]["name"].as_str() else {
            continue;
        };
        let Some(object) = found.get(kind, name) else {
            continue;
        };
        for key in keys(object) {
            let variable = format!("{prefix}{key}");
            let binary = kind == Kind::ConfigMap && object["data"][key].is_null();
            if !binary && is_variable(&variable) {
                variables.push(json!({"name": variable, "value": text(kind, object, name, key)?}));
            }
        }
    }
    Ok(variables)
}

/// One variable of `env`; none when an optional reference leads nowhere.
fn one_of(variable: Value, pod: &Value, found: &Found) -> Result<Option<Value>, String> {
    let from = &variable["valueFrom"];
    let name = &variable["name"];
    for (kind, reference) in [
        (Kind::ConfigMap, "configMapKeyRef"),
        (Kind::Secret, "secretKeyRef"),
    ] {
        let (Some(object_name), Some(key)) =
            (from[reference]["name"].as_str(), from[reference]["key"].as_str())
        else {
            continue;
        };
        let object = found.get(kind, object_name);
        let optional = from[reference]["optional"].as_bool().unwrap_or(false);
        return match object.filter(|object| keys(object).any(|known| known == key)) {
            Some(object) => Ok(Some(
                json!({"name": name, "value": text(kind, object, object_name, key)?}),
            )),
            None if optional => Ok(None),
            None => Err(format!("variable {name}: {object_name} has no key {key}")),
        };
    }
    let own = from["fieldRef"]["fieldPath"]
        .as_str()
        .and_then(|path| field(pod, path));
    Ok(Some(match own {
        Some(value) => json!({"name": name, "value": value}),
        None => variable,
    }))
}

fn text(kind: Kind, object: &Value, name: &str, key: &str) -> Result<String, String> {
    let bytes = bytes(kind, object, key)
        .map_err(|text| format!("{name}: {text}"))?
        .unwrap_or_default();
    String::from_utf8(bytes)
        .map_err(|_| format!("{name}: key {key} is not UTF-8, so it cannot be a variable"))
}

fn is_variable(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '-' | '.');
    name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
}

/// A field of the pod's own metadata, as the downward API writes it.
pub(super) fn field(pod: &Value, path: &str) -> Option<String> {
    let metadata = &pod["metadata"];
    match path {
        "metadata.name" | "metadata.namespace" | "metadata.uid" => {
            metadata[&path[9..]].as_str().map(str::to_owned)
        }
        "metadata.labels" | "metadata.annotations" => {
            let lines = metadata[&path[9..]].as_object().into_iter().flatten();
            let lines: Vec<String> = lines
                .map(|(key, value)| format!("{key}={:?}", value.as_str().unwrap_or_default()))
                .collect();
            Some(lines.join("\n"))
        }
        _ => {
            let (group, rest) = path.strip_prefix("metadata.")?.split_once("['")?;
            let key = rest.strip_suffix("']")?;
            matches!(group, "labels" | "annotations")
                .then(|| metadata[group][key].as_str().unwrap_or_default().to_owned())
        }
    }
}
