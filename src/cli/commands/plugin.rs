//! `towline plugin`

use std::{path::Path, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    backend::{ProcessBackend, ProcessConfig, RestBackend, RestConfig, process::quantity},
    cli::{
        args::PluginArgs,
        exit::{Exit, Failure},
        settings::{PluginSettings, Source, Sources, Transport, environment},
        stop,
    },
    limits,
    plugin::{Handler, Plugin, PluginConfig},
    sidecar::{self, SidecarConfig},
    transport::{Listener, TlsConfig},
};

pub(super) async fn run(args: PluginArgs) -> anyhow::Result<Exit> {
    let settings = PluginSettings::resolve(&args, &Sources::load(args.config.as_deref(), &environment)?)?;
    let stop = stop::on_signals()?;
    let (name, hub, state) = (
        &settings.name.value,
        &settings.hub.value,
        settings.state_dir.value.display(),
    );
    let does = match settings.ways.transport.value {
        Transport::Ws | Transport::Auto => format!("dials {hub}"),
        Transport::Http => "dials no hub".to_owned(),
    };
    eprintln!("towline plugin: {name:?} {does}, state in {state}");
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
    config.endpoints = rest.endpoints.value;
    config.shared = rest.shared.value;
    config.tls = rest.tls();
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
    config.compression = settings.compression.when.value;
    config.compression_level = settings.compression.level.value;
    config.compression_threshold = settings.compression.threshold.value;
    config.tls = TlsConfig {
        ca_file: settings.ca_file.value,
        ..TlsConfig::default()
    };
    config.jobs_epoch = jobs_epoch;
    config.state_dir = Some(settings.state_dir.value.join("link"));
    config.drain_grace = drain;
    config.codec = settings.ways.codec.value;
    config.reconnect_min = settings.ways.reconnect_min.value;
    config.reconnect_max = settings.ways.reconnect_max.value;
    config.ping_interval = settings.ways.ping_interval.value;
    let wrong = |error| Failure::Config(format!("plugin.{error}"));
    if !settings.ways.serves_rest() {
        return Ok(Plugin::new(config, backend).run(stop).await.map_err(wrong)?);
    }
    let listener = Listener::bind(&settings.ways.listen.value.to_string(), None)
        .await
        .map_err(|error| Failure::Failed(error.to_string()))?;
    let address = match listener.local_addr() {
        unix if unix.starts_with("unix:") => unix,
        tcp => format!("http://{tcp}"),
    };
    eprintln!("towline plugin: REST for an interLink API server at {address}");
    if settings.ways.insecure.value && settings.ways.listen_token_file.value.is_none() {
        eprintln!("towline plugin: warning: everyone who reaches {address} may use it (--insecure)");
    }
    let rest = SidecarConfig {
        token_file: settings.ways.listen_token_file.value.clone(),
        allowed_hosts: settings.ways.hosts(),
        ..SidecarConfig::default()
    };
    let linked = settings.ways.transport.value == Transport::Auto;
    if linked {
        config.meanwhile = Some(format!("REST at {address}"));
    }
    let plugin = Plugin::new(config, backend);
    let local = plugin.local();
    // A plugin that cannot start takes its REST with it.
    let closing = stop.child_token();
    let serving = sidecar::serve(listener, local, rest, closing.clone().cancelled_owned());
    let running = async {
        let ran = if linked {
            plugin.run(stop).await
        } else {
            plugin.run_unlinked(stop).await
        };
        closing.cancel();
        ran
    };
    let ((), ran) = tokio::join!(serving, running);
    Ok(ran.map_err(wrong)?)
}

/// Whether a state directory holds no pod: then no process of one is left either.
pub(super) fn is_empty(state_dir: &Path) -> bool {
    ["pods", "gone"]
        .iter()
        .all(|part| std::fs::read_dir(state_dir.join(part)).map_or(true, |mut pods| pods.next().is_none()))
}
