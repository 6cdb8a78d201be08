//! What is done to a fleet, one after the other.

use std::ffi::OsString;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Fleet, FleetRow,
    callers::Callers,
    certificates::Certificates,
    child::Process,
    hub::HubProcess,
    order::{Done, Order},
    rest::{check_status, pod},
    rows::{LONGER, Rows, first, millis},
};

/// All phases over one kind of link.
pub(super) async fn run(
    fleet: &Fleet,
    certificates: Option<&Certificates>,
    progress: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<Vec<FleetRow>> {
    let peer = if certificates.is_some() {
        "towline tls"
    } else {
        "towline"
    };
    let mut rows = Rows {
        fleet,
        peer,
        rows: Vec::new(),
    };
    let say = |what: &str| progress(&format!("{peer}: {what}"));
    let hub = HubProcess::start(&fleet.program, "127.0.0.1:0", certificates).await?;
    let mut args: Vec<OsString> = ["bench", "fleet-plugins", "--log-level", "error", "--hub"]
        .map(OsString::from)
        .to_vec();
    args.push(hub.link().into());
    if let Some(certificates) = certificates {
        args.extend(["--ca-file".into(), certificates.ca().into()]);
    }
    let mut sites = Process::start("the plugins", &fleet.program, args)?;

    connect(&mut rows, &hub, &mut sites, &say).await?;
    let pods = create(&mut rows, &hub, &say).await?;
    events(&mut rows, &hub, &mut sites, pods.len(), &say).await?;
    statuses(&mut rows, &hub, &pods, &say).await?;
    let hub = storm(&mut rows, hub, &mut sites, certificates, &say).await?;
    hub.kill().await?;
    sites.kill().await?;
    Ok(rows.rows)
}

async fn connect(
    rows: &mut Rows<'_>,
    hub: &HubProcess,
    sites: &mut Process,
    say: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<()> {
    let fleet = rows.fleet;
    let first = first(fleet.plugins);
    let within_ms = millis(fleet.patience);
    let order = |count| Order::Dial { count, within_ms };
    say(&format!("{first} plugins connect"));
    if first > 0 {
        sites.ask::<Done>(&order(first), fleet.patience + LONGER).await?;
    }
    let hub_before = hub.settles().await?;
    let sites_before = sites.usage()?;
    let count = fleet.plugins - first;
    say(&format!("{count} more plugins connect"));
    let done: Done = sites.ask(&order(count), fleet.patience + LONGER).await?;
    let mut rest = hub.rest().await?;
    let all = fleet.plugins as f64;
    let connected = ("towline_plugins_connected", "");
    hub.reaches(&mut rest, connected, all, fleet.patience).await?;
    say("waiting until all is calm");
    let hub_after = hub.settles().await?;
    let sites_after = sites.usage()?;
    rows.add("connect", count as f64 * 1e3 / done.took_ms, "plugins/s", None);
    let goal = if rows.peer == "towline" { 10.0 } else { 35.0 };
    rows.connected("hub", count, hub_before, hub_after, Some(goal));
    rows.connected("plugin", count, sites_before, sites_after, None);
    Ok(())
}

/// A pod that a plugin runs.
#[derive(Debug)]
struct Placed {
    uid: String,
    plugin: String,
    json: Value,
}

async fn create(
    rows: &mut Rows<'_>,
    hub: &HubProcess,
    say: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<Vec<Placed>> {
    let fleet = rows.fleet;
    let count = fleet.plugins * fleet.pods;
    say(&format!("{count} pods are created"));
    let pods: Vec<Placed> = (0..count)
        .map(|n| {
            let uid = format!("0192f0c1-7a5e-4c1b-8d2e-{n:012x}");
            Placed {
                plugin: format!("site-{:05}", n % fleet.plugins),
                json: pod(&uid, &format!("pod-{n}")),
                uid,
            }
        })
        .collect();
    let bodies: Vec<(String, Bytes)> = pods
        .iter()
        .map(|pod| {
            let body = json!({"pod": pod.json, "configmaps": [], "secrets": [], "projectedvolumesmaps": [], "jobscriptURL": ""});
            (format!("/nodes/{}/create", pod.plugin), body.to_string().into())
        })
        .collect();
    let began = Instant::now();
    let before = hub.usage()?;
    let created = Callers::new(hub).await?.all(Method::POST, &bodies, |answer, n| {
        let answer: Value = serde_json::from_slice(answer)?;
        ensure!(
            answer["PodUID"] == pods[n].uid.as_str(),
            "a create was answered with {answer}"
        );
        Ok(())
    });
    tokio::time::timeout(fleet.patience, created)
        .await
        .context("the creates did not end in time")??;
    let cpu = hub.usage()?.cpu.saturating_sub(before.cpu);
    rows.add(
        "create over REST",
        count as f64 / began.elapsed().as_secs_f64(),
        "pods/s",
        None,
    );
    rows.add(
        "create over REST, hub",
        cpu.as_secs_f64() * 1e6 / count as f64,
        "CPU us",
        None,
    );
    Ok(pods)
}

async fn events(
    rows: &mut Rows<'_>,
    hub: &HubProcess,
    sites: &mut Process,
    pods: usize,
    say: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<()> {
    let fleet = rows.fleet;
    let mut rest = hub.rest().await?;
    let applied = ("towline_pod_events_total", "outcome=\"applied\"");
    let before = rest.metric(applied.0, applied.1).await?;
    let (usage, began) = (hub.usage()?, Instant::now());
    for round in 1..=fleet.events {
        say(&format!("events, round {round} of {}", fleet.events));
        let done: Done = sites
            .ask(&Order::Push { restarts: round }, fleet.patience)
            .await?;
        ensure!(
            done.count == pods,
            "{} events were pushed for {pods} pods",
            done.count
        );
        // A pod's next state must not take the place of one that has not left.
        let so_far = before + f64::from(round) * pods as f64;
        hub.reaches(&mut rest, applied, so_far, fleet.patience).await?;
    }
    let count = pods as f64 * f64::from(fleet.events);
    let cpu = hub.usage()?.cpu.saturating_sub(usage.cpu);
    rows.add("events", count / began.elapsed().as_secs_f64(), "events/s", None);
    rows.add("events, hub", cpu.as_secs_f64() * 1e6 / count, "CPU us", None);
    Ok(())
}

async fn statuses(
    rows: &mut Rows<'_>,
    hub: &HubProcess,
    pods: &[Placed],
    say: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<()> {
    let fleet = rows.fleet;
    say(&format!("{} status requests", fleet.requests));
    let mut rng = fastrand::Rng::with_seed(7);
    let asked: Vec<&Placed> = (0..fleet.requests)
        .map(|_| &pods[rng.usize(..pods.len())])
        .collect();
    let bodies: Vec<(String, Bytes)> = asked
        .iter()
        .map(|pod| {
            let path = format!("/nodes/{}/status", pod.plugin);
            (path, json!([pod.json]).to_string().into())
        })
        .collect();
    let callers = Callers::new(hub).await?;
    let (began, before) = (Instant::now(), hub.usage()?);
    let all = callers.all(Method::GET, &bodies, |answer, n| {
        check_status(answer, &asked[n].uid, fleet.events)
    });
    let latencies = tokio::time::timeout(fleet.patience, all)
        .await
        .context("the status requests did not end in time")??;
    let cpu = hub.usage()?.cpu.saturating_sub(before.cpu);
    let count = fleet.requests as f64;
    rows.add(
        "status over REST",
        count / began.elapsed().as_secs_f64(),
        "requests/s",
        None,
    );
    rows.add(
        "status over REST, hub",
        cpu.as_secs_f64() * 1e6 / count,
        "CPU us",
        None,
    );
    rows.add("status over REST, p50", latencies.quantile_us(0.5), "us", None);
    rows.add("status over REST, p99", latencies.quantile_us(0.99), "us", None);
    Ok(())
}

async fn storm(
    rows: &mut Rows<'_>,
    hub: HubProcess,
    sites: &mut Process,
    certificates: Option<&Certificates>,
    say: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<HubProcess> {
    let fleet = rows.fleet;
    say("the hub is killed and started again");
    let address = hub.address.clone();
    sites.ask::<Done>(&Order::Storm, LONGER).await?;
    hub.kill().await?;
    let hub = HubProcess::start(&fleet.program, &address, certificates).await?;
    say("plugins come back");
    let within_ms = millis(fleet.patience);
    let done: Done = sites
        .ask(&Order::Back { within_ms }, fleet.patience + LONGER)
        .await?;
    let back = done.back.context("the plugins do not say how they came back")?;
    let mut rest = hub.rest().await?;
    let all = fleet.plugins as f64;
    let connected = ("towline_plugins_connected", "");
    hub.reaches(&mut rest, connected, all, fleet.patience).await?;
    rows.add("storm, half are back", back.p50_ms / 1e3, "s", None);
    rows.add("storm, 99 % are back", back.p99_ms / 1e3, "s", Some(10.0));
    rows.add("storm, all are back", back.all_ms / 1e3, "s", None);
    rows.add(
        "storm, failed dials a plugin",
        back.failed as f64 / all,
        "dials",
        None,
    );
    rows.add(
        "storm, most failed dials",
        f64::from(back.failed_most),
        "dials",
        Some(2.0),
    );
    let cpu = hub.usage()?.cpu.as_secs_f64() * 1e3 / all;
    rows.add("storm, hub", cpu, "CPU ms a plugin", None);
    Ok(hub)
}
