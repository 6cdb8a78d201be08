//! A v1.Pod, kept whole, with typed views of what is read from it.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::Value;

use super::{BadBody, Body, Json, PodSpec, body, lenient, parse_time, scan};
use crate::wire::{PodRef, Timestamp};

/// A v1.Pod. What came in goes out again, fields that nobody here knows included. Cheap to clone.
#[derive(Clone, PartialEq)]
pub struct Pod {
    json: Json,
    views: Arc<Views>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
struct Views {
    #[serde(default, deserialize_with = "lenient::null")]
    metadata: Metadata,
    #[serde(default, deserialize_with = "lenient::null")]
    spec: PodSpec,
}

/// What is read of a pod's metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Metadata {
    /// Kubernetes uid.
    #[serde(deserialize_with = "lenient::null")]
    pub uid: String,
    /// Namespace.
    #[serde(deserialize_with = "lenient::null")]
    pub namespace: String,
    /// Name.
    #[serde(deserialize_with = "lenient::null")]
    pub name: String,
    /// Annotations.
    #[serde(deserialize_with = "lenient::null")]
    pub annotations: BTreeMap<String, String>,
    /// Labels.
    #[serde(deserialize_with = "lenient::null")]
    pub labels: BTreeMap<String, String>,
    /// RFC 3339.
    pub creation_timestamp: Option<String>,
    /// RFC 3339; set while the pod is being deleted.
    pub deletion_timestamp: Option<String>,
    /// Seconds that the deletion allows; set with `deletion_timestamp`.
    pub deletion_grace_period_seconds: Option<u64>,
}

impl Pod {
    /// Takes a pod from JSON that was already read.
    ///
    /// # Errors
    /// [`BadBody`] without line and column when a field that is read has the wrong type.
    pub fn from_value(json: Value) -> Result<Self, BadBody> {
        Self::of(json.into())
    }

    fn of(json: Json) -> Result<Self, BadBody> {
        let (json, views) = json.views::<Views>("Pod")?;
        Ok(Self {
            json,
            views: views.into(),
        })
    }

    /// The whole pod.
    pub fn json(&self) -> &Value {
        self.json.tree()
    }

    /// The whole pod as its text.
    pub fn text(&self) -> &str {
        self.json.text()
    }

    /// Kubernetes uid; empty when the pod has none.
    pub fn uid(&self) -> &str {
        &self.views.metadata.uid
    }

    /// Namespace; empty when the pod has none.
    pub fn namespace(&self) -> &str {
        &self.views.metadata.namespace
    }

    /// Name; empty when the pod has none.
    pub fn name(&self) -> &str {
        &self.views.metadata.name
    }

    /// The reference that names this pod on the link.
    pub fn pod_ref(&self) -> PodRef {
        PodRef::new(self.uid(), self.namespace(), self.name())
    }

    /// All that is read of the metadata.
    pub fn metadata(&self) -> &Metadata {
        &self.views.metadata
    }

    /// Annotations.
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        &self.views.metadata.annotations
    }

    /// Labels.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.views.metadata.labels
    }

    /// `spec.nodeName`; empty when the pod is not bound.
    pub fn node_name(&self) -> &str {
        &self.views.spec.node_name
    }

    /// When the pod was created, if it says so.
    pub fn creation(&self) -> Option<Timestamp> {
        parse_time(self.views.metadata.creation_timestamp.as_deref()?)
    }

    /// The spec, typed.
    pub fn spec(&self) -> &PodSpec {
        &self.views.spec
    }

    /// Seconds between SIGTERM and SIGKILL: those of a deletion under way, else those of the spec.
    pub fn grace_seconds(&self) -> u64 {
        self.views
            .metadata
            .deletion_grace_period_seconds
            .unwrap_or_else(|| self.spec().grace_seconds())
    }

    /// Names in the annotation that keeps containers from being offloaded: the virtual kubelet lists them, but
    /// leaves them out of the create.
    pub(super) fn kept_back(&self) -> impl Iterator<Item = &str> {
        let names = self.annotations().get("interlink.eu/disable-offload-containers");
        names
            .map(String::as_str)
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
    }
}

impl Body for Pod {
    fn quick(text: &str, at: usize) -> Option<(Self, usize)> {
        let (mut metadata, mut spec) = (None, None);
        let end = scan::object(text.as_bytes(), at, |key, at| {
            let end = scan::value(text.as_bytes(), at)?;
            match key {
                b"metadata" => typed(&mut metadata, &text[at..end])?,
                b"spec" => typed(&mut spec, &text[at..end])?,
                _ => {}
            }
            Some(end)
        })?;
        let views = Views {
            metadata: metadata.unwrap_or_default(),
            spec: spec.unwrap_or_default(),
        };
        let pod = Self {
            json: Json::plain(&text[at..end]),
            views: views.into(),
        };
        Some((pod, end))
    }
}

/// Reads a field that must not come twice; null is nothing.
fn typed<T: Default + DeserializeOwned>(field: &mut Option<T>, text: &str) -> Option<()> {
    let value = serde_json::from_str::<Option<T>>(text).ok()?.unwrap_or_default();
    field.replace(value).is_none().then_some(())
}

impl<'de> Deserialize<'de> for Pod {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Json::deserialize(deserializer)?;
        Self::of(json).map_err(|bad| serde::de::Error::custom(body::inner_error(&bad)))
    }
}

impl Serialize for Pod {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

impl fmt::Debug for Pod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pod({})", self.pod_ref())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;
    use crate::interlink::{RestartPolicy, VolumeSource, parse, read};

    fn reading_job() -> Pod {
        parse(include_bytes!("../../tests/payloads/pod.volumes.json")).unwrap()
    }

    #[test]
    fn a_pod_goes_out_as_it_came_in() {
        let body = include_bytes!("../../tests/payloads/pod.volumes.json");
        let before: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(serde_json::to_value(reading_job()).unwrap(), before);
    }

    #[test]
    fn a_pod_goes_out_byte_for_byte() {
        let text = r#"{ "spec": {"nodeName": "b", "x": 1.0}, "metadata" : {"name": "\u0061"} }"#;
        for pod in [
            parse::<Pod>(text.as_bytes()).unwrap(),
            read(text.as_bytes()).unwrap(),
        ] {
            assert_eq!((pod.name(), pod.text()), ("a", text));
            assert_eq!(serde_json::to_string(&pod).unwrap(), text);
        }
    }

    #[test]
    fn a_pod_is_read_quickly_or_not_and_says_the_same() {
        let whole = include_str!("../../tests/payloads/pod.volumes.json");
        for (text, quick) in [
            (whole, true),
            (" {} ", true),
            (r#"{"metadata": null, "spec": null, "status": [1]}"#, true),
            (r#"{"metadata": {"uid": "x"}, "metadata": {"uid": "y"}}"#, false),
            (r#"{"spec": {}, "spec": {"nodeName": "n"}}"#, false),
            (r#"{"spec": {"nodeName": "a", "nodeName": "n"}}"#, false),
            (r#"{"sp\u0065c": {"nodeName": "n"}}"#, false),
            (r#"{"status": 1e3}"#, false),
            (r#"{"spec": {"volumes": 3}}"#, false),
            (r#"{"status": "\udc00"}"#, false),
            (r#"{"spec": {}"#, false),
            ("null", false),
            ("[]", false),
        ] {
            let quickly = scan::whole(text.as_bytes(), |at| Pod::quick(text, at));
            assert_eq!(quickly.is_some(), quick, "{text}");
            let (read, parsed) = (read::<Pod>(text.as_bytes()), parse::<Pod>(text.as_bytes()));
            assert!(
                read == parsed && !quickly.is_some_and(|pod| parsed != Ok(pod)),
                "{text}"
            );
        }
    }

    #[test]
    fn of_a_field_that_comes_twice_the_last_one_counts_and_goes_on_alone() {
        let bodies = [
            (
                r#"{"metadata": {"uid": "x", "uid": "y"}, "a": 1}"#,
                r#"{"a":1,"metadata":{"uid":"y"}}"#,
            ),
            (
                r#"{"metadata": {"uid": "x"}, "metadata": {"uid": "y"}}"#,
                r#"{"metadata":{"uid":"y"}}"#,
            ),
            (
                r#"{"metadata": {"uid": "y"}, "spec": {"volumes": [{"name": "v", "secret": {"secretName": "s"}, "secret": null}]}}"#,
                r#"{"metadata":{"uid":"y"},"spec":{"volumes":[{"name":"v","secret":null}]}}"#,
            ),
        ];
        for (body, told) in bodies {
            let pod: Pod = parse(body.as_bytes()).unwrap();
            assert_eq!((pod.uid(), pod.text()), ("y", told));
        }
        let kept: Pod = parse(bodies[2].0.as_bytes()).unwrap();
        assert_eq!(kept.spec().volumes[0].source.kind(), "emptyDir");
    }

    #[test]
    fn the_views_tell_what_the_pod_says() {
        let pod = reading_job();
        assert_eq!(
            pod.pod_ref().to_string(),
            "lab/reader-0 (0b6a2f10-51c4-4c7e-9d0a-7e6f0a1b2c3d)"
        );
        assert_eq!(pod.node_name(), "site-a");
        assert_eq!(pod.annotations()["towline/plugin"], "site-a");
        assert_eq!(pod.creation(), parse_time("2026-03-04T05:06:07Z"));
        let spec = pod.spec();
        assert_eq!(spec.restart_policy, RestartPolicy::OnFailure);
        assert_eq!(spec.grace_seconds(), 5);
        assert!(spec.init_containers[1].is_sidecar());
        assert!(!spec.init_containers[0].is_sidecar());
        let main = &spec.containers[0];
        assert_eq!(main.command, ["/bin/sh", "-c"]);
        assert_eq!(main.resources.limits["nvidia.com/gpu"], "1");
        assert_eq!(
            main.env[1]
                .value_from
                .as_ref()
                .unwrap()
                .field_ref
                .as_ref()
                .unwrap()
                .field_path,
            "metadata.name"
        );
        assert_eq!(main.volume_mounts[0].mount_path, "/etc/site");
        assert!(main.volume_mounts[0].read_only);
        assert_eq!(
            main.lifecycle
                .as_ref()
                .unwrap()
                .pre_stop
                .as_ref()
                .unwrap()
                .exec
                .as_ref()
                .unwrap()
                .command
                .len(),
            3
        );
        let kinds: Vec<&str> = spec.volumes.iter().map(|volume| volume.source.kind()).collect();
        let known = [
            "configMap",
            "secret",
            "emptyDir",
            "projected",
            "downwardAPI",
            "hostPath",
        ];
        assert_eq!(kinds[..6], known);
        assert_eq!(kinds[6], "nfs");
        assert!(matches!(&spec.volumes[3].source, VolumeSource::Projected(p) if p.sources.len() == 4));
    }

    #[test]
    fn null_stands_for_nothing_everywhere() {
        let pod = Pod::from_value(
            json!({"metadata": {"name": null, "annotations": null, "creationTimestamp": null},
            "spec": {"containers": [{"name": "a", "command": null, "env": null, "resources": {"limits": null},
            "volumeMounts": null, "lifecycle": null}], "initContainers": null, "volumes": null,
            "restartPolicy": null, "terminationGracePeriodSeconds": null}}),
        )
        .unwrap();
        assert_eq!(pod.name(), "");
        assert_eq!(pod.creation(), None);
        assert_eq!(pod.spec().restart_policy, RestartPolicy::Always);
        assert_eq!(pod.spec().grace_seconds(), 30);
    }

    #[test]
    fn a_pod_that_is_no_object_is_refused() {
        assert!(Pod::from_value(json!(null)).is_err());
        assert_eq!(
            Pod::from_value(json!([])).unwrap_err().what,
            "expected a Pod object"
        );
    }

    #[test]
    fn debug_shows_no_environment() {
        let shown = format!("{:?} {:?}", reading_job(), reading_job().spec());
        assert!(!shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn the_grace_of_a_deletion_wins() {
        let pod = Pod::from_value(json!({"metadata": {"deletionGracePeriodSeconds": 2},
            "spec": {"terminationGracePeriodSeconds": 60}}))
        .unwrap();
        assert_eq!(pod.grace_seconds(), 2);
    }
}
