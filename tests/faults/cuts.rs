//! Row: the link is reset at each byte of a recorded session: handshake, create, status, log.

use std::time::Duration;

use tokio::{task::JoinSet, time::sleep};

use crate::{
    check::Rules,
    cluster::Cluster,
    history::{Role, Signal},
    kubelet::{Kubelet, Pod},
    load::{ended, finish, note_pod},
    peer::{Peer, towline},
    proxy::{Cut, Proxy, Way},
    readers,
    settings::{Settings, row},
};

/// Plugins at the same time.
const SIDE_BY_SIDE: usize = 12;

#[test]
fn cut_at_each_byte() {
    row("cut at each byte", async |settings| Ok(sweep(settings).await));
}

async fn sweep(settings: Settings) -> Vec<String> {
    let mut random = settings.random("cut at each byte");
    let mut cluster = Cluster::start().await;
    let kubelet = cluster.kubelet();
    let recorded = session(&cluster, 1, None).await;
    // Every byte would be some thousand plugins; each run takes others, and the first and the last.
    let share = if settings.is_long() { 240 } else { 8 };
    let mut cuts = Vec::new();
    for (way, bytes) in [(Way::Up, recorded.0), (Way::Down, recorded.1)] {
        cuts.extend([0, 1, bytes - 1].map(|after| Cut { way, after }));
        let step = (bytes / share).max(1);
        let offsets = (0..bytes).step_by(usize::try_from(step).unwrap());
        cuts.extend(offsets.map(|from| Cut {
            way,
            after: (from + random.u64(0..step)).min(bytes),
        }));
    }
    let count = cuts.len();
    for (batch, cuts) in cuts.chunks(SIDE_BY_SIDE).enumerate() {
        let sessions = cuts.iter().enumerate().map(|(index, cut)| {
            let number = 2 + (batch * SIDE_BY_SIDE + index) as u64;
            cluster.history.fault(format!("session {number}: {cut:?}"));
            session(&cluster, number, Some(*cut))
        });
        futures::future::join_all(sessions).await;
    }
    let mut figures = finish(&mut cluster, &kubelet, Rules::default()).await;
    figures.push(format!(
        "{count} offsets of a session of {} bytes up and {} down",
        recorded.0, recorded.1
    ));
    figures
}

/// A plugin of its own, one pod, its log and its end; gives the bytes that went up and down.
async fn session(cluster: &Cluster, number: u64, cut: Option<Cut>) -> (u64, u64) {
    let name = format!("cut-{number}");
    let mut kubelet = cluster.kubelet();
    kubelet.scope = format!("/nodes/{name}");
    let proxy = Proxy::start(&kubelet.address()).await;
    if let Some(cut) = cut {
        proxy.cut_next(cut);
    }
    let mut command = towline(&[]);
    command
        .args(["plugin", "--name", &name, "--hub"])
        .arg(format!("ws://{}/ws", proxy.address()))
        .arg("--state-dir")
        .arg(cluster.path().join(&name));
    let log = cluster.path().join("cuts.err");
    let plugin = Peer::start(command, Role::Plugin, &log, &cluster.history);
    connected(&kubelet).await;
    let pod = Pod::new(number, Some(4), 10, 9);
    note_pod(&kubelet, &pod);
    assert_eq!(kubelet.create(&pod).await, 200);
    let mut reading = JoinSet::new();
    reading.spawn(readers::kubectl(kubelet.clone(), pod.clone()));
    ended(&kubelet, &pod).await;
    while let Some(whole) = reading.join_next().await {
        assert!(whole.unwrap(), "session {number}");
    }
    plugin.signal(Signal::Term);
    plugin.gone().await;
    (proxy.carried(Way::Up), proxy.carried(Way::Down))
}

/// Until the hub has had a link of this plugin: before it, it does not know the name.
async fn connected(kubelet: &Kubelet) {
    let path = format!("{}/pinglink", kubelet.scope);
    while kubelet.look(&path).await.is_none() {
        sleep(Duration::from_millis(50)).await;
    }
}
