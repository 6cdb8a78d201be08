//! Row: SIGKILL of hub and plugin under load, at random moments.

use std::time::Duration;

use tokio::{task::JoinSet, time::sleep};

use crate::{
    check::Rules,
    cluster::Cluster,
    history::{Role, Signal},
    load::{Load, Weight},
    recovery::{Times, recovered},
    settings::{Settings, row},
};

/// Cycles of one cluster in the long form; several run side by side.
const SHARE: u64 = 50;

#[test]
fn kill_9_under_load() {
    row("kill 9 under load", async |settings| Ok(kills(settings).await));
}

async fn kills(settings: Settings) -> Vec<String> {
    let mut random = settings.random("kill 9 under load");
    let mut clusters = JoinSet::new();
    let mut left = settings.cycles;
    while left > 0 {
        let cycles = left.min(SHARE);
        left -= cycles;
        clusters.spawn(cluster(cycles, random.fork(), settings));
    }
    let (mut hub, mut plugin, mut figures) = (Times::default(), Times::default(), Vec::new());
    while let Some(cluster) = clusters.join_next().await {
        let (of_hub, of_plugin, more) = cluster.unwrap();
        hub.0.extend(of_hub.0);
        plugin.0.extend(of_plugin.0);
        figures.extend(more);
    }
    figures.push(hub.figure("recovery of the hub"));
    figures.push(plugin.figure("recovery of the plugin"));
    figures.push(format!("{} kills", settings.cycles));
    figures
}

async fn cluster(cycles: u64, mut random: fastrand::Rng, settings: Settings) -> (Times, Times, Vec<String>) {
    let cluster = Cluster::start().await;
    let kubelet = cluster.kubelet();
    let load = Load::start(&cluster, Weight::of(settings), &mut random).await;
    let ticker = load.ticker().clone();
    recovered(&kubelet, &ticker).await;
    let (mut hub, mut plugin) = (Times::default(), Times::default());
    for cycle in 0..cycles {
        sleep(Duration::from_millis(random.u64(0..1_000))).await;
        // The first two are one of each, so that the short form has both.
        let is_hub = if cycle < 2 { cycle == 0 } else { random.bool() };
        let role = if is_hub { Role::Hub } else { Role::Plugin };
        cluster.end(role, Signal::Kill).await;
        if random.bool() {
            sleep(Duration::from_millis(random.u64(0..500))).await;
        }
        // Sometimes the next one is killed while it starts.
        if random.u8(0..6) == 0 {
            cluster.restart(role).await;
            sleep(Duration::from_millis(random.u64(0..200))).await;
            cluster.end(role, Signal::Kill).await;
        }
        let times = if is_hub { &mut hub } else { &mut plugin };
        let began = std::time::Instant::now();
        cluster.restart(role).await;
        recovered(&kubelet, &ticker).await;
        times.0.push(began.elapsed());
    }
    let pods = load.pods();
    let mut figures = load.settle(cluster, Rules::default()).await;
    figures.insert(0, format!("{cycles} kills over {pods} pods"));
    (hub, plugin, figures)
}
