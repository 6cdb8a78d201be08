//! Settings of `towline plugin`.

use std::{collections::BTreeMap, path::PathBuf};

use super::{Row, Setting, Source, Sources, parse_path, parse_text, shown_path};
use crate::{
    cli::{args::PluginArgs, exit::Failure},
    limits,
    plugin::Compression,
};

/// All settings of a plugin.
#[derive(Debug)]
pub(crate) struct PluginSettings {
    /// The hub's link, ws:// or wss://.
    pub(crate) hub: Setting<String>,
    /// Its name.
    pub(crate) name: Setting<String>,
    /// What runs the pods.
    pub(crate) backend: Setting<String>,
    /// Where pods and logs are kept.
    pub(crate) state_dir: Setting<PathBuf>,
    /// The shared bearer token's file.
    pub(crate) token_file: Setting<Option<PathBuf>>,
    /// CA certificates.
    pub(crate) ca_file: Setting<Option<PathBuf>>,
    /// Whether the link may be compressed.
    pub(crate) compression: Setting<Compression>,
    /// For placement.
    pub(crate) labels: Setting<BTreeMap<String, String>>,
}

impl PluginSettings {
    /// Resolves and validates.
    ///
    /// # Errors
    /// Names the setting, its value, and what to do.
    pub(crate) fn resolve(args: &PluginArgs, sources: &Sources<'_>) -> Result<Self, Failure> {
        let file = sources.file.plugin.clone();
        let text = |flag, typed: &Option<String>, variable, file: Option<String>, default: &str| {
            sources.pick(
                (flag, typed.clone()),
                (variable, parse_text),
                file,
                default.to_owned(),
            )
        };
        let path = |flag, typed: &Option<PathBuf>, variable, file: Option<PathBuf>| {
            sources.pick(
                (flag, typed.clone().map(Some)),
                (variable, parse_path),
                file.map(Some),
                None,
            )
        };
        let hub = text(
            "--hub",
            &args.hub,
            "TOWLINE_HUB",
            file.hub,
            "ws://127.0.0.1:3000/ws",
        )?;
        let hub = Setting {
            value: link_form(&hub)?,
            source: hub.source,
        };
        let name = text("--name", &args.name, "TOWLINE_NAME", file.name, "")?;
        validate_name(&name)?;
        let backend = text(
            "--backend",
            &args.backend,
            "TOWLINE_BACKEND",
            file.backend,
            "process",
        )?;
        if backend.value != "process" {
            let (value, source) = (&backend.value, &backend.source);
            return Err(Failure::Config(format!(
                "plugin.backend (from {source}): {value:?} is not known; use process"
            )));
        }
        let compression = text(
            "--compression",
            &args.compression,
            "TOWLINE_COMPRESSION",
            file.compression,
            "auto",
        )?;
        let compression = Setting {
            value: parse_compression(&compression)?,
            source: compression.source,
        };
        let state_dir = match path(
            "--state-dir",
            &args.state_dir,
            "TOWLINE_STATE_DIR",
            file.state_dir,
        )? {
            Setting {
                value: Some(value),
                source,
            } => Setting { value, source },
            _ => Setting {
                value: default_state_dir(sources.environment, &name.value)?,
                source: Source::Default,
            },
        };
        let typed = (!args.labels.is_empty())
            .then(|| parse_labels(&args.labels))
            .transpose();
        let typed = typed.map_err(|why| Failure::Config(format!("--label: {why}")))?;
        let split = |text: &str| parse_labels(&text.split(',').map(str::to_owned).collect::<Vec<_>>());
        let labels = sources.pick(
            ("--label", typed),
            ("TOWLINE_LABELS", split),
            file.labels,
            BTreeMap::new(),
        )?;
        if labels.value.len() > limits::MAX_LABELS {
            let (count, most) = (labels.value.len(), limits::MAX_LABELS);
            return Err(Failure::Config(format!(
                "plugin.labels: {count} labels, at most {most} are allowed"
            )));
        }
        Ok(Self {
            hub,
            name,
            backend,
            state_dir,
            token_file: path(
                "--token-file",
                &args.token_file,
                "TOWLINE_TOKEN_FILE",
                file.token_file,
            )?,
            ca_file: path("--ca-file", &args.ca_file, "TOWLINE_CA_FILE", file.ca_file)?,
            compression,
            labels,
        })
    }

    /// For `config print`.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let text = |key, setting: &Setting<String>| Row {
            key,
            value: setting.value.clone(),
            source: setting.source.clone(),
        };
        let path = |key, setting: &Setting<Option<PathBuf>>| Row {
            key,
            value: shown_path(&setting.value),
            source: setting.source.clone(),
        };
        let labels: Vec<String> = self
            .labels
            .value
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        vec![
            text("plugin.hub", &self.hub),
            text("plugin.name", &self.name),
            text("plugin.backend", &self.backend),
            Row {
                key: "plugin.state_dir",
                value: self.state_dir.value.display().to_string(),
                source: self.state_dir.source.clone(),
            },
            path("plugin.token_file", &self.token_file),
            path("plugin.ca_file", &self.ca_file),
            Row {
                key: "plugin.compression",
                value: match self.compression.value {
                    Compression::Auto => "auto".to_owned(),
                    Compression::On => "on".to_owned(),
                    Compression::Off => "off".to_owned(),
                },
                source: self.compression.source.clone(),
            },
            Row {
                key: "plugin.labels",
                value: if labels.is_empty() {
                    "-".to_owned()
                } else {
                    labels.join(",")
                },
                source: self.labels.source.clone(),
            },
        ]
    }
}

fn parse_compression(text: &Setting<String>) -> Result<Compression, Failure> {
    match text.value.as_str() {
        "auto" => Ok(Compression::Auto),
        "on" => Ok(Compression::On),
        "off" => Ok(Compression::Off),
        other => Err(Failure::Config(format!(
            "plugin.compression (from {}): {other:?} is not known; use auto, on or off",
            text.source
        ))),
    }
}

/// $XDG_STATE_HOME/towline/NAME, else ~/.local/state/towline/NAME (XDG base directories).
pub(crate) fn default_state_dir(
    environment: &dyn Fn(&str) -> Option<String>,
    name: &str,
) -> Result<PathBuf, Failure> {
    let absolute = |variable: &str| {
        environment(variable)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    base.map(|base| base.join("towline").join(name)).ok_or_else(|| {
        Failure::Config(
            "plugin.state_dir: neither XDG_STATE_HOME nor HOME is set; give --state-dir DIR".to_owned(),
        )
    })
}

/// The link's URL. http and https forms of the hub are taken too: TOWLINE_HUB serves both kinds of command.
fn link_form(hub: &Setting<String>) -> Result<String, Failure> {
    let url = hub.value.trim_end_matches('/');
    let wrong = || {
        let (value, source) = (&hub.value, &hub.source);
        Failure::Config(format!(
            "plugin.hub (from {source}): {value:?} is no link; use ws://HOST:PORT/ws or wss://"
        ))
    };
    let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
    let scheme = match scheme {
        "ws" | "http" => "ws",
        "wss" | "https" => "wss",
        "unix" => return Ok(url.to_owned()),
        _ => return Err(wrong()),
    };
    if rest.is_empty() {
        return Err(wrong());
    }
    let path = if rest.contains('/') { "" } else { "/ws" };
    Ok(format!("{scheme}://{rest}{path}"))
}

/// A name is a part of URLs and paths.
fn validate_name(name: &Setting<String>) -> Result<(), Failure> {
    let text = &name.value;
    if text.is_empty() {
        return Err(Failure::Config(
            "plugin.name: is missing; give --name NAME, TOWLINE_NAME, or name in the file".to_owned(),
        ));
    }
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.len() > 63 || !text.chars().all(inner) || text.starts_with('-') || text.ends_with('-') {
        return Err(Failure::Config(format!(
            "plugin.name (from {}): {text:?} must be 1 to 63 of a-z, 0-9 and -, not at either end",
            name.source
        )));
    }
    Ok(())
}

fn parse_labels(texts: &[String]) -> Result<BTreeMap<String, String>, String> {
    texts
        .iter()
        .map(|text| {
            let (key, value) = text
                .split_once('=')
                .filter(|(key, _)| !key.is_empty())
                .ok_or(text)?;
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        })
        .collect::<Result<_, &String>>()
        .map_err(|text| format!("{text:?} is not KEY=VALUE"))
}
