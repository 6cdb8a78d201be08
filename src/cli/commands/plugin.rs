//! `towline plugin`

use std::{path::Path, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    backend::process::{ProcessBackend, ProcessConfig},
    cli::{
        args::PluginArgs,
        exit::{Exit, Failure},
        settings::{PluginSettings, Sources, environment, read_token},
        stop,
    },
    limits,
    plugin::{Plugin, PluginConfig},
    transport::TlsConfig,
};

pub(super) async fn run(args: PluginArgs) -> anyhow::Result<Exit> {
    let settings = PluginSettings::resolve(&args, &Sources::load(args.config.as_deref(), &environment)?)?;
    // Read again at each dial; read here to fail at once when it cannot be.
    read_token(&settings.token_file)?;
    let stop = stop::on_signals()?;
    let (name, hub, state) = (
        &settings.name.value,
        &settings.hub.value,
        settings.state_dir.value.display(),
    );
    eprintln!("towline plugin: {name:?} dials {hub}, state in {state}");
    serve(settings, limits::DRAIN_GRACE, stop).await?;
    Ok(Exit::Ok)
}

/// Runs a plugin with the process backend until `stop`.
///
/// # Errors
/// When a setting is wrong, or the state directory cannot be used.
pub(super) async fn serve(
    settings: PluginSettings,
    drain: Duration,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let state_dir = settings.state_dir.value;
    let mut process = ProcessConfig::new(&state_dir)?;
    process.cpu_millis = settings.cpu_millis.value;
    process.memory = settings.memory.value;
    process.pods = settings.pods.value;
    let backend = ProcessBackend::open(process).await?;
    let mut config = PluginConfig::new(settings.hub.value, settings.name.value);
    config.kind = settings.backend.value;
    config.labels = settings.labels.value;
    config.token_file = settings.token_file.value;
    config.compression = settings.compression.value;
    config.tls = TlsConfig {
        ca_file: settings.ca_file.value,
        ..TlsConfig::default()
    };
    config.jobs_epoch = backend.jobs_epoch();
    config.state_dir = Some(state_dir.join("link"));
    config.drain_grace = drain;
    Plugin::new(config, backend)
        .run(stop)
        .await
        .map_err(|error| Failure::Config(format!("plugin.{error}")).into())
}

/// Whether a state directory holds no pod: then no process of one is left either.
pub(super) fn is_empty(state_dir: &Path) -> bool {
    ["pods", "gone"]
        .iter()
        .all(|part| std::fs::read_dir(state_dir.join(part)).map_or(true, |mut pods| pods.next().is_none()))
}
