//! The fields of interLink's RetrievedPodData that this backend acts on. Everything else is left alone.
//!
//! Go writes an absent list or map as null: both read as empty.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de::DeserializeOwned};

fn or_default<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// Declares views whose fields may all be absent or null.
macro_rules! views {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => { $(
        $(#[$doc])*
        #[derive(Clone, Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub(crate) struct $name { $(
            #[serde(deserialize_with = "or_default")]
            $(#[$field_doc])*
            pub(crate) $field: $type,
        )* }
    )* };
}

views! {
    /// The whole payload.
    Payload { pod: Pod, container: Vec<Delivered>, }
    /// What comes with one container.
    Delivered {
        config_maps: Vec<ConfigMap>,
        projectedvolumemaps: Vec<ConfigMap>,
        projectedvolumesmaps: Vec<ConfigMap>,
        secrets: Vec<Secret>,
    }
    /// A ConfigMap.
    ConfigMap { metadata: Meta, data: BTreeMap<String, String>, binary_data: BTreeMap<String, String>, }
    /// A Secret; `data` is base64.
    Secret { metadata: Meta, data: BTreeMap<String, String>, string_data: BTreeMap<String, String>, }
    /// ObjectMeta.
    Meta {
        name: String,
        namespace: String,
        uid: String,
        labels: BTreeMap<String, String>,
        annotations: BTreeMap<String, String>,
    }
    /// v1.Pod.
    Pod { metadata: Meta, spec: Spec, status: PodStatus, }
    /// What `fieldRef` may ask of the status.
    PodStatus {
        #[serde(rename = "podIP")]
        pod_ip: String,
        #[serde(rename = "hostIP")]
        host_ip: String,
    }
    /// v1.PodSpec.
    Spec {
        init_containers: Vec<Container>,
        containers: Vec<Container>,
        volumes: Vec<Volume>,
        restart_policy: String,
        node_name: String,
        service_account_name: String,
        hostname: String,
        active_deadline_seconds: Option<u64>,
        termination_grace_period_seconds: Option<u64>,
    }
    /// v1.Container.
    Container {
        name: String,
        image: String,
        command: Vec<String>,
        args: Vec<String>,
        env: Vec<EnvVar>,
        env_from: Vec<EnvFrom>,
        working_dir: String,
        volume_mounts: Vec<VolumeMount>,
        lifecycle: Lifecycle,
        resources: Resources,
        restart_policy: String,
    }
    /// v1.EnvVar.
    EnvVar { name: String, value: String, value_from: Option<EnvSource>, }
    /// Where a value comes from.
    EnvSource {
        field_ref: Option<FieldRef>,
        resource_field_ref: Option<ResourceFieldRef>,
        config_map_key_ref: Option<KeyRef>,
        secret_key_ref: Option<KeyRef>,
    }
    /// A field of the pod.
    FieldRef { field_path: String, }
    /// A resource of a container.
    ResourceFieldRef { container_name: String, resource: String, divisor: String, }
    /// A key of a ConfigMap or a Secret.
    KeyRef { name: String, key: String, optional: bool, }
    /// Variables of a whole ConfigMap or Secret.
    EnvFrom { prefix: String, config_map_ref: Option<NameRef>, secret_ref: Option<NameRef>, }
    /// A ConfigMap or Secret by name.
    NameRef { name: String, optional: bool, }
    /// v1.VolumeMount.
    VolumeMount { name: String, mount_path: String, sub_path: String, sub_path_expr: String, read_only: bool, }
    /// Hooks.
    Lifecycle { post_start: Option<Hook>, pre_stop: Option<Hook>, }
    /// One hook: exactly one of its fields.
    Hook {
        exec: Option<Exec>,
        sleep: Option<Sleep>,
        http_get: Option<serde::de::IgnoredAny>,
        tcp_socket: Option<serde::de::IgnoredAny>,
    }
    /// A command.
    Exec { command: Vec<String>, }
    /// A pause.
    Sleep { seconds: u64, }
    /// What a container asks for and may use.
    Resources { limits: BTreeMap<String, Quantity>, requests: BTreeMap<String, Quantity>, }
    /// Which keys become which files.
    KeyToPath { key: String, path: String, mode: Option<u32>, }
    /// A volume of a ConfigMap.
    ConfigMapVolume { name: String, items: Vec<KeyToPath>, default_mode: Option<u32>, optional: bool, }
    /// A volume of a Secret.
    SecretVolume { secret_name: String, items: Vec<KeyToPath>, default_mode: Option<u32>, optional: bool, }
    /// Files about the pod.
    DownwardVolume { items: Vec<DownwardFile>, default_mode: Option<u32>, }
    /// One of them.
    DownwardFile {
        path: String,
        field_ref: Option<FieldRef>,
        resource_field_ref: Option<ResourceFieldRef>,
        mode: Option<u32>,
    }
    /// Several sources in one directory.
    ProjectedVolume { sources: Vec<Projection>, default_mode: Option<u32>, }
    /// One of them.
    Projection {
        config_map: Option<ProjectedKeys>,
        secret: Option<ProjectedKeys>,
        #[serde(rename = "downwardAPI")]
        downward_api: Option<DownwardVolume>,
        service_account_token: Option<TokenFile>,
    }
    /// Keys of a ConfigMap or a Secret.
    ProjectedKeys { name: String, items: Vec<KeyToPath>, optional: bool, }
    /// Where the token goes.
    TokenFile { path: String, }
}

/// A quantity, which YAML may give as a number.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Quantity {
    /// As Kubernetes writes it.
    Text(String),
    /// A plain number.
    Number(serde_json::Number),
}

impl std::fmt::Display for Quantity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// v1.Volume: a name, and one field that says its kind.
#[derive(Clone, Default, Deserialize)]
pub(crate) struct Volume {
    /// Its name.
    pub(crate) name: String,
    #[serde(flatten)]
    sources: BTreeMap<String, serde_json::Value>,
}

/// What a volume is made of.
pub(crate) enum Source {
    /// A ConfigMap.
    ConfigMap(ConfigMapVolume),
    /// A Secret.
    Secret(SecretVolume),
    /// Several sources.
    Projected(ProjectedVolume),
    /// Files about the pod.
    Downward(DownwardVolume),
    /// An empty directory.
    Empty,
    /// A kind that is not supported.
    Other(String),
}

impl Volume {
    /// Its source.
    ///
    /// # Errors
    /// When the source does not read as its kind.
    pub(crate) fn source(&self) -> Result<Source, serde_json::Error> {
        let mut present = self.sources.iter().filter(|(_, value)| !value.is_null());
        // Kubernetes reads a volume without any source as an emptyDir.
        let Some((kind, value)) = present.next() else { return Ok(Source::Empty) };
        let value = value.clone();
        Ok(match kind.as_str() {
            "configMap" => Source::ConfigMap(serde_json::from_value(value)?),
            "secret" => Source::Secret(serde_json::from_value(value)?),
            "projected" => Source::Projected(serde_json::from_value(value)?),
            "downwardAPI" => Source::Downward(serde_json::from_value(value)?),
            "emptyDir" => Source::Empty,
            other => Source::Other(other.to_owned()),
        })
    }
}
