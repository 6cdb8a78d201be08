//! `towline bench fleet`: thousands of plugins at one hub, each of them a process of its own kind.
//!
//! The hub is a child process (`towline hub`, without a state directory), the plugins are all in another one, so that
//! memory and CPU time are those of one side. Learn [`Fleet`] (what is asked for), [`FleetRow`] (one figure) and
//! [`site`] and [`tonic`] (what the children do).
//!
//! ```text
//!  bench -- REST, /metrics --> towline hub <== N links == towline bench fleet-plugins <-- orders on stdin -- bench
//! ```
//!
//! Every wait has an end, and every child ends with the one that started it.

mod callers;
mod certificates;
mod child;
mod files;
mod hub;
mod idle;
mod order;
mod phases;
mod rest;
mod rows;
pub mod site;
pub mod tonic;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use crate::limits;

/// What is measured.
#[derive(Debug, Clone)]
pub struct Fleet {
    /// The binary of this very program: hub and plugins are started from it.
    pub program: PathBuf,
    /// How many plugins.
    pub plugins: usize,
    /// Over TLS too.
    pub tls: bool,
    /// Pods of each plugin: an event of each is on its way at once.
    pub pods: usize,
    /// How often each pod's state changes.
    pub events: u32,
    /// Status requests.
    pub requests: usize,
    /// Also as many idle streams over tonic, to compare with.
    pub tonic: bool,
    /// How long one phase may take.
    pub patience: Duration,
}

impl Fleet {
    /// The usual amounts for so many plugins.
    pub fn new(program: PathBuf, plugins: usize) -> Self {
        Self {
            program,
            plugins,
            tls: false,
            pods: 4,
            events: 10,
            requests: 20_000,
            tonic: true,
            patience: Duration::from_secs(180),
        }
    }
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FleetRow {
    /// What was measured, and at which side.
    pub measure: String,
    /// `towline`, `towline tls`, `tonic`.
    pub peer: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: String,
    /// With so many plugins.
    pub plugins: usize,
    /// What it should be at most, where there is such a goal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<f64>,
}

/// Most plugins: a hub remembers no more names.
pub const MOST: usize = limits::HUB_PLUGINS;

/// Runs all of it.
///
/// # Errors
/// What cannot be measured, or a phase that did not end in time; no child is left behind.
pub async fn run(fleet: &Fleet, progress: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Vec<FleetRow>> {
    ensure!(
        (1..=MOST).contains(&fleet.plugins),
        "--plugins {} must be 1 to {MOST}: a hub remembers no more names",
        fleet.plugins
    );
    files::allow(fleet.plugins)?;
    let mut rows = phases::run(fleet, None, progress)
        .await
        .context("fleet without TLS")?;
    if fleet.tls {
        let certificates = certificates::Certificates::make()?;
        rows.extend(
            phases::run(fleet, Some(&certificates), progress)
                .await
                .context("fleet with TLS")?,
        );
    }
    if fleet.tonic {
        rows.extend(idle::run(fleet, progress).await.context("tonic")?);
    }
    Ok(rows)
}
