//! Typed views of a pod spec: what a backend needs to run it. Fields that are not listed are ignored here and
//! kept in [`super::Pod::json`].

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;
use serde_json::Value;

use super::{Volume, VolumeMount, lenient};

/// Seconds of grace when a pod does not say.
const DEFAULT_GRACE: u64 = 30;

/// v1.PodSpec.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct PodSpec {
    /// The main containers.
    #[serde(deserialize_with = "lenient::null")]
    pub containers: Vec<Container>,
    /// Init containers and native sidecars, in order.
    #[serde(deserialize_with = "lenient::null")]
    pub init_containers: Vec<Container>,
    /// Volumes.
    #[serde(deserialize_with = "lenient::null")]
    pub volumes: Vec<Volume>,
    /// When an ended container is started again.
    #[serde(deserialize_with = "lenient::null")]
    pub restart_policy: RestartPolicy,
    /// Seconds between SIGTERM and SIGKILL; see [`PodSpec::grace_seconds`].
    pub termination_grace_period_seconds: Option<u64>,
    /// Seconds after which the pod is ended.
    pub active_deadline_seconds: Option<u64>,
    /// The node that the pod is bound to.
    #[serde(deserialize_with = "lenient::null")]
    pub node_name: String,
    /// Host name inside the pod.
    #[serde(deserialize_with = "lenient::null")]
    pub hostname: String,
    /// Service account.
    #[serde(deserialize_with = "lenient::null")]
    pub service_account_name: String,
}

impl PodSpec {
    /// Seconds between SIGTERM and SIGKILL: Kubernetes' 30 when the pod does not say.
    pub fn grace_seconds(&self) -> u64 {
        self.termination_grace_period_seconds.unwrap_or(DEFAULT_GRACE)
    }
}

/// When an ended container is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum RestartPolicy {
    /// Always.
    #[default]
    Always,
    /// After a failure.
    OnFailure,
    /// Never.
    Never,
}

/// v1.Container.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Container {
    /// Name, unique in the pod.
    #[serde(deserialize_with = "lenient::null")]
    pub name: String,
    /// Image.
    #[serde(deserialize_with = "lenient::null")]
    pub image: String,
    /// What to run instead of the image's entrypoint.
    #[serde(deserialize_with = "lenient::null")]
    pub command: Vec<String>,
    /// Its arguments.
    #[serde(deserialize_with = "lenient::null")]
    pub args: Vec<String>,
    /// Where to run it; empty means the image's choice.
    #[serde(deserialize_with = "lenient::null")]
    pub working_dir: String,
    /// Environment.
    #[serde(deserialize_with = "lenient::null")]
    pub env: Vec<EnvVar>,
    /// Environment from whole ConfigMaps and Secrets; [`Container::env`] wins.
    #[serde(deserialize_with = "lenient::null")]
    pub env_from: Vec<EnvFrom>,
    /// Where volumes appear.
    #[serde(deserialize_with = "lenient::null")]
    pub volume_mounts: Vec<VolumeMount>,
    /// Requests and limits.
    #[serde(deserialize_with = "lenient::null")]
    pub resources: Resources,
    /// Hooks.
    pub lifecycle: Option<Lifecycle>,
    /// Its own policy; `Always` on an init container makes it a sidecar.
    pub restart_policy: Option<RestartPolicy>,
}

impl Container {
    /// Whether this init container is a native sidecar: it goes on running beside the main containers.
    /// Not meaningful for a main container.
    pub fn is_sidecar(&self) -> bool {
        self.restart_policy == Some(RestartPolicy::Always)
    }
}

impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.env.iter().map(|var| var.name.as_str()).collect();
        f.debug_struct("Container")
            .field("name", &self.name)
            .field("image", &self.image)
            .field("env", &names)
            .finish_non_exhaustive()
    }
}

/// v1.EnvVar.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvVar {
    /// Name.
    #[serde(deserialize_with = "lenient::null")]
    pub name: String,
    /// Value, `$(VAR)` not yet replaced.
    #[serde(deserialize_with = "lenient::null")]
    pub value: String,
    /// Where the value comes from instead.
    pub value_from: Option<EnvVarSource>,
}

impl fmt::Debug for EnvVar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvVar")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// v1.EnvVarSource: one of these.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvVarSource {
    /// A field of the pod.
    pub field_ref: Option<FieldRef>,
    /// A request or limit of a container.
    pub resource_field_ref: Option<ResourceFieldRef>,
    /// A key of a ConfigMap.
    pub config_map_key_ref: Option<KeyRef>,
    /// A key of a Secret.
    pub secret_key_ref: Option<KeyRef>,
}

/// A field of the pod, for example `metadata.name`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FieldRef {
    /// The path.
    #[serde(deserialize_with = "lenient::null")]
    pub field_path: String,
}

/// A request or limit of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceFieldRef {
    /// Whose; empty means this container.
    #[serde(deserialize_with = "lenient::null")]
    pub container_name: String,
    /// For example `limits.memory`.
    #[serde(deserialize_with = "lenient::null")]
    pub resource: String,
    /// The unit of the answer; empty and `0` mean 1.
    #[serde(deserialize_with = "lenient::quantity")]
    pub divisor: String,
}

/// One key of a ConfigMap or Secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeyRef {
    /// Name of the object.
    #[serde(deserialize_with = "lenient::null")]
    pub name: String,
    /// Its key.
    #[serde(deserialize_with = "lenient::null")]
    pub key: String,
    /// Whether it may be missing.
    #[serde(deserialize_with = "lenient::null")]
    pub optional: bool,
}

/// v1.EnvFromSource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvFrom {
    /// Put before every key.
    #[serde(deserialize_with = "lenient::null")]
    pub prefix: String,
    /// A ConfigMap.
    pub config_map_ref: Option<ObjectRef>,
    /// A Secret.
    pub secret_ref: Option<ObjectRef>,
}

/// A whole ConfigMap or Secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectRef {
    /// Name of the object.
    #[serde(deserialize_with = "lenient::null")]
    pub name: String,
    /// Whether it may be missing.
    #[serde(deserialize_with = "lenient::null")]
    pub optional: bool,
}

/// v1.ResourceRequirements: quantities by resource name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// The most it may use.
    #[serde(deserialize_with = "lenient::quantities")]
    pub limits: BTreeMap<String, String>,
    /// What it is sure to get.
    #[serde(deserialize_with = "lenient::quantities")]
    pub requests: BTreeMap<String, String>,
}

/// v1.Lifecycle.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Lifecycle {
    /// Run right after the start.
    pub post_start: Option<HookHandler>,
    /// Run before SIGTERM, within the grace period.
    pub pre_stop: Option<HookHandler>,
}

/// v1.LifecycleHandler: one of these.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HookHandler {
    /// A command in the container.
    pub exec: Option<ExecAction>,
    /// A pause.
    pub sleep: Option<SleepAction>,
    /// An HTTP request, as it came.
    pub http_get: Option<Value>,
    /// A TCP connect, as it came.
    pub tcp_socket: Option<Value>,
}

/// v1.ExecAction.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ExecAction {
    /// The command and its arguments; no shell.
    #[serde(deserialize_with = "lenient::null")]
    pub command: Vec<String>,
}

impl fmt::Debug for ExecAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecAction").finish_non_exhaustive()
    }
}

/// v1.SleepAction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SleepAction {
    /// How long.
    pub seconds: u64,
}
