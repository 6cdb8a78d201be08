//! What a plugin gets: the payload of a CreatePod.

use std::{fmt, sync::LazyLock};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{ConfigMap, Json, Pod, Secret, lenient, scan};

/// The payload of a CreatePod.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct RetrievedPodData {
    /// The pod.
    pub pod: Pod,
    /// What each container mounts: init containers first, in the order of the spec.
    #[serde(default, deserialize_with = "lenient::null", serialize_with = "lenient::nil")]
    pub container: Vec<RetrievedContainer>,
    /// Always there, though nothing sets it: plugins in Go and Python read it.
    #[serde(rename = "jobConfig", default = "no_job_config")]
    pub job_config: Json,
    /// The job script, when one was built.
    #[serde(
        rename = "jobScript",
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "String::is_empty"
    )]
    pub job_script: String,
}

/// What one container mounts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RetrievedContainer {
    /// Container name.
    #[serde(deserialize_with = "lenient::null")]
    pub name: String,
    /// One for each mount of a configMap volume, in the order of the mounts.
    #[serde(deserialize_with = "lenient::null", serialize_with = "lenient::nil")]
    pub config_maps: Vec<ConfigMap>,
    /// One for each mount of a projected volume. The two legs spell it differently; both are read.
    #[serde(
        rename = "projectedvolumemaps",
        alias = "projectedvolumesmaps",
        deserialize_with = "lenient::null",
        serialize_with = "lenient::nil"
    )]
    pub projected_volume_maps: Vec<ConfigMap>,
    /// One for each mount of a secret volume.
    #[serde(deserialize_with = "lenient::null", serialize_with = "lenient::nil")]
    pub secrets: Vec<Secret>,
    /// Never filled: plugins make their own.
    #[serde(deserialize_with = "lenient::null", serialize_with = "lenient::nil")]
    pub empty_dirs: Vec<String>,
}

impl RetrievedPodData {
    /// As a plugin gets it: what serde writes, put together of the texts that are there.
    ///
    /// # Errors
    /// None today: all of it can be written as JSON.
    pub fn to_payload(&self) -> Result<Bytes, serde_json::Error> {
        let maps = self.container.iter().map(RetrievedContainer::size).sum::<usize>();
        let known = self.pod.text().len() + self.job_config.text().len() + maps;
        let mut out = Vec::with_capacity(known + self.job_script.len() + 64);
        out.extend_from_slice(b"{\"pod\":");
        out.extend_from_slice(self.pod.text().as_bytes());
        out.extend_from_slice(b",\"container\":");
        list(&mut out, &self.container, |out, container| container.write(out))?;
        out.extend_from_slice(b",\"jobConfig\":");
        out.extend_from_slice(self.job_config.text().as_bytes());
        if !self.job_script.is_empty() {
            out.extend_from_slice(b",\"jobScript\":");
            serde_json::to_writer(&mut out, &self.job_script)?;
        }
        out.push(b'}');
        Ok(out.into())
    }
}

impl RetrievedContainer {
    fn write(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        let text = |out: &mut Vec<u8>, text: &str| {
            out.extend_from_slice(text.as_bytes());
            Ok(())
        };
        out.extend_from_slice(b"{\"name\":");
        serde_json::to_writer(&mut *out, &self.name)?;
        out.extend_from_slice(b",\"configMaps\":");
        list(out, &self.config_maps, |out, map| text(out, map.text()))?;
        out.extend_from_slice(b",\"projectedvolumemaps\":");
        list(out, &self.projected_volume_maps, |out, map| text(out, map.text()))?;
        out.extend_from_slice(b",\"secrets\":");
        list(out, &self.secrets, |out, secret| text(out, secret.text()))?;
        out.extend_from_slice(b",\"emptyDirs\":");
        list(out, &self.empty_dirs, |out, dir| serde_json::to_writer(out, dir))?;
        out.push(b'}');
        Ok(())
    }

    /// About how many bytes of JSON it is.
    fn size(&self) -> usize {
        let maps = self.config_maps.iter().chain(&self.projected_volume_maps);
        let texts = maps
            .map(ConfigMap::text)
            .chain(self.secrets.iter().map(Secret::text));
        texts.map(|text| text.len() + 1).sum::<usize>() + self.name.len() + 96
    }
}

/// An empty list is null, as Go writes a nil slice.
fn list<T>(
    out: &mut Vec<u8>,
    items: &[T],
    mut write: impl FnMut(&mut Vec<u8>, &T) -> serde_json::Result<()>,
) -> serde_json::Result<()> {
    if items.is_empty() {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    for (n, item) in items.iter().enumerate() {
        out.push(if n == 0 { b'[' } else { b',' });
        write(out, item)?;
    }
    out.push(b']');
    Ok(())
}

impl fmt::Debug for RetrievedPodData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetrievedPodData")
            .field("pod", &self.pod)
            .field("container", &self.container)
            .finish_non_exhaustive()
    }
}

/// Whether this is surely JSON with the pod of this uid in it, and a spec. False also stands for "not sure".
pub fn surely_holds(payload: &[u8], uid: &str) -> bool {
    // How often the pod, its metadata with a uid, that uid, and its spec came.
    let (mut pods, mut metadata, mut uids, mut specs) = (0, 0, 0, 0);
    let look = |at| {
        let end = scan::object(payload, at, |key, at| {
            if key != b"pod" {
                return scan::value(payload, at);
            }
            pods += 1;
            scan::object(payload, at, |key, at| match key {
                b"metadata" => {
                    metadata += 1;
                    scan::object(payload, at, |key, at| {
                        if key != b"uid" {
                            return scan::value(payload, at);
                        }
                        uids += 1;
                        let (text, end) = scan::simple(payload, at)?;
                        (text == uid.as_bytes()).then_some(end)
                    })
                }
                b"spec" => {
                    specs += 1;
                    scan::value(payload, at)
                }
                _ => scan::value(payload, at),
            })
        });
        Some(((), end?))
    };
    std::str::from_utf8(payload).is_ok()
        && scan::whole(payload, look).is_some()
        && [pods, metadata, uids, specs] == [1; 4]
}

/// Go's zero value of interLink's ScriptBuildConfig.
pub(super) fn no_job_config() -> Json {
    static NONE: LazyLock<Json> = LazyLock::new(|| {
        Json::from(json!({
            "SingularityHubProxy": {"server": "", "master_token": "", "cache_validity_seconds": 0},
            "ApptainerOptions": {
                "executable": "", "fakeroot": false, "containall": false, "fuseMode": "", "noInit": false,
                "noHome": false, "noPrivs": false, "nvidiaSupport": false, "cleanenv": false, "unsquash": false
            },
            "Volumes": {
                "scratch_area": "", "apptainer_cachedir": "", "image_dir": "",
                "additional_directories_in_path": null, "fuse_sleep_seconds": 0
            }
        }))
    });
    NONE.clone()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::interlink::{PodCreateRequests, read};

    const UID: &str = "0b6a2f10-51c4-4c7e-9d0a-7e6f0a1b2c3d";

    fn retrieved() -> RetrievedPodData {
        let create: PodCreateRequests = read(include_bytes!("../../tests/payloads/create.vk.json")).unwrap();
        create.retrieve()
    }

    #[test]
    fn a_payload_is_what_serde_writes() {
        let mut data = retrieved();
        for script in ["", "#!/bin/sh\necho \"é\"\n"] {
            data.job_script = script.to_owned();
            data.container[0].empty_dirs = script.lines().map(str::to_owned).collect();
            assert_eq!(data.to_payload().unwrap(), serde_json::to_vec(&data).unwrap());
        }
        data.container.clear();
        assert_eq!(data.to_payload().unwrap(), serde_json::to_vec(&data).unwrap());
    }

    #[test]
    fn a_payload_surely_holds_its_pod_and_no_other() {
        let payload = retrieved().to_payload().unwrap();
        let uid = retrieved().pod.uid().to_owned();
        assert!(surely_holds(&payload, &uid));
        assert!(!surely_holds(&payload, UID.trim_end_matches('d')));
        assert!(!surely_holds(&payload[..payload.len() - 1], &uid));
    }

    #[test]
    fn what_a_reader_could_take_for_another_pod_is_not_sure() {
        let good = format!(r#" {{"a": 1, "pod": {{"spec": null, "metadata": {{"uid": "{UID}"}}}}}} "#);
        assert!(surely_holds(good.as_bytes(), UID));
        let other = r#""metadata": {"uid": "x"}"#;
        for bad in [
            good.replace("\"a\": 1", r#""pod": {}"#),
            good.replace("\"a\": 1", r#""p\u006fd": {}"#),
            good.replace("\"spec\": null", other),
            good.replace("\"spec\": null", &format!("\"spec\": null, {other}")),
            good.replace("\"uid\":", "\"uid\": \"x\", \"uid\":"),
            good.replace("\"spec\": null", "\"spec\": null, \"spec\": {}"),
            good.replace("\"spec\": null, ", ""),
            good.replace("\"uid\"", "\"id\""),
            good.replace("null", "nil"),
            good.replace("1", "\"\\ud800\""),
            format!("[{good}]"),
            "null".to_owned(),
            String::new(),
        ] {
            assert!(!surely_holds(bad.as_bytes(), UID), "{bad}");
        }
        assert!(!surely_holds(&[good.as_bytes(), b"\xff"].concat(), UID));
    }
}
