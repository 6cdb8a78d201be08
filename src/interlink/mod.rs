//! What interLink's REST says (interlink-hq/interLink 0.6): its bodies as types, what makes one good, and how
//! a pod's state becomes a status that the virtual kubelet reads rightly.
//!
//! Knows JSON and wire's pod types; knows no HTTP, clock, socket or runtime, and decides nothing about where a
//! pod goes. Learn [`Pod`] (kept whole, with typed views) and [`complete()`] (state in, [`PodStatus`] out).
//!
//! Bodies hold secrets: `Debug` of these types never prints an environment value or what a ConfigMap or Secret
//! holds, and no error repeats a value of a body.

mod body;
mod complete;
mod config;
mod create;
mod json;
mod lenient;
mod logs;
mod names;
mod node;
mod payload;
mod pod;
#[cfg(test)]
mod quick_tests;
mod scan;
mod spec;
mod state;
mod status;
mod time;
mod volume;

pub use body::{BadBody, Body, parse, read};
pub use complete::complete;
pub use config::{BadKey, ConfigMap, Secret};
pub use create::{BadCreate, CreateStruct, PodCreateRequests, validate_create};
pub use json::Json;
pub use logs::{BadLogs, LogOpts, LogStruct};
pub use names::{is_label, is_subdomain, is_uid};
pub use node::{PingAccelerator, PingResources, PingResponse, PingTaint};
pub use payload::{RetrievedContainer, RetrievedPodData, surely_holds};
pub use pod::{Metadata, Pod};
pub use spec::{
    Container, EnvFrom, EnvVar, EnvVarSource, ExecAction, FieldRef, HookHandler, KeyRef, Lifecycle,
    ObjectRef, PodSpec, ResourceFieldRef, Resources, RestartPolicy, SleepAction,
};
pub use state::{Phase, lost, phase};
pub use status::{ContainerStatus, PodStatus, Running, State, Terminated, Waiting};
pub use time::{format_time, parse_time};
pub use volume::{
    ConfigMapSource, DownwardApiItem, DownwardApiSource, EmptyDirSource, HostPathSource, KeyToPath,
    ProjectedSource, Projection, SecretSource, TokenSource, Volume, VolumeMount, VolumeSource,
};
