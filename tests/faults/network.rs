//! Row: whatever a way between hub and plugin can do to connections and bytes, under load.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::{
    check::Rules,
    cluster::Cluster,
    history::{Role, Signal},
    load::{Load, Weight},
    proxy::{Cut, Sky, Way},
    recovery::{Times, recovered},
    settings::{Settings, row},
};

#[test]
fn faults_of_the_network() {
    row("faults of the network", async |settings| {
        Ok(faults(settings).await)
    });
}

async fn faults(settings: Settings) -> Vec<String> {
    let mut random = settings.random("faults of the network");
    let cluster = Cluster::start().await;
    let kubelet = cluster.kubelet();
    let load = Load::start(&cluster, Weight::of(settings), &mut random).await;
    let ticker = load.ticker().clone();
    recovered(&kubelet, &ticker).await;
    let end = Instant::now() + Duration::from_secs(settings.seconds);
    let (mut count, mut times) = (0, Times::default());
    while Instant::now() < end {
        // Its delay between two dials grows with each short life: a new process begins with the shortest.
        if count % 4 == 3 {
            cluster.end(Role::Plugin, Signal::Kill).await;
            cluster.start_plugin();
        }
        one(&cluster, &mut random, settings.is_long()).await;
        count += 1;
        let clear = Instant::now();
        recovered(&kubelet, &ticker).await;
        times.0.push(clear.elapsed());
        sleep(Duration::from_millis(random.u64(0..700))).await;
    }
    let connections = cluster.proxy.connections();
    let mut figures = load.settle(cluster, Rules::default()).await;
    figures.push(format!("{count} faults, {connections} connections"));
    figures.push(times.figure("from a clear sky to recovery"));
    figures
}

/// One fault, to its end. In the long form some are left to the timeouts of the link.
async fn one(cluster: &Cluster, random: &mut fastrand::Rng, is_long: bool) {
    let proxy = &cluster.proxy;
    let way = if random.bool() { Way::Up } else { Way::Down };
    let sky = match random.u8(0..8) {
        0 => Sky::Silent,
        1 => Sky::OneWay(way),
        2 => Sky::Hold,
        3 => Sky::Drip(random.u64(500..20_000)),
        4 => Sky::Refuse,
        5 => {
            // Also into the next handshake.
            let after = random.u64(0..3_000);
            cluster.history.fault(format!("cut {way:?} after {after}"));
            proxy.cut_next(Cut { way, after });
            proxy.sever();
            return;
        }
        _ => Sky::Clear,
    };
    cluster.history.fault(format!("{sky:?}"));
    proxy.set(sky);
    let loses_bytes = matches!(sky, Sky::Silent | Sky::OneWay(_));
    if matches!(sky, Sky::Refuse | Sky::Clear) {
        proxy.sever();
    }
    sleep(Duration::from_millis(random.u64(100..2_000))).await;
    proxy.set(Sky::Clear);
    if loses_bytes && !(is_long && random.bool()) {
        proxy.sever();
    }
    cluster.history.fault("clear");
}
