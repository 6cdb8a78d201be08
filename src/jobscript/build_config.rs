//! `JobScriptBuildConfig` of interLink's configuration: what a script server is told of the site, as `jobConfig`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

/// interLink's ScriptBuildConfig: read as its YAML spells it, written as its JSON does. What is left out is Go's zero.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BuildConfig {
    singularity_hub: SingularityHub,
    apptainer_options: Apptainer,
    volumes_options: Volumes,
}

/// It holds a token.
impl fmt::Debug for BuildConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuildConfig").finish_non_exhaustive()
    }
}

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SingularityHub {
    #[serde(deserialize_with = "text")]
    server: String,
    #[serde(deserialize_with = "text")]
    master_token: String,
    cache_validity_seconds: i64,
}

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Apptainer {
    #[serde(deserialize_with = "text")]
    executable: String,
    fakeroot: bool,
    containall: bool,
    #[serde(rename(serialize = "fuseMode"), deserialize_with = "text")]
    fuse_mode: String,
    #[serde(rename(serialize = "noInit"))]
    no_init: bool,
    #[serde(rename(serialize = "noHome"))]
    no_home: bool,
    #[serde(rename(serialize = "noPrivs"))]
    no_privs: bool,
    #[serde(rename(serialize = "nvidiaSupport"))]
    nvidia_support: bool,
    cleanenv: bool,
    unsquash: bool,
}

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Volumes {
    #[serde(deserialize_with = "text")]
    scratch_area: String,
    #[serde(deserialize_with = "text")]
    apptainer_cachedir: String,
    #[serde(deserialize_with = "text")]
    image_dir: String,
    /// Go's nil stays null.
    additional_directories_in_path: Option<Vec<String>>,
    fuse_sleep_seconds: i64,
}

/// A key without a value is an empty text.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl BuildConfig {
    pub(super) fn to_value(&self) -> Value {
        json!({
            "SingularityHubProxy": self.singularity_hub,
            "ApptainerOptions": self.apptainer_options,
            "Volumes": self.volumes_options,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::interlink::{PodCreateRequests, parse};

    #[test]
    fn what_is_left_out_is_gos_zero_as_in_every_other_create() {
        let request: PodCreateRequests =
            parse(include_bytes!("../../tests/payloads/create.vk.json")).unwrap();
        assert_eq!(BuildConfig::default().to_value(), request.retrieve().job_config);
    }

    #[test]
    fn yaml_names_become_json_names() {
        let config: BuildConfig = serde_json::from_value(json!({
            "singularity_hub": {"server": "https://hub.example.org", "master_token": "t", "cache_validity_seconds": 9},
            "apptainer_options": {"fuse_mode": "kernel", "no_init": true, "nvidia_support": true},
            "volumes_options": {"scratch_area": "/s", "additional_directories_in_path": ["/a"]},
        }))
        .unwrap();
        let value = config.to_value();
        assert_eq!(value["SingularityHubProxy"]["master_token"], "t");
        assert_eq!(value["ApptainerOptions"]["fuseMode"], "kernel");
        assert_eq!(value["ApptainerOptions"]["noInit"], true);
        assert_eq!(value["ApptainerOptions"]["cleanenv"], false);
        assert_eq!(value["Volumes"]["additional_directories_in_path"][0], "/a");
        assert!(!format!("{config:?}").contains("hub.example"));
    }
}
