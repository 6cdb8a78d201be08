//! Settings of `towline plugin`.

mod upstream;
mod values;
mod ways;

use std::{collections::BTreeMap, path::PathBuf};

use self::{
    upstream::UpstreamSettings,
    values::{link_form, parse_labels, validate_name},
    ways::WaySettings,
};
use super::{
    Row, Setting, Source, Sources, compression::CompressionSettings, file::Quantity, parse_path,
    shown_labels, shown_path,
};
use crate::{
    backend::process::{Capacity, PODS, quantity},
    cli::{args::PluginArgs, exit::Failure},
    limits,
    wire::Subprotocol,
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
    pub(crate) compression: CompressionSettings,
    /// For placement.
    pub(crate) labels: Setting<BTreeMap<String, String>>,
    /// Processors to announce, in thousandths; the machine's when none.
    pub(crate) cpu_millis: Setting<Option<u64>>,
    /// Memory to announce, in bytes; the machine's when none.
    pub(crate) memory: Setting<Option<u64>>,
    /// Pods to announce.
    pub(crate) pods: Setting<u32>,
    /// The plugin behind the REST bridge.
    pub(crate) rest: UpstreamSettings,
    /// How the plugin is reached.
    pub(crate) ways: WaySettings,
}

impl PluginSettings {
    /// Resolves and validates.
    ///
    /// # Errors
    /// Names the setting, its value, and what to do.
    pub(crate) fn resolve(args: &PluginArgs, sources: &Sources<'_>) -> Result<Self, Failure> {
        let file = sources.file.plugin.clone();
        let path = |flag, typed: &Option<PathBuf>, variable, file: Option<PathBuf>| {
            sources.pick(
                (flag, typed.clone().map(Some)),
                (variable, parse_path),
                file.map(Some),
                None,
            )
        };
        let hub = sources.text(
            "--hub",
            &args.hub,
            sources.twin("TOWLINE_HUB", "INTERLINK_WS_URL"),
            file.hub,
            "ws://127.0.0.1:3000/ws",
        )?;
        let hub = Setting {
            value: link_form(&hub)?,
            source: hub.source,
        };
        let name = sources.text("--name", &args.name, "TOWLINE_NAME", file.name, "")?;
        validate_name(&name)?;
        let backend = sources.text(
            "--backend",
            &args.backend,
            "TOWLINE_BACKEND",
            file.backend,
            "process",
        )?;
        if !["process", "rest"].contains(&backend.value.as_str()) {
            let (value, source) = (&backend.value, &backend.source);
            return Err(Failure::Config(format!(
                "plugin.backend (from {source}): {value:?} is not known; use process or rest"
            )));
        }
        let compression = CompressionSettings::of_plugin(&args.compression, sources)?;
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
        let quantity = |key: &'static str, flag, typed: &Option<String>, variable, file: Option<Quantity>| {
            let text = sources.text(flag, typed, variable, file.map(String::from), "")?;
            values::quantity(key, &text)
        };
        let cpu_millis = quantity("plugin.cpu", "--cpu", &args.cpu, "TOWLINE_CPU", file.cpu)?;
        let memory = quantity(
            "plugin.memory",
            "--memory",
            &args.memory,
            "TOWLINE_MEMORY",
            file.memory,
        )?;
        let memory = Setting {
            value: memory.value.map(|thousandths| thousandths.div_ceil(1000)),
            source: memory.source,
        };
        let pods = sources.text(
            "--pods",
            &args.pods,
            "TOWLINE_PODS",
            file.pods.map(String::from),
            &PODS.to_string(),
        )?;
        let pods = Setting {
            value: pods
                .value
                .parse()
                .ok()
                .filter(|count| *count > 0)
                .ok_or_else(|| {
                    let (value, source) = (&pods.value, &pods.source);
                    Failure::Config(format!(
                        "plugin.pods (from {source}): {value:?} must be a whole number of pods, 1 or more"
                    ))
                })?,
            source: pods.source,
        };
        let rest = UpstreamSettings::resolve(args, sources, &backend.value)?;
        let ways = WaySettings::resolve(args, sources)?;
        if hub.value.starts_with("grpc") && ways.codec.value != Subprotocol::Proto {
            return Err(Failure::Config(format!(
                "plugin.codec (from {}): json has no way over gRPC, which carries packets alone; use proto, or dial the hub \
                 with ws:// or wss://",
                ways.codec.source
            )));
        }
        Ok(Self {
            rest,
            ways,
            cpu_millis,
            memory,
            pods,
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
        let text = |key, setting: &Setting<String>| setting.row(key, setting.value.as_str());
        let path = |key, setting: &Setting<Option<PathBuf>>| setting.row(key, shown_path(&setting.value));
        let machine = Capacity::of_this_machine();
        let cpu = quantity::cpu(self.cpu_millis.value.unwrap_or(machine.cpu_millis));
        let memory = quantity::bytes(self.memory.value.unwrap_or(machine.memory));
        let mut rows = vec![
            text("plugin.hub", &self.hub),
            text("plugin.name", &self.name),
            text("plugin.backend", &self.backend),
            self.state_dir
                .row("plugin.state_dir", self.state_dir.value.display().to_string()),
            path("plugin.token_file", &self.token_file),
            path("plugin.ca_file", &self.ca_file),
            self.labels.row("plugin.labels", shown_labels(&self.labels.value)),
            self.cpu_millis.row("plugin.cpu", cpu),
            self.memory.row("plugin.memory", memory),
            self.pods.row("plugin.pods", self.pods.value.to_string()),
        ];
        rows.extend(self.compression.rows());
        rows.extend(self.rest.rows());
        rows.extend(self.ways.rows());
        rows
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
