//! From interLink's payload to what will be run: everything that can be refused is refused here, before anything
//! starts. Pure, and the same payload always gives the same plan.

mod container;
mod env;
pub(crate) mod expand;
mod facts;
mod files;
mod heed;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use bytes::Bytes;

use self::facts::Facts;
pub(crate) use self::heed::User;
use super::{machine::Kind, termination::Termination};
use crate::{
    code::{Code, reason},
    interlink::{self, BadKey, PodSpec, RestartPolicy, RetrievedContainer, RetrievedPodData, is_label},
    wire::{PodRef, Status},
};

/// What a pod will run.
pub(crate) struct Plan {
    /// Who it is.
    pub(crate) pod: PodRef,
    /// Init containers in order, then the main ones.
    pub(crate) containers: Vec<ContainerPlan>,
    /// Its volumes.
    pub(crate) volumes: Vec<VolumePlan>,
    /// Whether containers start again.
    pub(crate) policy: RestartPolicy,
    /// Between SIGTERM and SIGKILL.
    pub(crate) grace: Duration,
    /// How long it may be active, in seconds.
    pub(crate) active_seconds: Option<u64>,
    /// The manifest, for [`Plan::heed`].
    manifest: interlink::Pod,
}

/// One container.
pub(crate) struct ContainerPlan {
    /// Its name.
    pub(crate) name: String,
    /// Recorded only.
    pub(crate) image: String,
    /// What it is for.
    pub(crate) kind: Kind,
    /// Command and args, expanded.
    pub(crate) argv: Vec<String>,
    /// Its environment, expanded, without what depends on where the pod's directory is.
    pub(crate) env: Vec<(String, String)>,
    /// Where it starts.
    pub(crate) working_dir: Option<String>,
    /// Its volumes.
    pub(crate) mounts: Vec<MountPlan>,
    /// Runs after the start.
    pub(crate) post_start: Option<Vec<String>>,
    /// Runs before SIGTERM.
    pub(crate) pre_stop: Option<Vec<String>>,
    /// It may not gain rights by running another program.
    pub(crate) no_new_privileges: bool,
    /// How it may say why it ended.
    pub(crate) termination: Termination,
    /// Where it expects the file for that.
    pub(crate) termination_path: String,
}

/// One volume of a container.
pub(crate) struct MountPlan {
    /// Which volume.
    pub(crate) volume: String,
    /// A path in it; empty for the whole.
    pub(crate) sub_path: String,
    /// Where the container sees it.
    pub(crate) path: String,
    /// Not writable.
    pub(crate) read_only: bool,
}

/// One volume: a directory with these files to begin with.
pub(crate) struct VolumePlan {
    /// Its name.
    pub(crate) name: String,
    /// Its files.
    pub(crate) files: Vec<VolumeFile>,
    /// Containers may write to it.
    pub(crate) writable: bool,
}

/// One file of a volume. May hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct VolumeFile {
    /// Inside the volume.
    pub(crate) path: String,
    /// What is in it.
    pub(crate) bytes: Bytes,
    /// Permission bits.
    pub(crate) mode: u32,
}

/// What of the node a plan depends on.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// Processors, in thousandths.
    pub(crate) cpu_millis: u64,
    /// Memory, in bytes.
    pub(crate) memory: u64,
    /// Where the directories of the pods are.
    pub(crate) pods: PathBuf,
}

/// Bytes by key.
type Contents = BTreeMap<String, Bytes>;

/// What came with the pod, by name.
#[derive(Default)]
pub(crate) struct Delivery {
    config_maps: BTreeMap<String, Contents>,
    secrets: BTreeMap<String, Contents>,
    /// By the name of the volume.
    projected: BTreeMap<String, Contents>,
}

/// The pod cannot run here.
pub(crate) fn bad_pod(text: impl Into<String>) -> Status {
    Status::new(Code::FailedPrecondition, reason::BAD_POD, text).not_started()
}

impl Plan {
    /// Reads a payload.
    ///
    /// # Errors
    /// FAILED_PRECONDITION/BAD_POD or INVALID_ARGUMENT with what is wrong, where, and what to do.
    pub(crate) fn read(pod: &PodRef, payload: &[u8], site: &Site) -> Result<Self, Status> {
        if !interlink::is_uid(&pod.uid) {
            return Err(invalid("the pod's uid must be a UUID in lower case"));
        }
        if !is_label(&pod.namespace) || !interlink::is_subdomain(&pod.name) {
            return Err(invalid("the pod's namespace or name is not an RFC 1123 name"));
        }
        let payload: RetrievedPodData = interlink::parse(payload).map_err(|wrong| {
            invalid(format!(
                "the payload is not interLink's RetrievedPodData: {wrong}"
            ))
        })?;
        if !payload.pod.uid().is_empty() && payload.pod.uid() != pod.uid {
            return Err(invalid("the payload is of a pod with another uid"));
        }
        let delivery = Delivery::collect(&payload.container).map_err(|wrong| bad_pod(wrong.to_string()))?;
        let spec = payload.pod.spec();
        check_names(spec)?;
        let facts = Facts {
            pod,
            manifest: &payload.pod,
            site,
        };
        let volumes = files::volumes(&facts, &delivery)?;
        let inits = spec
            .init_containers
            .iter()
            .zip(heed::raw(&payload.pod, "initContainers"))
            .map(|(container, raw)| (container, raw, container::init_kind(container)));
        let mains = spec
            .containers
            .iter()
            .zip(heed::raw(&payload.pod, "containers"))
            .map(|(container, raw)| (container, raw, Ok(Kind::Main)));
        let mut containers = Vec::new();
        for (container, raw, kind) in inits.chain(mains) {
            let mut planned = container::plan(container, kind?, &facts, &delivery, &volumes)?;
            heed::add(&mut planned, raw).map_err(bad_pod)?;
            containers.push(planned);
        }
        Ok(Self {
            pod: pod.clone(),
            containers,
            volumes,
            policy: spec.restart_policy,
            grace: Duration::from_secs(spec.grace_seconds()),
            active_seconds: spec.active_deadline_seconds,
            manifest: payload.pod,
        })
    }

    /// What of the pod has no effect here, by the names of the fields. Asked once, at create: a pod that runs is not
    /// refused afterwards.
    ///
    /// # Errors
    /// FAILED_PRECONDITION/BAD_POD when to ignore a field would give the pod more than it asked for, or less than
    /// it needs.
    pub(crate) fn heed(&self, user: User) -> Result<Vec<String>, Status> {
        heed::check(self.manifest.json(), user).map_err(bad_pod)
    }

    /// Whether a container wants a volume at a path.
    pub(crate) fn first_mount(&self) -> Option<(&ContainerPlan, &MountPlan)> {
        self.containers
            .iter()
            .find_map(|container| Some((container, container.mounts.first()?)))
    }

    /// The container whose log is meant: the named one, or the first main one.
    ///
    /// # Errors
    /// NOT_FOUND with the names that there are.
    pub(crate) fn log_of(&self, name: &str) -> Result<&str, Status> {
        let found = self.containers.iter().find(|container| match name {
            "" => container.kind == Kind::Main,
            name => container.name == name,
        });
        found.map(|container| container.name.as_str()).ok_or_else(|| {
            let names: Vec<_> = self
                .containers
                .iter()
                .map(|container| container.name.as_str())
                .collect();
            let text = format!("the pod has no container {name:?}; it has {}", names.join(", "));
            Status::new(Code::NotFound, reason::NO_LOG, text)
        })
    }
}

fn invalid(text: impl Into<String>) -> Status {
    Status::new(Code::InvalidArgument, reason::BAD_POD, text).not_started()
}

impl Delivery {
    fn collect(containers: &[RetrievedContainer]) -> Result<Self, BadKey> {
        let mut delivery = Self::default();
        for delivered in containers {
            for map in &delivered.config_maps {
                delivery
                    .config_maps
                    .insert(map.name().to_owned(), map.contents()?);
            }
            for map in &delivered.projected_volume_maps {
                delivery.projected.insert(map.name().to_owned(), map.contents()?);
            }
            for secret in &delivered.secrets {
                delivery
                    .secrets
                    .insert(secret.name().to_owned(), secret.contents()?);
            }
        }
        Ok(delivery)
    }
}

fn check_names(spec: &PodSpec) -> Result<(), Status> {
    if spec.containers.is_empty() {
        return Err(bad_pod("the pod has no containers"));
    }
    let mut seen = std::collections::BTreeSet::new();
    for container in spec.init_containers.iter().chain(&spec.containers) {
        if !is_label(&container.name) {
            return Err(bad_pod(format!(
                "container name {:?} is not an RFC 1123 label",
                container.name
            )));
        }
        if !seen.insert(&container.name) {
            return Err(bad_pod(format!("two containers are called {}", container.name)));
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    for volume in &spec.volumes {
        if !is_label(&volume.name) {
            return Err(bad_pod(format!(
                "volume name {:?} is not an RFC 1123 label",
                volume.name
            )));
        }
        if !seen.insert(&volume.name) {
            return Err(bad_pod(format!("two volumes are called {}", volume.name)));
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
