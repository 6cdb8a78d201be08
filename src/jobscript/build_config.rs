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

/// The keys of its YAML.
const KEYS: [(&str, &[&str]); 3] = [
    (
        "singularity_hub",
        &["server", "master_token", "cache_validity_seconds"],
    ),
    (
        "apptainer_options",
        &[
            "executable",
            "fakeroot",
            "containall",
            "fuse_mode",
            "no_init",
            "no_home",
            "no_privs",
            "nvidia_support",
            "cleanenv",
            "unsquash",
        ],
    ),
    (
        "volumes_options",
        &[
            "scratch_area",
            "apptainer_cachedir",
            "image_dir",
            "additional_directories_in_path",
            "fuse_sleep_seconds",
        ],
    ),
];

impl BuildConfig {
    /// Reads it out of somebody else's file: keys that are not known are left out and told.
    ///
    /// # Errors
    /// When a value has the wrong form.
    pub fn of_others(mut value: Value) -> Result<(Self, Vec<String>), serde_json::Error> {
        let mut unknown = Vec::new();
        if let Value::Object(sections) = &mut value {
            sections.retain(|_, section| !section.is_null());
            sections.retain(|name, section| {
                let Some((_, known)) = KEYS.iter().find(|(key, _)| key == name) else {
                    unknown.push(name.clone());
                    return false;
                };
                if let Value::Object(keys) = section {
                    keys.retain(|key, value| {
                        let is_known = known.contains(&key.as_str());
                        if !is_known {
                            unknown.push(format!("{name}.{key}"));
                        }
                        // Go reads nothing as the zero value.
                        is_known && !value.is_null()
                    });
                }
                true
            });
        }
        Ok((Self::deserialize(value)?, unknown))
    }

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
        assert_eq!(
            BuildConfig::default().to_value(),
            *request.retrieve().job_config.tree()
        );
    }

    #[test]
    fn what_a_later_interlink_has_besides_is_told_and_left_out() {
        let (config, unknown) = BuildConfig::of_others(json!({
            "apptainer_options": {"executable": "/usr/bin/apptainer", "turbo": true, "fuse_mode": null},
            "volumes_options": null,
            "new": 1,
        }))
        .unwrap();
        assert_eq!(unknown, ["apptainer_options.turbo", "new"]);
        assert_eq!(
            config.to_value()["ApptainerOptions"]["executable"],
            "/usr/bin/apptainer"
        );
        assert!(BuildConfig::of_others(json!({"apptainer_options": {"fakeroot": "yes"}})).is_err());
    }

    #[test]
    fn every_key_that_is_known_is_read() {
        for (section, keys) in KEYS {
            for key in keys {
                let (config, _) = BuildConfig::of_others(json!({section: {*key: null}})).unwrap();
                assert_eq!(config, BuildConfig::default());
                let unknown: Result<BuildConfig, _> = serde_json::from_value(json!({section: {*key: []}}));
                let problem = unknown.map_err(|error| error.to_string());
                assert!(!format!("{problem:?}").contains("unknown field"), "{key}");
            }
        }
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
