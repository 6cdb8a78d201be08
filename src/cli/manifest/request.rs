//! interLink's PodCreateRequests for one pod.

use serde_json::{Value, json};

use super::{ByName, ManifestError, Object, environment, projected, references};

/// What the file may leave out.
#[derive(Debug, Clone)]
pub(crate) struct Defaults {
    /// -n, if it was given: then a file must not say otherwise.
    pub(crate) namespace: Option<String>,
    /// Now, RFC 3339.
    pub(crate) now: String,
    /// Gives a fresh uid.
    pub(crate) uid: fn() -> String,
}

impl Defaults {
    fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }
}

/// What to post for one pod.
#[derive(Debug, Clone)]
pub(crate) struct CreateRequest {
    /// Where it stands, for errors.
    pub(crate) place: String,
    /// The pod's namespace.
    pub(crate) namespace: String,
    /// The pod's name.
    pub(crate) name: String,
    /// The pod's uid.
    pub(crate) uid: String,
    /// PodCreateRequests. Holds secrets.
    pub(crate) body: Value,
}

/// Namespace and name of an object.
pub(super) fn identity(object: &Object, defaults: &Defaults) -> Result<(String, String), ManifestError> {
    let metadata = &object.value["metadata"];
    let namespace = match (metadata["namespace"].as_str(), defaults.namespace.as_deref()) {
        (Some(own), Some(asked)) if own != asked => {
            let text = format!("its namespace is {own}, -n says {asked}: drop one of them");
            return Err(ManifestError::new(&object.place, text));
        }
        (Some(own), _) => own,
        (None, _) => defaults.namespace(),
    };
    let name = match (metadata["name"].as_str(), metadata["generateName"].as_str()) {
        (Some(name), _) => name.to_owned(),
        (None, Some(prefix)) => {
            let uid = (defaults.uid)();
            format!("{prefix}{}", &uid[..uid.len().min(5)])
        }
        (None, None) => return Err(ManifestError::new(&object.place, "metadata.name is missing")),
    };
    for (field, value) in [("namespace", namespace), ("name", &name)] {
        if !is_dns_name(value) {
            let text = format!("metadata.{field} {value:?} is not a DNS name (a-z, 0-9, - and .)");
            return Err(ManifestError::new(&object.place, text));
        }
    }
    Ok((namespace.to_owned(), name))
}

fn is_dns_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=253).contains(&text.len())
        && text.chars().all(inner)
        && text.starts_with(outer)
        && text.ends_with(outer)
}

/// The request of one pod, with only those ConfigMaps and Secrets that it refers to.
pub(super) fn build(
    object: &Object,
    config_maps: &ByName,
    secrets: &ByName,
    defaults: &Defaults,
) -> Result<CreateRequest, ManifestError> {
    let place = &object.place;
    let (namespace, name) = identity(object, defaults)?;
    let mut pod = object.value.clone();
    if pod["spec"]["containers"].as_array().is_none_or(Vec::is_empty) {
        return Err(ManifestError::new(
            place,
            format!("pod {name}: spec.containers is missing or empty"),
        ));
    }
    let uid = match pod["metadata"]["uid"].as_str() {
        Some(uid) => uid.to_owned(),
        None => (defaults.uid)(),
    };
    let metadata = &mut pod["metadata"];
    metadata["name"] = json!(name);
    metadata["namespace"] = json!(namespace);
    metadata["uid"] = json!(uid);
    if metadata["creationTimestamp"].is_null() {
        metadata["creationTimestamp"] = json!(defaults.now);
    }
    let found = references::gather(&pod, &namespace, config_maps, secrets)
        .map_err(|text| ManifestError::new(place, format!("pod {name}: {text}")))?;
    let projected = projected::merge(&pod, &found)
        .map_err(|text| ManifestError::new(place, format!("pod {name}: {text}")))?;
    environment::resolve(&mut pod, &found)
        .map_err(|text| ManifestError::new(place, format!("pod {name}: {text}")))?;
    let body = json!({
        "pod": pod,
        "configmaps": found.config_maps.values().collect::<Vec<_>>(),
        "secrets": found.secrets.values().collect::<Vec<_>>(),
        "projectedvolumesmaps": projected,
        "jobscriptURL": "",
    });
    Ok(CreateRequest {
        place: place.clone(),
        namespace,
        name,
        uid,
        body,
    })
}
