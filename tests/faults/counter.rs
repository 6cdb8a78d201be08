//! Rows: one pod that counts for a while, and a reader that must get every number once.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::{
    check::Rules,
    cluster::Cluster,
    history::{Kind, Role, Signal, What},
    kubelet::Pod,
    load::{ended, finish, note_pod},
    proxy::{Cut, Sky, Way},
    readers,
    settings::{Settings, row},
};

/// Between two numbers.
const PAUSE_MS: u64 = 50;

#[test]
fn counter_over_lost_links() {
    row("counter over lost links", async |settings| {
        Ok(counter(Kind::Kubectl, settings).await)
    });
}

#[test]
fn counter_over_lost_hubs() {
    row("counter over lost hubs", async |settings| {
        Ok(counter(Kind::Towline, settings).await)
    });
}

async fn counter(kind: Kind, settings: Settings) -> Vec<String> {
    let mut random = settings.random("counter");
    let mut cluster = Cluster::start().await;
    let kubelet = cluster.kubelet();
    let life = Duration::from_secs(2 * settings.seconds);
    let lines = u64::try_from(life.as_millis()).unwrap() / PAUSE_MS;
    let pod = Pod::new(1, Some(lines), PAUSE_MS, 42);
    note_pod(&kubelet, &pod);
    assert_eq!(kubelet.create(&pod).await, 200);
    let (one, other) = (kubelet.clone(), pod.clone());
    let reading = match kind {
        Kind::Kubectl => tokio::spawn(readers::kubectl(one, other)),
        Kind::Towline => tokio::spawn(readers::follower(one, other)),
    };
    // It must have begun before its hub is killed: what `towline logs -f` cannot open is an error.
    while !cluster
        .history
        .entries()
        .iter()
        .any(|entry| matches!(entry.what, What::Bytes { .. }))
    {
        sleep(Duration::from_millis(20)).await;
    }
    let (begun, mut kills) = (Instant::now(), [0; 3]);
    while begun.elapsed() + Duration::from_secs(1) < life {
        sleep(Duration::from_millis(random.u64(100..1_500))).await;
        // With links alone the delay between two dials would grow: a new plugin begins with the shortest.
        match random.u8(0..if kind == Kind::Towline { 4 } else { 3 }) {
            0 => {
                let way = if random.bool() { Way::Up } else { Way::Down };
                let after = random.u64(200..2_000);
                cluster.proxy.cut_next(Cut { way, after });
                cluster.proxy.sever();
                kills[0] += 1;
            }
            1 | 2 => {
                cluster.end(Role::Plugin, Signal::Kill).await;
                cluster.proxy.set(Sky::Clear);
                cluster.start_plugin();
                kills[1] += 1;
            }
            _ => {
                cluster.end(Role::Hub, Signal::Kill).await;
                cluster.start_hub().await;
                kills[2] += 1;
            }
        }
    }
    ended(&kubelet, &pod).await;
    assert!(reading.await.unwrap(), "the reader did not get it whole");
    let history = cluster.history.entries();
    let readers = history
        .iter()
        .filter(|entry| matches!(entry.what, What::Reader { .. }));
    assert_eq!(readers.count(), 1, "one reading is enough");
    let mut figures = finish(&mut cluster, &kubelet, Rules::default()).await;
    let [links, plugins, hubs] = kills;
    figures.push(format!(
        "{lines} numbers once each over {links} cut links, {plugins} killed plugins, {hubs} killed hubs"
    ));
    figures
}
