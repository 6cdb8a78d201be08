//! Kubernetes files: from YAML or JSON text to interLink's create requests. Pure.
//!
//! Does here what an API server and the virtual kubelet do on a cluster: defaults the namespace and the uid, gathers
//! the ConfigMaps and Secrets that a pod refers to, merges projected volumes, resolves the environment from them.
//! Learn [`Manifests`] and [`CreateRequest`].

mod environment;
mod projected;
mod read;
mod references;
mod request;

pub(crate) use request::{CreateRequest, Defaults};

use std::collections::BTreeMap;

use serde_json::Value;

/// An error of a file: where, what, what to do.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {text}")]
pub(crate) struct ManifestError {
    place: String,
    text: String,
}

impl ManifestError {
    fn new(place: &str, text: impl Into<String>) -> Self {
        Self {
            place: place.to_owned(),
            text: text.into(),
        }
    }
}

/// One object of a file and where it stands.
#[derive(Debug, Clone)]
struct Object {
    /// `FILE: document N`, for errors.
    place: String,
    value: Value,
}

/// ConfigMaps or Secrets by namespace and name.
type ByName = BTreeMap<(String, String), Value>;

/// All objects of the files of one `create`, as they were written.
#[derive(Debug, Default)]
pub(crate) struct Manifests {
    pods: Vec<Object>,
    config_maps: Vec<Object>,
    secrets: Vec<Object>,
}

impl Manifests {
    /// Adds the objects of a file.
    ///
    /// # Errors
    /// When the text is neither YAML nor JSON, or has an object of a kind that cannot be created here.
    pub(crate) fn add(&mut self, file: &str, text: &str) -> Result<(), ManifestError> {
        for object in read::objects(file, text)? {
            match object.value["kind"].as_str() {
                Some("Pod") => self.pods.push(object),
                Some("ConfigMap") => self.config_maps.push(object),
                Some("Secret") => self.secrets.push(object),
                Some(kind) => {
                    let text = format!("kind {kind} cannot be created here; Pod, ConfigMap and Secret can");
                    return Err(ManifestError::new(&object.place, text));
                }
                None => {
                    return Err(ManifestError::new(
                        &object.place,
                        "no kind; expected Pod, ConfigMap or Secret",
                    ));
                }
            }
        }
        Ok(())
    }

    /// The requests to post, one a pod, in the order of the files.
    ///
    /// # Errors
    /// When a pod is incomplete or refers to what is not there.
    pub(crate) fn requests(&self, defaults: &Defaults) -> Result<Vec<CreateRequest>, ManifestError> {
        let config_maps = by_name(&self.config_maps, defaults)?;
        let mut secrets = by_name(&self.secrets, defaults)?;
        secrets.values_mut().for_each(references::merge_string_data);
        self.pods
            .iter()
            .map(|pod| request::build(pod, &config_maps, &secrets, defaults))
            .collect()
    }
}

fn by_name(objects: &[Object], defaults: &Defaults) -> Result<ByName, ManifestError> {
    let mut all = ByName::new();
    for object in objects {
        let (namespace, name) = request::identity(object, defaults)?;
        let mut value = object.value.clone();
        value["metadata"]["namespace"] = Value::from(namespace.clone());
        if all.insert((namespace, name.clone()), value).is_some() {
            return Err(ManifestError::new(
                &object.place,
                format!("{name} is there twice"),
            ));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
