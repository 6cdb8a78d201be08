//! Row: SIGTERM of hub and plugin at random moments. No call that was accepted is lost, and each ends with 0.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::{
    check::Rules,
    cluster::Cluster,
    history::{Role, Signal},
    kubelet::{Kubelet, Pod},
    load::{Load, Weight, ended, note_pod},
    recovery::recovered,
    settings::{Settings, row},
};

#[test]
fn sigterm_drains() {
    row("sigterm drains", async |settings| Ok(drains(settings).await));
}

async fn drains(settings: Settings) -> Vec<String> {
    let mut random = settings.random("sigterm drains");
    let cluster = Cluster::start().await;
    let kubelet = cluster.kubelet();
    let load = Load::start(&cluster, Weight::of(settings), &mut random).await;
    let ticker = load.ticker().clone();
    recovered(&kubelet, &ticker).await;
    let (begun, mut count, mut slowest) = (Instant::now(), 0, 0.0_f64);
    while count < 3 || begun.elapsed() < Duration::from_secs(settings.seconds) {
        sleep(Duration::from_millis(random.u64(0..500))).await;
        let role = match count {
            0 => Role::Hub,
            1 => Role::Plugin,
            _ if random.bool() => Role::Hub,
            _ => Role::Plugin,
        };
        let term = Instant::now();
        cluster.end(role, Signal::Term).await;
        slowest = slowest.max(term.elapsed().as_secs_f64());
        cluster.restart(role).await;
        recovered(&kubelet, &ticker).await;
        count += 1;
    }
    let held = held_create(&cluster, &kubelet).await;
    let mut figures = load.settle(cluster, Rules::default()).await;
    figures.push(format!("{count} drains, the slowest end took {slowest:.2} s"));
    figures.push(held);
    figures
}

/// A create that waits for its plugin when the hub is told to end is answered, and made in the hub's next life.
async fn held_create(cluster: &Cluster, kubelet: &Kubelet) -> String {
    cluster.end(Role::Plugin, Signal::Term).await;
    let pod = Pod::new(1 << 40, Some(5), 10, 4);
    note_pod(kubelet, &pod);
    let asking = tokio::spawn({
        let (kubelet, pod) = (kubelet.clone(), pod.clone());
        async move { kubelet.create(&pod).await }
    });
    while kubelet.gauge("towline_creates_held").await.unwrap_or(0) == 0 {
        sleep(Duration::from_millis(20)).await;
    }
    // Long enough that it counts as accepted for the checker.
    sleep(Duration::from_millis(1_100)).await;
    cluster.end(Role::Hub, Signal::Term).await;
    cluster.start_hub().await;
    cluster.start_plugin();
    assert_eq!(asking.await.unwrap(), 200);
    ended(kubelet, &pod).await;
    "a create that waited was answered by the draining hub and made by the next".to_owned()
}
