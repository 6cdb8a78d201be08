//! Rows: SIGSTOP of the plugin and of the hub, in the long form for longer than every timeout of the link.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    check::Rules,
    cluster::Cluster,
    history::{Role, Signal},
    load::{Load, Weight},
    recovery::recovered,
    settings::{Settings, row},
};

#[test]
fn stopped_processes() {
    row("stopped processes", async |settings| Ok(stopped(settings).await));
}

async fn stopped(settings: Settings) -> Vec<String> {
    let mut random = settings.random("stopped");
    let cluster = Cluster::start().await;
    let kubelet = cluster.kubelet();
    let load = Load::start(&cluster, Weight::of(settings), &mut random).await;
    let ticker = load.ticker().clone();
    recovered(&kubelet, &ticker).await;
    let mut stops = vec![
        (Role::Plugin, random.u64(200..1_500)),
        (Role::Hub, random.u64(200..1_500)),
    ];
    if settings.is_long() {
        // The hub finds a silent plugin after 30 s at most and holds its readers for 60 s more; a plugin takes 60 s
        // of silence for the end of its link.
        stops.extend([(Role::Plugin, 45_000), (Role::Hub, 75_000)]);
    }
    let mut longest = 0.0_f64;
    for (role, stop) in &stops {
        cluster.signal(*role, Signal::Stop);
        sleep(Duration::from_millis(*stop)).await;
        cluster.signal(*role, Signal::Cont);
        longest = longest.max(recovered(&kubelet, &ticker).await.as_secs_f64());
        sleep(Duration::from_millis(random.u64(0..500))).await;
    }
    let connections = cluster.proxy.connections();
    let mut figures = load.settle(cluster, Rules::default()).await;
    figures.push(format!(
        "stops in ms {stops:?}, {connections} connections, longest recovery {longest:.2} s"
    ));
    figures
}
