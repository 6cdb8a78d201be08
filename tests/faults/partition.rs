//! Rows: hub and plugin in two networks that are joined by a pair of interfaces: what the kernel's TCP makes of loss.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    check::Rules,
    cluster::{Cluster, Options},
    load::{Load, Weight},
    namespace::Holder,
    recovery::recovered,
    settings::{NotRun, Settings, not_run, row},
};

const HUB: &str = "10.99.0.1";
const PORT: &str = "3000";

/// What happens to packets between the two: a name, and nft's words for it.
const RULES: [(&str, &str); 4] = [
    ("silence both ways", "drop"),
    ("silence one way", "ip saddr 10.99.0.1 drop"),
    ("a quarter lost at random", "numgen random mod 100 < 25 drop"),
    ("rejected with a reset", "meta l4proto tcp reject with tcp reset"),
];
const DESTROYED: &str = "sockets destroyed";

#[test]
fn two_networks() {
    row("two networks", async |settings| match networks().await {
        Ok((hub, plugin)) => Ok(faults(settings, &hub, &plugin).await),
        Err(NotRun(why)) => {
            for name in RULES.map(|rule| rule.0).into_iter().chain([DESTROYED]) {
                not_run(name, &why);
            }
            Err(NotRun(why))
        }
    });
}

/// Two networks with a hub in the one and its plugin in the other.
async fn networks() -> Result<(Holder, Holder), NotRun> {
    let (hub, plugin) = (Holder::network().await?, Holder::network().await?);
    let (pid, address) = (plugin.pid().to_string(), format!("{HUB}/24"));
    let pair = [
        "ip", "link", "add", "way", "type", "veth", "peer", "name", "way", "netns", &pid,
    ];
    hub.run(&pair)?;
    hub.run(&["ip", "address", "add", &address, "dev", "way"])?;
    hub.run(&["ip", "link", "set", "way", "up"])?;
    plugin.run(&["ip", "address", "add", "10.99.0.2/24", "dev", "way"])?;
    plugin.run(&["ip", "link", "set", "way", "up"])?;
    Ok((hub, plugin))
}

async fn cluster(hub: &Holder, plugin: &Holder) -> Cluster {
    let options = Options {
        around_hub: hub.enter(),
        around_plugin: plugin.enter(),
        link: Some(format!("{HUB}:{PORT}")),
        ..Options::default()
    };
    Cluster::with(tempfile::tempdir().unwrap(), options).await
}

async fn faults(settings: Settings, hub: &Holder, plugin: &Holder) -> Vec<String> {
    let mut random = settings.random("two networks");
    let cluster = cluster(hub, plugin).await;
    let kubelet = cluster.kubelet();
    let load = Load::start(&cluster, Weight::of(settings), &mut random).await;
    let ticker = load.ticker().clone();
    recovered(&kubelet, &ticker).await;
    let tables = tables(hub);
    let mut figures = Vec::new();
    for (name, rule) in RULES {
        if let Err(NotRun(why)) = tables.clone().and_then(|()| enforce(hub, rule)) {
            not_run(name, &why);
            continue;
        }
        cluster.history.fault(name);
        // A reset is noticed at once, and after 60 s without its plugin a reader of a log may go.
        let long = if rule.contains("reject") { 40 } else { 60 };
        sleep(Duration::from_secs(if settings.is_long() { long } else { 1 })).await;
        for way in WAYS {
            hub.run(&["nft", &format!("flush chain inet faults {}", way.0)])
                .unwrap();
        }
        cluster.history.fault("clear");
        let took = recovered(&kubelet, &ticker).await.as_secs_f64();
        figures.push(format!("{name}: works again {took:.2} s after it is over"));
    }
    match destroy(hub, plugin) {
        Err(NotRun(why)) => not_run(DESTROYED, &why),
        Ok(()) => {
            cluster.history.fault(DESTROYED);
            let took = recovered(&kubelet, &ticker).await.as_secs_f64();
            figures.push(format!("{DESTROYED} by ss -K: works again after {took:.2} s"));
        }
    }
    let more = load.settle(cluster, Rules::default()).await;
    figures.extend(more);
    figures
}

/// The hub's side: chains, and what of a packet names the pair.
const WAYS: [(&str, &str); 2] = [("input", "iifname"), ("output", "oifname")];

fn tables(hub: &Holder) -> Result<(), NotRun> {
    hub.run(&["nft", "add table inet faults"])
        .map_err(|NotRun(why)| NotRun(format!("needs nft (apt install nftables): {why}")))?;
    for (way, _) in WAYS {
        let chain = format!("add chain inet faults {way} {{ type filter hook {way} priority 0; }}");
        hub.run(&["nft", &chain])?;
    }
    Ok(())
}

fn enforce(hub: &Holder, rule: &str) -> Result<(), NotRun> {
    for (way, device) in WAYS {
        hub.run(&["nft", &format!("add rule inet faults {way} {device} way {rule}")])?;
    }
    Ok(())
}

/// As an operator or a firewall may.
fn destroy(hub: &Holder, plugin: &Holder) -> Result<(), NotRun> {
    let mut ended = 0;
    for (side, port) in [(hub, "sport"), (plugin, "dport")] {
        let port = format!("{port} = :{PORT}");
        let words = [
            "ss",
            "--kill",
            "--no-header",
            "--tcp",
            "state",
            "established",
            &port,
        ];
        ended += side.run(&words)?.lines().count();
    }
    match ended {
        0 => Err(NotRun("ss -K ended no socket: the kernel cannot".into())),
        _ => Ok(()),
    }
}
