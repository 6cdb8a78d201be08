//! Create: from what the virtual kubelet sends to what a plugin gets.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    Body, ConfigMap, Container, Pod, RetrievedContainer, RetrievedPodData, Secret, VolumeSource, body::once,
    is_label, is_subdomain, is_uid, lenient, payload::no_job_config, scan,
};

/// POST /create, as the virtual kubelet sends it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PodCreateRequests {
    /// The pod.
    pub pod: Pod,
    /// ConfigMaps that it names.
    #[serde(default, deserialize_with = "lenient::null", serialize_with = "lenient::nil")]
    pub configmaps: Vec<ConfigMap>,
    /// Secrets that it names.
    #[serde(default, deserialize_with = "lenient::null", serialize_with = "lenient::nil")]
    pub secrets: Vec<Secret>,
    /// Projected volumes, resolved: one map a volume, named like it.
    #[serde(default, deserialize_with = "lenient::null", serialize_with = "lenient::nil")]
    pub projectedvolumesmaps: Vec<ConfigMap>,
    /// Where a job script is built; empty for nowhere.
    #[serde(default, rename = "jobscriptURL", deserialize_with = "lenient::null")]
    pub jobscript_url: String,
}

/// The answer to a create.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateStruct {
    /// The pod's uid.
    #[serde(rename = "PodUID")]
    pub pod_uid: String,
    /// The plugin's name for the work; may be empty.
    #[serde(rename = "PodJID")]
    pub pod_jid: String,
}

impl Body for PodCreateRequests {
    fn quick(text: &str, at: usize) -> Option<(Self, usize)> {
        let (mut pod, mut configmaps, mut secrets, mut projected, mut url) = (None, None, None, None, None);
        let end = scan::object(text.as_bytes(), at, |key, at| match key {
            b"pod" => once(&mut pod, text, at),
            b"configmaps" => once(&mut configmaps, text, at),
            b"secrets" => once(&mut secrets, text, at),
            b"projectedvolumesmaps" => once(&mut projected, text, at),
            b"jobscriptURL" => once(&mut url, text, at),
            _ => scan::value(text.as_bytes(), at),
        })?;
        let request = Self {
            pod: pod?,
            configmaps: configmaps.flatten().unwrap_or_default(),
            secrets: secrets.flatten().unwrap_or_default(),
            projectedvolumesmaps: projected.flatten().unwrap_or_default(),
            jobscript_url: url.flatten().unwrap_or_default(),
        };
        Some((request, end))
    }
}

impl PodCreateRequests {
    /// A request for this pod alone.
    pub fn new(pod: Pod) -> Self {
        Self {
            pod,
            configmaps: Vec::new(),
            secrets: Vec::new(),
            projectedvolumesmaps: Vec::new(),
            jobscript_url: String::new(),
        }
    }

    /// Sorts what the pod names to the containers that mount it. A name without its object is left out, as
    /// interLink does; the backend knows whether it was optional.
    pub fn retrieve(&self) -> RetrievedPodData {
        let spec = self.pod.spec();
        let containers = spec.init_containers.iter().chain(&spec.containers);
        // A volume that nobody mounts travels with the first container: a backend may offer it in another way.
        let mounted = |name: &str| {
            containers
                .clone()
                .any(|c| c.volume_mounts.iter().any(|m| m.name == name))
        };
        let unmounted: Vec<&str> = spec
            .volumes
            .iter()
            .map(|volume| volume.name.as_str())
            .filter(|name| !mounted(name))
            .collect();
        RetrievedPodData {
            pod: self.pod.clone(),
            container: containers
                .enumerate()
                .map(|(n, container)| {
                    self.retrieve_container(container, if n == 0 { &unmounted } else { &[] })
                })
                .collect(),
            job_config: no_job_config(),
            job_script: String::new(),
        }
    }

    fn retrieve_container(&self, container: &Container, unmounted: &[&str]) -> RetrievedContainer {
        let mut out = RetrievedContainer {
            name: container.name.clone(),
            ..Default::default()
        };
        let mounts = container.volume_mounts.iter().map(|mount| mount.name.as_str());
        for name in mounts.chain(unmounted.iter().copied()) {
            let Some(volume) = self.pod.spec().volumes.iter().find(|volume| volume.name == name) else {
                continue;
            };
            match &volume.source {
                VolumeSource::ConfigMap(source) => {
                    out.config_maps.extend(named(&self.configmaps, &source.name))
                }
                VolumeSource::Projected(_) => {
                    out.projected_volume_maps
                        .extend(named(&self.projectedvolumesmaps, &volume.name));
                }
                VolumeSource::Secret(source) => {
                    out.secrets.extend(
                        self.secrets
                            .iter()
                            .find(|secret| secret.name() == source.secret_name)
                            .cloned(),
                    );
                }
                _ => {}
            }
        }
        out
    }
}

fn named(maps: &[ConfigMap], name: &str) -> Option<ConfigMap> {
    maps.iter().find(|map| map.name() == name).cloned()
}

/// Why a create is refused before any plugin sees it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCreate {
    /// The uid is not a lower-case UUID.
    #[error("metadata.uid {0:?} is not a lower-case UUID; give the pod the uid that Kubernetes gave it")]
    Uid(String),
    /// The namespace is not a label.
    #[error("metadata.namespace {0:?} is not an RFC 1123 label (a-z, 0-9, '-', at most 63 characters)")]
    Namespace(String),
    /// The name is not a subdomain.
    #[error("metadata.name {0:?} is not an RFC 1123 subdomain (a-z, 0-9, '-', '.', at most 253 characters)")]
    Name(String),
    /// There is nothing to run.
    #[error("spec.containers is empty; a pod needs at least one container")]
    NoContainer,
    /// A container name is not a label.
    #[error("container name {0:?} is not an RFC 1123 label (a-z, 0-9, '-', at most 63 characters)")]
    ContainerName(String),
    /// Two containers share a name.
    #[error("container name {0:?} is used twice; names are unique over containers and initContainers")]
    Duplicate(String),
}

/// Checks what every later call relies on: the names, which become file names and stream addresses.
///
/// # Errors
/// The first thing that is wrong; the text says what to mend.
pub fn validate_create(request: &PodCreateRequests) -> Result<(), BadCreate> {
    let pod = &request.pod;
    if !is_uid(pod.uid()) {
        return Err(BadCreate::Uid(cut(pod.uid())));
    }
    if !is_label(pod.namespace()) {
        return Err(BadCreate::Namespace(cut(pod.namespace())));
    }
    if !is_subdomain(pod.name()) {
        return Err(BadCreate::Name(cut(pod.name())));
    }
    let spec = pod.spec();
    if spec.containers.is_empty() {
        return Err(BadCreate::NoContainer);
    }
    let mut seen = BTreeSet::new();
    for container in spec.init_containers.iter().chain(&spec.containers) {
        if !is_label(&container.name) {
            return Err(BadCreate::ContainerName(cut(&container.name)));
        }
        if !seen.insert(&container.name) {
            return Err(BadCreate::Duplicate(container.name.clone()));
        }
    }
    Ok(())
}

fn cut(name: &str) -> String {
    name.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;
    use crate::interlink::{parse, read};

    fn request() -> PodCreateRequests {
        parse(include_bytes!("../../tests/payloads/create.vk.json")).unwrap()
    }

    fn with(pointer: &str, value: Value) -> PodCreateRequests {
        let mut body = serde_json::to_value(request()).unwrap();
        *body.pointer_mut(pointer).unwrap() = value;
        serde_json::from_value(body).unwrap()
    }

    #[test]
    fn what_a_plugin_gets_has_interlinks_shape() {
        let expected: Value =
            serde_json::from_slice(include_bytes!("../../tests/payloads/create.plugin.json")).unwrap();
        assert_eq!(serde_json::to_value(request().retrieve()).unwrap(), expected);
    }

    #[test]
    fn a_volume_that_nobody_mounts_travels_with_the_first_container() {
        let body = json!({
            "pod": {
                "metadata": {"name": "n", "namespace": "ns", "uid": "3f0c9d0e-8f0b-4c53-9e1b-5d2f9a4b7c11"},
                "spec": {
                    "initContainers": [{"name": "prepare"}],
                    "containers": [{"name": "main"}],
                    "volumes": [
                        {"name": "settings", "configMap": {"name": "cm"}},
                        {"name": "keys", "secret": {"secretName": "s"}},
                    ],
                },
            },
            "configmaps": [{"metadata": {"name": "cm"}, "data": {"a": "b"}}],
            "secrets": [{"metadata": {"name": "s"}, "data": {}}],
        });
        let request: PodCreateRequests = serde_json::from_value(body).unwrap();
        let containers = request.retrieve().container;
        assert_eq!(
            (containers[0].config_maps.len(), containers[0].secrets.len()),
            (1, 1)
        );
        assert_eq!(
            (containers[1].config_maps.len(), containers[1].secrets.len()),
            (0, 0)
        );
    }

    #[test]
    fn what_the_virtual_kubelet_writes_is_read_the_quick_way_and_says_the_same() {
        for body in [
            include_str!("../../tests/payloads/create.vk.json"),
            include_str!("../../tests/payloads/golden/vk_create_req.microservice.json"),
        ] {
            let compact = serde_json::from_str::<Value>(body).unwrap().to_string();
            for body in [body, &compact] {
                let quick = scan::whole(body.as_bytes(), |at| PodCreateRequests::quick(body, at));
                let parsed: PodCreateRequests = parse(body.as_bytes()).unwrap();
                assert!(quick.is_some_and(|quick| quick == parsed));
            }
        }
    }

    #[test]
    fn what_is_not_plain_is_read_the_long_way() {
        let body = |inside: &str| {
            format!(
                r#"{{"pod": {{"metadata": {{"name": "p"}}, "spec": {{}}}}, {inside} "jobscriptURL": null}}"#
            )
        };
        for (inside, map) in [
            (r#""configmaps": null,"#, None),
            (r#""config\\u006daps": [{"metadata": {"name": "m"}}],"#, None),
            (r#""config\u006daps": [{"metadata": {"name": "m"}}],"#, Some("m")),
            (
                r#""configmaps": [{"metadata": {"name": "\u006d"}, "data": {"\u0061": "b"}}],"#,
                Some("m"),
            ),
            (r#""configmaps": [{"metadata": null}],"#, Some("")),
            (
                r#""configmaps": [{"metadata": {"name": null, "namespace": null}, "data": null}],"#,
                Some(""),
            ),
            (
                r#""configmaps": [{"metadata": {"name": "a", "name": "m"}}],"#,
                Some("m"),
            ),
            (
                r#""configmaps": [{"metadata": {"name": "a"}, "metadata": {"name": "m"}}],"#,
                Some("m"),
            ),
        ] {
            let create: PodCreateRequests = read(body(inside).as_bytes()).unwrap();
            assert_eq!(create.configmaps.first().map(ConfigMap::name), map, "{inside}");
        }
        for bad in [
            r#""configmaps": {},"#,
            r#""configmaps": [3],"#,
            r#""configmaps": [null],"#,
            r#""configmaps": [{"data": {"a": null}}],"#,
            r#""configmaps": [{"data": {"a": 1}}],"#,
            r#""configmaps": [{"binaryData": []}],"#,
            r#""configmaps": [{"metadata": {"name": 1}}],"#,
            r#""configmaps": [{"metadata": {"namespace": {}}}],"#,
            r#""secrets": [{"stringData": {"a": []}}],"#,
            r#""secrets": [{"x": "\ud800"}],"#,
            r#""jobscriptURL": "","#,
            r#""pod": {},"#,
        ] {
            let parsed = parse::<PodCreateRequests>(body(bad).as_bytes());
            assert!(parsed.is_err() && read(body(bad).as_bytes()) == parsed, "{bad}");
        }
    }

    #[test]
    fn the_plugin_form_is_read_back() {
        let retrieved = request().retrieve();
        let again: RetrievedPodData = parse(&serde_json::to_vec(&retrieved).unwrap()).unwrap();
        assert_eq!(again, retrieved);
    }

    #[test]
    fn a_create_without_objects_has_null_lists() {
        let body = serde_json::to_value(PodCreateRequests::new(request().pod)).unwrap();
        assert!(body["configmaps"].is_null() && body["secrets"].is_null());
        assert_eq!(body["jobscriptURL"], "");
        let read: PodCreateRequests = serde_json::from_value(body).unwrap();
        assert!(read.configmaps.is_empty());
    }

    #[test]
    fn an_object_that_was_not_sent_is_left_out() {
        let mut request = request();
        request.configmaps.clear();
        assert!(
            request
                .retrieve()
                .container
                .iter()
                .all(|container| container.config_maps.is_empty())
        );
    }

    #[test]
    fn debug_of_a_create_shows_no_secret() {
        let shown = format!("{:?} {:?}", request(), request().retrieve());
        assert!(
            !shown.contains("c2VzYW1l") && !shown.contains("eyJhbGciOi"),
            "{shown}"
        );
    }

    #[test]
    fn a_good_create_passes() {
        assert_eq!(validate_create(&request()), Ok(()));
    }

    #[test]
    fn names_that_could_harm_are_refused_with_their_field() {
        let cases = [
            ("/pod/metadata/uid", "../../etc/passwd", "metadata.uid"),
            (
                "/pod/metadata/uid",
                "0B6A2F10-51C4-4C7E-9D0A-7E6F0A1B2C3D",
                "lower-case UUID",
            ),
            ("/pod/metadata/namespace", "a.b", "metadata.namespace"),
            ("/pod/metadata/name", "a/b", "metadata.name"),
            ("/pod/spec/containers/0/name", "..", "container name"),
            ("/pod/spec/containers/0/name", "fetch", "used twice"),
        ];
        for (pointer, value, text) in cases {
            let error = validate_create(&with(pointer, value.into()))
                .unwrap_err()
                .to_string();
            assert!(error.contains(text), "{pointer}: {error}");
        }
        let error = validate_create(&with("/pod/spec/containers", json!([]))).unwrap_err();
        assert_eq!(error, BadCreate::NoContainer);
    }
}
