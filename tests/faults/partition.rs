//! Rows: hub and plugin in two networks that are joined by a pair of interfaces: what the kernel's TCP makes of loss.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    check::Rules,
    cluster::{Cluster, Options},
    load::{Load, Weight},
    namespace::{Holder, has},
    recovery::recovered,
    settings::{NotRun, Settings, row},
};

const HUB: &str = "10.99.0.1";
const PORT: &str = "3000";

#[test]
fn partition() {
    row("partition", partitioned);
}

#[test]
fn random_loss() {
    row("random loss", async |settings| {
        under_rules(
            settings,
            "random loss",
            &[("random loss", "numgen random mod 100 < 25 drop")],
        )
        .await
    });
}

#[test]
fn rejected_with_reset() {
    row("rejected with reset", async |settings| {
        let rule = "meta l4proto tcp reject with tcp reset";
        under_rules(settings, "rejected with reset", &[("rejected", rule)]).await
    });
}

#[test]
fn sockets_destroyed() {
    row("sockets destroyed", destroyed);
}

/// Silence, both ways and one way.
async fn partitioned(settings: Settings) -> Result<Vec<String>, NotRun> {
    let rules = [("both ways", "drop"), ("one way", "ip saddr 10.99.0.1 drop")];
    under_rules(settings, "partition", &rules).await
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

/// Each rule for a while, on what leaves and enters the hub's network.
async fn under_rules(settings: Settings, name: &str, rules: &[(&str, &str)]) -> Result<Vec<String>, NotRun> {
    if !has("nft") {
        return Err(NotRun("needs nft (apt install nftables)".into()));
    }
    let (hub, plugin) = networks().await?;
    hub.run(&["nft", "add table inet faults"])?;
    for way in ["input", "output"] {
        let chain = format!("add chain inet faults {way} {{ type filter hook {way} priority 0; }}");
        hub.run(&["nft", &chain])?;
    }
    let mut random = settings.random(name);
    let cluster = cluster(&hub, &plugin).await;
    let kubelet = cluster.kubelet();
    let load = Load::start(&cluster, Weight::default(), &mut random).await;
    let ticker = load.ticker().clone();
    recovered(&kubelet, &ticker).await;
    let mut times = Vec::new();
    for (text, rule) in rules {
        cluster.history.fault(*text);
        for (way, device) in [("input", "iifname"), ("output", "oifname")] {
            hub.run(&["nft", &format!("add rule inet faults {way} {device} way {rule}")])?;
        }
        sleep(Duration::from_secs(if settings.is_long() { 60 } else { 2 })).await;
        hub.run(&["nft", "flush chain inet faults input"])?;
        hub.run(&["nft", "flush chain inet faults output"])?;
        cluster.history.fault("clear");
        let took = recovered(&kubelet, &ticker).await;
        times.push(format!("{text}: recovery {:.2} s", took.as_secs_f64()));
    }
    let mut figures = load.settle(cluster, Rules::default()).await;
    figures.extend(times);
    Ok(figures)
}

/// `ss -K` ends the link's socket on either side, as an operator or a firewall may.
async fn destroyed(settings: Settings) -> Result<Vec<String>, NotRun> {
    let (hub, plugin) = networks().await?;
    let mut random = settings.random("sockets destroyed");
    let cluster = cluster(&hub, &plugin).await;
    let kubelet = cluster.kubelet();
    let load = Load::start(&cluster, Weight::default(), &mut random).await;
    let ticker = load.ticker().clone();
    recovered(&kubelet, &ticker).await;
    let (mut killed, mut refused) = (0, None);
    for (side, filter) in [(&hub, "sport"), (&plugin, "dport")] {
        let filter = format!("{filter} = :{PORT}");
        match side.run(&[
            "ss",
            "--kill",
            "--no-header",
            "--tcp",
            "state",
            "established",
            &filter,
        ]) {
            Ok(text) => killed += text.lines().count(),
            Err(why) => refused = Some(why),
        }
        sleep(Duration::from_millis(100)).await;
        recovered(&kubelet, &ticker).await;
    }
    let mut figures = load.settle(cluster, Rules::default()).await;
    if let Some(why) = refused {
        return Err(why);
    }
    if killed < 2 {
        return Err(NotRun(format!(
            "ss -K ended {killed} sockets: this kernel cannot"
        )));
    }
    figures.push(format!("{killed} sockets destroyed"));
    Ok(figures)
}
