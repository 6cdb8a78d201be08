//! One run: the hosts, the faults that a seed decides, and the end.

use std::{cell::Cell, rc::Rc, time::Duration};

use tokio::time::sleep;
use turmoil::{Builder, Sim};

use super::{
    hosts::{HUB, HubHost, PluginHost},
    kubelet::{self, Wish},
    trace::{self, Outcome, note, note_at},
};

const PLUGINS: [&str; 2] = ["site-0", "site-1"];
const PODS: usize = 5;
const FAULTS: usize = 5;
/// Hosts run in turns of this length; shorter ones cost more steps and show nothing else.
const TICK: Duration = Duration::from_millis(25);
/// The longest hold, the longest backoff and the hub's slowest look at its plugins come after the last fault.
const MOST: Duration = Duration::from_secs(700);

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing gets through between hub and plugin.
    Partition,
    /// Nothing gets through in one direction.
    OneWay,
    /// Messages wait between hub and plugin, then all arrive.
    Hold,
    /// The plugin's machine dies: nobody is told. Its next life begins later.
    PluginCrash,
    /// The plugin's process dies and is started at once.
    PluginBounce,
    /// The hub's machine dies with what it had not synced.
    HubCrash,
}

impl Fault {
    pub(crate) const ALL: [Self; 6] = [
        Self::Partition,
        Self::OneWay,
        Self::Hold,
        Self::PluginCrash,
        Self::PluginBounce,
        Self::HubCrash,
    ];
}

/// One fault with all that chance decides of it.
#[derive(Debug, Clone, Copy)]
struct Planned {
    fault: Fault,
    begins: Duration,
    ends: Duration,
    plugin: usize,
    coin: bool,
    seed: u64,
}

/// Faults one after the other: the next begins when the one before is mended.
fn plan(faults: &[Fault]) -> Vec<Planned> {
    let mut at = Duration::from_secs(3);
    let count = if faults.is_empty() { 0 } else { FAULTS };
    (0..count)
        .map(|_| {
            let begins = at + Duration::from_millis(fastrand::u64(100..15_000));
            let ends = begins + Duration::from_millis(fastrand::u64(500..45_000));
            at = ends;
            Planned {
                fault: faults[fastrand::usize(..faults.len())],
                begins,
                ends,
                plugin: fastrand::usize(..PLUGINS.len()),
                coin: fastrand::bool(),
                seed: fastrand::u64(..),
            }
        })
        .collect()
}

/// Runs a scenario with one seed.
pub(crate) fn run(seed: u64, faults: &[Fault]) -> Outcome {
    run_slowly(seed, faults, Duration::ZERO)
}

/// The same on a machine that needs `pause` more for every turn: that must change nothing.
pub(crate) fn run_slowly(seed: u64, faults: &[Fault], pause: Duration) -> Outcome {
    trace::begin();
    fastrand::seed(seed);
    let mut sim = Builder::new()
        .rng_seed(seed)
        .tick_duration(TICK)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(fastrand::u64(20..300)))
        .simulation_duration(MOST)
        .build();
    let hub = HubHost::default();
    let plugins = PLUGINS.map(PluginHost::new);
    let software = hub.clone();
    sim.host(HUB, move || software.clone().run());
    for plugin in &plugins {
        let software = plugin.clone();
        sim.host(plugin.name.as_str(), move || software.clone().run());
    }
    let wishes: Vec<_> = (0..PODS)
        .map(|index| Wish::new(index, &plugins[index % plugins.len()]))
        .collect();
    let planned = plan(faults);
    let mended = Rc::new(Cell::new(false));
    sim.client("kubelet", all(wishes, mended.clone()));
    let wrong = play(&mut sim, &planned, &hub, &plugins, &mended, pause);
    drop(sim);
    let mut outcome = trace::end();
    outcome.wrong.extend(wrong.err());
    outcome
}

/// The client's side: all pods, then rest.
async fn all(wishes: Vec<Rc<Wish>>, mended: Rc<Cell<bool>>) -> turmoil::Result {
    let lives: Vec<_> = wishes
        .iter()
        .map(|wish| tokio::task::spawn_local(kubelet::live(wish.clone())))
        .collect();
    for life in lives {
        life.await?;
    }
    note("all pods are over");
    while !mended.get() || !kubelet::is_settled(&wishes).await {
        sleep(Duration::from_secs(1)).await;
    }
    note("all is at rest");
    Ok(())
}

/// Steps through the time and lets things go wrong; an error when the client does not come to its end.
fn play(
    sim: &mut Sim<'_>,
    planned: &[Planned],
    hub: &HubHost,
    plugins: &[PluginHost],
    mended: &Cell<bool>,
    pause: Duration,
) -> Result<(), String> {
    let mut steps: Vec<(Duration, Planned, bool)> = planned
        .iter()
        .flat_map(|one| [(one.begins, *one, true), (one.ends, *one, false)])
        .collect();
    steps.reverse();
    loop {
        while let Some((_, one, begins)) = steps.pop_if(|(at, ..)| *at <= sim.elapsed()) {
            apply(sim, one, begins, hub, &plugins[one.plugin]).map_err(|error| error.to_string())?;
        }
        mended.set(steps.is_empty());
        std::thread::sleep(pause);
        match sim.step() {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn apply(
    sim: &mut Sim<'_>,
    one: Planned,
    begins: bool,
    hub: &HubHost,
    plugin: &PluginHost,
) -> turmoil::Result {
    let (name, both) = (plugin.name.as_str(), (one.fault, begins));
    note_at(
        sim.elapsed(),
        &format!(
            "{:?} of {name} ({}) {}",
            one.fault,
            one.coin,
            if begins { "begins" } else { "ends" }
        ),
    );
    let (from, to) = if one.coin { (HUB, name) } else { (name, HUB) };
    match both {
        (Fault::Partition, true) => sim.partition(HUB, name),
        (Fault::Partition, false) => sim.repair(HUB, name),
        (Fault::OneWay, true) => sim.partition_oneway(from, to),
        (Fault::OneWay, false) => sim.repair_oneway(from, to),
        (Fault::Hold, true) => sim.hold(HUB, name),
        (Fault::Hold, false) => sim.release(HUB, name),
        (Fault::PluginCrash, true) => {
            // With its machine: no end of its connection reaches the hub.
            if one.coin {
                sim.partition(HUB, name);
            }
            plugin.crash(usize::try_from(one.seed % 200).unwrap());
            sim.crash(name);
        }
        (Fault::PluginCrash, false) => {
            sim.repair(HUB, name);
            sim.bounce(name);
        }
        (Fault::PluginBounce, _) => {
            plugin.crash(usize::try_from(one.seed % 200).unwrap());
            sim.bounce(name);
        }
        (Fault::HubCrash, true) => {
            if one.coin {
                for name in PLUGINS {
                    sim.partition(HUB, name);
                }
            }
            hub.crash(one.seed);
            // Its sockets end, then all the rest.
            sim.step()?;
            sim.crash(HUB);
        }
        (Fault::HubCrash, false) => {
            for name in PLUGINS {
                sim.repair(HUB, name);
            }
            sim.bounce(HUB);
        }
    }
    Ok(())
}
