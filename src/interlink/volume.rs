//! Typed views of volumes and their mounts.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, Visitor},
};

use super::{
    lenient,
    spec::{FieldRef, ResourceFieldRef},
};

/// v1.VolumeMount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeMount {
    /// Name of the volume.
    #[serde(deserialize_with = "lenient::null")]
    pub name: String,
    /// Where it appears.
    #[serde(deserialize_with = "lenient::null")]
    pub mount_path: String,
    /// A path inside the volume; empty means its root.
    #[serde(deserialize_with = "lenient::null")]
    pub sub_path: String,
    /// The same, with `$(VAR)` replaced from the environment.
    #[serde(deserialize_with = "lenient::null")]
    pub sub_path_expr: String,
    /// Whether it may not be written.
    #[serde(deserialize_with = "lenient::null")]
    pub read_only: bool,
}

/// v1.Volume.
#[derive(Debug, Clone, PartialEq)]
pub struct Volume {
    /// Name.
    pub name: String,
    /// What is in it.
    pub source: VolumeSource,
}

/// What is in a volume.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum VolumeSource {
    /// Keys of a ConfigMap as files.
    ConfigMap(ConfigMapSource),
    /// Keys of a Secret as files.
    Secret(SecretSource),
    /// An empty directory of the pod's own. Also what a volume without any source is.
    EmptyDir(EmptyDirSource),
    /// Several sources in one directory.
    Projected(ProjectedSource),
    /// Fields of the pod as files.
    DownwardApi(DownwardApiSource),
    /// A path of the host.
    HostPath(HostPathSource),
    /// Any other kind, by its JSON key, for example `nfs`.
    Other(String),
}

impl VolumeSource {
    /// The JSON key of this kind.
    pub fn kind(&self) -> &str {
        match self {
            Self::ConfigMap(_) => "configMap",
            Self::Secret(_) => "secret",
            Self::EmptyDir(_) => "emptyDir",
            Self::Projected(_) => "projected",
            Self::DownwardApi(_) => "downwardAPI",
            Self::HostPath(_) => "hostPath",
            Self::Other(key) => key,
        }
    }
}

/// One key of a ConfigMap or Secret as a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct KeyToPath {
    /// The key.
    #[serde(deserialize_with = "lenient::null")]
    pub key: String,
    /// The file, relative to the volume.
    #[serde(deserialize_with = "lenient::null")]
    pub path: String,
    /// Its mode bits; the volume's default when absent.
    pub mode: Option<u32>,
}

/// v1.ConfigMapVolumeSource and v1.ConfigMapProjection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigMapSource {
    /// Name of the ConfigMap.
    #[serde(deserialize_with = "lenient::null")]
    pub name: String,
    /// Only these keys; all when empty.
    #[serde(deserialize_with = "lenient::null")]
    pub items: Vec<KeyToPath>,
    /// Mode bits of the files; 0644 when absent.
    pub default_mode: Option<u32>,
    /// Whether it may be missing.
    #[serde(deserialize_with = "lenient::null")]
    pub optional: bool,
}

/// v1.SecretVolumeSource and v1.SecretProjection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecretSource {
    /// Name of the Secret; `name` inside a projection.
    #[serde(alias = "name", deserialize_with = "lenient::null")]
    pub secret_name: String,
    /// Only these keys; all when empty.
    #[serde(deserialize_with = "lenient::null")]
    pub items: Vec<KeyToPath>,
    /// Mode bits of the files; 0644 when absent.
    pub default_mode: Option<u32>,
    /// Whether it may be missing.
    #[serde(deserialize_with = "lenient::null")]
    pub optional: bool,
}

/// v1.EmptyDirVolumeSource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EmptyDirSource {
    /// `Memory` for tmpfs; empty for a directory.
    #[serde(deserialize_with = "lenient::null")]
    pub medium: String,
    /// A quantity; empty means none.
    #[serde(deserialize_with = "lenient::quantity")]
    pub size_limit: String,
}

/// v1.ProjectedVolumeSource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProjectedSource {
    /// What to project, in order; a later file of the same path wins.
    #[serde(deserialize_with = "lenient::null")]
    pub sources: Vec<Projection>,
    /// Mode bits of the files; 0644 when absent.
    pub default_mode: Option<u32>,
}

/// v1.VolumeProjection: one of these, or a kind that is not known here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Projection {
    /// Keys of a ConfigMap.
    pub config_map: Option<ConfigMapSource>,
    /// Keys of a Secret.
    pub secret: Option<SecretSource>,
    /// Fields of the pod.
    #[serde(rename = "downwardAPI")]
    pub downward_api: Option<DownwardApiSource>,
    /// A token; its text comes in the projected map that the virtual kubelet sends along.
    pub service_account_token: Option<TokenSource>,
}

/// v1.DownwardAPIVolumeSource and v1.DownwardAPIProjection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DownwardApiSource {
    /// The files.
    #[serde(deserialize_with = "lenient::null")]
    pub items: Vec<DownwardApiItem>,
    /// Mode bits of the files; 0644 when absent.
    pub default_mode: Option<u32>,
}

/// v1.DownwardAPIVolumeFile.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DownwardApiItem {
    /// The file, relative to the volume.
    #[serde(deserialize_with = "lenient::null")]
    pub path: String,
    /// A field of the pod.
    pub field_ref: Option<FieldRef>,
    /// A request or limit of a container.
    pub resource_field_ref: Option<ResourceFieldRef>,
    /// Its mode bits; the volume's default when absent.
    pub mode: Option<u32>,
}

/// v1.ServiceAccountTokenProjection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TokenSource {
    /// The file, relative to the volume.
    #[serde(deserialize_with = "lenient::null")]
    pub path: String,
    /// For whom the token is.
    #[serde(deserialize_with = "lenient::null")]
    pub audience: String,
    /// How long it is good.
    pub expiration_seconds: Option<u64>,
}

/// v1.HostPathVolumeSource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct HostPathSource {
    /// The path.
    #[serde(deserialize_with = "lenient::null")]
    pub path: String,
    /// `Directory`, `File` and so on; empty for no check.
    #[serde(deserialize_with = "lenient::null")]
    pub r#type: String,
}

impl<'de> Deserialize<'de> for Volume {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneSource;
        impl<'de> Visitor<'de> for OneSource {
            type Value = Volume;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a volume")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Volume, A::Error> {
                let mut name: Option<String> = None;
                let mut source = None;
                while let Some(key) = map.next_key::<String>()? {
                    let named = key == "name" && name.is_some();
                    if named
                        || source
                            .as_ref()
                            .is_some_and(|source: &VolumeSource| source.kind() == key)
                    {
                        // Which one counts is decided where a pod is read.
                        return Err(A::Error::custom("a field of a volume comes twice"));
                    }
                    let read = match key.as_str() {
                        "name" => {
                            name = map.next_value()?;
                            None
                        }
                        "configMap" => map.next_value::<Option<_>>()?.map(VolumeSource::ConfigMap),
                        "secret" => map.next_value::<Option<_>>()?.map(VolumeSource::Secret),
                        "emptyDir" => map.next_value::<Option<_>>()?.map(VolumeSource::EmptyDir),
                        "projected" => map.next_value::<Option<_>>()?.map(VolumeSource::Projected),
                        "downwardAPI" => map.next_value::<Option<_>>()?.map(VolumeSource::DownwardApi),
                        "hostPath" => map.next_value::<Option<_>>()?.map(VolumeSource::HostPath),
                        _ => map
                            .next_value::<Option<IgnoredAny>>()?
                            .map(|_| VolumeSource::Other(key)),
                    };
                    source = source.or(read);
                }
                Ok(Volume {
                    name: name.unwrap_or_default(),
                    source: source.unwrap_or(VolumeSource::EmptyDir(EmptyDirSource::default())),
                })
            }
        }
        deserializer.deserialize_map(OneSource)
    }
}
