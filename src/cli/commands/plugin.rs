//! `towline plugin`

use std::{path::Path, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    backend::{ProcessBackend, ProcessConfig, RestBackend, RestConfig, process::quantity},
    cli::{
        args::PluginArgs,
        exit::{Exit, Failure},
        settings::{PluginSettings, Source, Sources, environment, read_token},
        stop,
    },
    limits,
    plugin::{Handler, Plugin, PluginConfig},
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

/// Runs a plugin until `stop`.
///
/// # Errors
/// When a setting is wrong, or the state directory cannot be used.
pub(super) async fn serve(
    settings: PluginSettings,
    drain: Duration,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    if settings.backend.value == "rest" {
        let backend = RestBackend::open(bridge(&settings)).await;
        let backend = backend.map_err(|error| Failure::Config(format!("plugin.{error}")))?;
        return link(settings, backend, 0, drain, stop).await;
    }
    let mut process = ProcessConfig::new(&settings.state_dir.value)?;
    process.cpu_millis = settings.cpu_millis.value;
    process.memory = settings.memory.value;
    process.pods = settings.pods.value;
    let backend = ProcessBackend::open(process).await?;
    let jobs_epoch = backend.jobs_epoch();
    link(settings, backend, jobs_epoch, drain, stop).await
}

/// The bridge announces what the plugin does not, if somebody said it here.
fn bridge(settings: &PluginSettings) -> RestConfig {
    let rest = &settings.rest;
    let mut config = RestConfig::new(&rest.upstream.value, &settings.state_dir.value);
    config.status_interval = rest.status_interval.value;
    config.ping = rest.ping.value;
    config.follow = rest.follow.value;
    config.legacy_list = rest.legacy_list.value;
    config.shared = rest.shared.value;
    config.cpu = settings.cpu_millis.value.map(quantity::cpu).unwrap_or_default();
    config.memory = settings.memory.value.map(quantity::bytes).unwrap_or_default();
    if settings.pods.source != Source::Default {
        config.pods = settings.pods.value.to_string();
    }
    config
}

async fn link<H: Handler>(
    settings: PluginSettings,
    backend: H,
    jobs_epoch: u64,
    drain: Duration,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut config = PluginConfig::new(settings.hub.value, settings.name.value);
    config.kind = settings.rest.kind.value;
    config.labels = settings.labels.value;
    config.token_file = settings.token_file.value;
    config.compression = settings.compression.value;
    config.tls = TlsConfig {
        ca_file: settings.ca_file.value,
        ..TlsConfig::default()
    };
    config.jobs_epoch = jobs_epoch;
    config.state_dir = Some(settings.state_dir.value.join("link"));
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
