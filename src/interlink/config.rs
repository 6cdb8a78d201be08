//! ConfigMaps and Secrets: kept whole, with typed access to what they hold.

use std::{collections::BTreeMap, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::lenient;

/// Metadata of a ConfigMap or Secret, kept whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ObjectMeta {
    /// Name.
    #[serde(deserialize_with = "lenient::null")]
    pub name: String,
    /// Namespace; empty when it was not said.
    #[serde(deserialize_with = "lenient::null", skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// All the rest.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// v1.ConfigMap. Also the form in which the virtual kubelet sends projected volumes: named like the volume,
/// file names as keys; those hold tokens.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigMap {
    /// Metadata.
    #[serde(deserialize_with = "lenient::null")]
    pub metadata: ObjectMeta,
    /// Text by key.
    #[serde(
        deserialize_with = "lenient::null",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub data: BTreeMap<String, String>,
    /// Bytes by key, in base64.
    #[serde(
        deserialize_with = "lenient::null",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub binary_data: BTreeMap<String, String>,
    /// All the rest.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// v1.Secret.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Secret {
    /// Metadata.
    #[serde(deserialize_with = "lenient::null")]
    pub metadata: ObjectMeta,
    /// Bytes by key, in base64.
    #[serde(
        deserialize_with = "lenient::null",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub data: BTreeMap<String, String>,
    /// Text by key; wins over `data`.
    #[serde(
        deserialize_with = "lenient::null",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub string_data: BTreeMap<String, String>,
    /// All the rest.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A key whose value is not base64.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("key {key} of {kind} {name} is not base64")]
pub struct BadKey {
    /// `ConfigMap` or `Secret`.
    pub kind: &'static str,
    /// Name of the object.
    pub name: String,
    /// The key.
    pub key: String,
}

impl ConfigMap {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// What it holds, text and bytes alike.
    ///
    /// # Errors
    /// When a key of `binaryData` is not base64.
    pub fn contents(&self) -> Result<BTreeMap<String, Bytes>, BadKey> {
        contents("ConfigMap", self.name(), &self.binary_data, &self.data)
    }
}

impl Secret {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// What it holds, decoded.
    ///
    /// # Errors
    /// When a key of `data` is not base64.
    pub fn contents(&self) -> Result<BTreeMap<String, Bytes>, BadKey> {
        contents("Secret", self.name(), &self.data, &self.string_data)
    }
}

fn contents(
    kind: &'static str,
    name: &str,
    encoded: &BTreeMap<String, String>,
    plain: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, Bytes>, BadKey> {
    let mut out = BTreeMap::new();
    for (key, value) in encoded {
        let bytes = STANDARD.decode(value).map_err(|_| BadKey {
            kind,
            name: name.to_owned(),
            key: key.clone(),
        })?;
        out.insert(key.clone(), bytes.into());
    }
    for (key, value) in plain {
        out.insert(key.clone(), value.clone().into());
    }
    Ok(out)
}

impl fmt::Debug for ConfigMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&String> = self.data.keys().chain(self.binary_data.keys()).collect();
        write!(f, "ConfigMap({} {keys:?})", self.name())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&String> = self.data.keys().chain(self.string_data.keys()).collect();
        write!(f, "Secret({} {keys:?})", self.name())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn secret() -> Secret {
        serde_json::from_value(
            json!({"metadata": {"name": "s", "creationTimestamp": null}, "type": "Opaque",
            "data": {"a": "aHVudGVyMg==", "b": "AP8="}, "stringData": {"a": "other"}}),
        )
        .unwrap()
    }

    #[test]
    fn a_secret_is_decoded_and_plain_text_wins() {
        let contents = secret().contents().unwrap();
        assert_eq!(contents["a"], "other");
        assert_eq!(contents["b"][..], [0, 255]);
    }

    #[test]
    fn debug_shows_keys_and_no_value() {
        assert_eq!(format!("{:?}", secret()), r#"Secret(s ["a", "b", "a"])"#);
        let map: ConfigMap =
            serde_json::from_value(json!({"metadata": {"name": "m"}, "data": {"token": "abc"}})).unwrap();
        assert_eq!(format!("{map:?}"), r#"ConfigMap(m ["token"])"#);
    }

    #[test]
    fn a_bad_key_is_named_and_its_value_is_not() {
        let map = ConfigMap {
            binary_data: BTreeMap::from([("k".to_owned(), "~~~".to_owned())]),
            ..Default::default()
        };
        assert_eq!(
            map.contents().unwrap_err().to_string(),
            "key k of ConfigMap  is not base64"
        );
    }

    #[test]
    fn both_go_out_as_they_came_in() {
        let json = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "creationTimestamp": null,
            "labels": {"x": "y"}}, "data": {"k": "v"}, "immutable": true});
        let map: ConfigMap = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(map).unwrap(), json);
        let whole = serde_json::to_value(secret()).unwrap();
        assert_eq!(whole["type"], "Opaque");
        assert!(whole["metadata"]["creationTimestamp"].is_null());
    }
}
