//! `towline plugin`

use std::{io, path::Path, time::Duration};

use anyhow::Context as _;
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
    let backend = ProcessBackend::open(ProcessConfig::new(&state_dir)?).await?;
    let mut config = PluginConfig::new(settings.hub.value, settings.name.value);
    config.kind = settings.backend.value;
    config.labels = settings.labels.value;
    config.token_file = settings.token_file.value;
    config.tls = TlsConfig {
        ca_file: settings.ca_file.value,
        ..TlsConfig::default()
    };
    config.jobs_epoch = jobs_epoch(&state_dir)
        .with_context(|| format!("cannot keep the jobs epoch in {}", state_dir.display()))?;
    config.state_dir = Some(state_dir.join("link"));
    config.drain_grace = drain;
    Plugin::new(config, backend)
        .run(stop)
        .await
        .map_err(|error| Failure::Config(format!("plugin.{error}")).into())
}

/// The number that says to the hub that the records of pods are the same as before: kept beside them, so that it is
/// lost when they are.
fn jobs_epoch(state_dir: &Path) -> io::Result<u64> {
    let path = state_dir.join("jobs-epoch");
    match std::fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse() {
            Ok(epoch) => return Ok(epoch),
            Err(_) => tracing::warn!("the jobs epoch cannot be read: a new one is taken"),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let epoch = fastrand::u64(1..);
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, format!("{epoch}\n"))?;
    std::fs::rename(fresh, path)?;
    Ok(epoch)
}

/// Whether a state directory holds no pod: then no process of one is left either.
pub(super) fn is_empty(state_dir: &Path) -> bool {
    ["pods", "gone"]
        .iter()
        .all(|part| std::fs::read_dir(state_dir.join(part)).map_or(true, |mut pods| pods.next().is_none()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_jobs_epoch_lives_as_long_as_the_records() {
        let dir = tempfile::tempdir().unwrap();
        let epoch = jobs_epoch(dir.path()).unwrap();
        assert_eq!(jobs_epoch(dir.path()).unwrap(), epoch);
        assert_ne!(epoch, 0);
        std::fs::remove_file(dir.path().join("jobs-epoch")).unwrap();
        assert_ne!(jobs_epoch(dir.path()).unwrap(), epoch);
    }
}
