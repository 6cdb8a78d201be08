//! ConfigMaps and Secrets: kept whole, with typed access to what they hold.

use std::{collections::BTreeMap, fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{Body, Json, body, lenient, scan};

/// v1.ConfigMap. Also the form in which the virtual kubelet sends projected volumes: named like the volume,
/// file names as keys; those hold tokens. Kept whole; cheap to clone.
#[derive(Clone, PartialEq)]
pub struct ConfigMap(Object);

/// v1.Secret. Kept whole; cheap to clone.
#[derive(Clone, PartialEq)]
pub struct Secret(Object);

#[derive(Clone, PartialEq)]
struct Object {
    json: Json,
    name: Arc<str>,
}

/// What is checked when an object comes. What it holds is only looked at: the hub does not read it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Checked {
    #[serde(deserialize_with = "lenient::null")]
    metadata: Named,
    #[serde(rename = "data", deserialize_with = "lenient::null")]
    _data: lenient::Texts,
    /// Of a ConfigMap.
    #[serde(rename = "binaryData", deserialize_with = "lenient::null")]
    _binary_data: lenient::Texts,
    /// Of a Secret.
    #[serde(rename = "stringData", deserialize_with = "lenient::null")]
    _string_data: lenient::Texts,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    #[serde(deserialize_with = "lenient::null")]
    name: String,
    #[serde(rename = "namespace", deserialize_with = "lenient::null")]
    _namespace: lenient::Text,
}

/// What an object holds.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Held {
    /// Text in a ConfigMap, base64 in a Secret.
    #[serde(deserialize_with = "lenient::null")]
    data: BTreeMap<String, String>,
    /// Base64.
    #[serde(deserialize_with = "lenient::null")]
    binary_data: BTreeMap<String, String>,
    /// Text; wins over `data`.
    #[serde(deserialize_with = "lenient::null")]
    string_data: BTreeMap<String, String>,
}

impl Object {
    fn read<'de, D: Deserializer<'de>>(deserializer: D, kind: &str) -> Result<Self, D::Error> {
        let viewed = Json::deserialize(deserializer)?.views::<Checked>(kind);
        let (json, checked) = viewed.map_err(|bad| D::Error::custom(body::inner_error(&bad)))?;
        let name = checked.metadata.name.into();
        Ok(Self { json, name })
    }

    /// The same as [`Checked`] says, in one pass.
    fn quick(text: &str, at: usize) -> Option<(Self, usize)> {
        let bytes = text.as_bytes();
        let texts = |at| scan::object(bytes, at, |_, at| scan::string(bytes, at));
        let or_null = |at, end: Option<usize>| end.or_else(|| scan::null(bytes, at));
        // A bit for each field that came: none may come twice.
        let (mut seen, mut name) = (0_u8, &b""[..]);
        let mut first = |bit: u8| {
            let is_first = seen & bit == 0;
            seen |= bit;
            is_first.then_some(())
        };
        let end = scan::object(bytes, at, |key, at| {
            match key {
                b"metadata" => first(1)?,
                b"data" => first(2)?,
                b"binaryData" => first(4)?,
                b"stringData" => first(8)?,
                _ => return scan::value(bytes, at),
            }
            if key != b"metadata" {
                return or_null(at, texts(at));
            }
            let metadata = scan::object(bytes, at, |key, at| match key {
                b"name" => {
                    first(16)?;
                    let null = || Some((&b""[..], scan::null(bytes, at)?));
                    let (text, end) = scan::simple(bytes, at).or_else(null)?;
                    name = text;
                    Some(end)
                }
                b"namespace" => {
                    first(32)?;
                    or_null(at, scan::string(bytes, at))
                }
                _ => scan::value(bytes, at),
            });
            or_null(at, metadata)
        })?;
        let object = Self {
            json: Json::plain(&text[at..end]),
            name: std::str::from_utf8(name).ok()?.into(),
        };
        Some((object, end))
    }

    fn held(&self) -> Held {
        // It was checked when it came.
        serde_json::from_str(self.json.text()).unwrap_or_default()
    }
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
        &self.0.name
    }

    /// Its JSON.
    pub(super) fn text(&self) -> &str {
        self.0.json.text()
    }

    /// What it holds, text and bytes alike.
    ///
    /// # Errors
    /// When a key of `binaryData` is not base64.
    pub fn contents(&self) -> Result<BTreeMap<String, Bytes>, BadKey> {
        let held = self.0.held();
        contents("ConfigMap", self.name(), &held.binary_data, held.data)
    }
}

impl Secret {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its JSON.
    pub(super) fn text(&self) -> &str {
        self.0.json.text()
    }

    /// What it holds, decoded.
    ///
    /// # Errors
    /// When a key of `data` is not base64.
    pub fn contents(&self) -> Result<BTreeMap<String, Bytes>, BadKey> {
        let held = self.0.held();
        contents("Secret", self.name(), &held.data, held.string_data)
    }
}

impl Body for ConfigMap {
    fn quick(text: &str, at: usize) -> Option<(Self, usize)> {
        Object::quick(text, at).map(|(object, end)| (Self(object), end))
    }
}

impl Body for Secret {
    fn quick(text: &str, at: usize) -> Option<(Self, usize)> {
        Object::quick(text, at).map(|(object, end)| (Self(object), end))
    }
}

impl<'de> Deserialize<'de> for ConfigMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Object::read(deserializer, "ConfigMap").map(Self)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Object::read(deserializer, "Secret").map(Self)
    }
}

impl Serialize for ConfigMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.json.serialize(serializer)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.json.serialize(serializer)
    }
}

fn contents(
    kind: &'static str,
    name: &str,
    encoded: &BTreeMap<String, String>,
    plain: BTreeMap<String, String>,
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
    out.extend(plain.into_iter().map(|(key, value)| (key, value.into())));
    Ok(out)
}

impl fmt::Debug for ConfigMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.0.held();
        let keys: Vec<&String> = held.data.keys().chain(held.binary_data.keys()).collect();
        write!(f, "ConfigMap({} {keys:?})", self.name())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.0.held();
        let keys: Vec<&String> = held.data.keys().chain(held.string_data.keys()).collect();
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
        let map: ConfigMap = serde_json::from_value(json!({"binaryData": {"k": "~~~"}})).unwrap();
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
