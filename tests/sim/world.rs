//! One world: a hub, plugins, sites, kubelets and everything that goes wrong between them.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;
use towline::{
    hub::{Hub, HubConfig, Identity, MemoryFile, StateDir},
    planted::{Bug, plant},
    plugin::{
        CancellationToken, Compression, DialFailure, Dialer, Plugin, PluginConfig, journal::memory::Medium,
    },
    transport::memory::{Faults, pair_with},
};

use super::{
    kubelet::{self, Told, Wish},
    life::Life,
    rng::Rng,
    site::{Batch, Clock, Job, Mood, Site},
    tap::{Ledger, Tap},
    trace::{Trace, note, violated},
};

/// Schedules that find a bug must be short to read; this many plugins and pods are enough for all of them.
const MAX_PLUGINS: u64 = 2;
const MAX_PODS: u64 = 5;
/// After the last fault: the longest backoff, the longest hold and a poll.
const HEAL: Duration = Duration::from_secs(900);

/// How long the hub's store waits at most before it tries again.
const STORE_RETRY: Duration = Duration::from_secs(16);

/// What a schedule gave.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) violations: Vec<String>,
    pub(crate) trace: String,
    pub(crate) digest: u64,
    pub(crate) steps: usize,
}

/// Runs the schedule of one seed.
pub(crate) fn run(seed: u64) -> Outcome {
    run_with(seed, None)
}

/// Runs it with a planted bug.
pub(crate) fn run_with(seed: u64, bug: Option<Bug>) -> Outcome {
    plant(bug);
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let local = tokio::task::LocalSet::new();
    let trace = local.block_on(&runtime, async { Trace::begin() });
    // A panic is in the record, wherever it was.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        local.block_on(&runtime, async { World::new(seed).schedule().await });
    }));
    let outcome = Outcome {
        violations: trace.violations(),
        trace: trace.text(),
        digest: trace.digest(),
        steps: trace.len(),
    };
    drop(local);
    drop(runtime);
    Trace::end();
    plant(None);
    outcome
}

/// A hub process.
struct HubProcess {
    hub: Arc<Hub>,
    life: Life,
}

/// A link as the network sees it.
#[derive(Debug, Clone)]
struct Wire {
    plugin: String,
    /// What each end sends.
    ends: [Faults; 2],
}

impl Wire {
    fn cut(&self) {
        self.ends[0].cut();
    }

    fn half_open(&self) {
        for end in &self.ends {
            end.drop_silently();
        }
    }
}

/// What dialling sees: shared with plugins, whose futures must be able to move between threads.
#[derive(Clone, Default)]
struct Net(Arc<Mutex<NetState>>);

#[derive(Default)]
struct NetState {
    hub: Option<(Arc<Hub>, Life)>,
    wires: Vec<Wire>,
    /// Cut the next link of a plugin once one end has sent so much.
    cut_next: BTreeMap<String, (usize, Cut)>,
    down: BTreeMap<String, Instant>,
}

/// Where a link is cut.
#[derive(Debug, Clone, Copy)]
enum Cut {
    Message(u64),
    /// Within a message: it is lost with all that follows.
    Byte(u64),
}

struct NetDialer {
    net: Net,
    plugin: String,
    life: Life,
    ledger: Ledger,
    /// The hub keeps what it acknowledges.
    durable: bool,
}

impl Dialer for NetDialer {
    type Transport = Tap;

    async fn dial(&self) -> Result<Tap, DialFailure> {
        self.life.gate().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.life.gate().await;
        let mut net = self.net.0.lock().unwrap();
        if net
            .down
            .get(&self.plugin)
            .is_some_and(|until| *until > Instant::now())
        {
            return Err(DialFailure::new("the network is down"));
        }
        let Some((hub, _)) = net.hub.clone() else {
            return Err(DialFailure::new("connection refused"));
        };
        let (near, far) = pair_with(16 << 20, 64);
        let ends = [near.faults(), far.faults()];
        match net.cut_next.remove(&self.plugin) {
            Some((end, Cut::Message(count))) => ends[end].cut_at_message(count),
            Some((end, Cut::Byte(count))) => ends[end].cut_at_byte(count),
            None => {}
        }
        note(|| format!("{} has dialled", self.plugin));
        net.wires.push(Wire {
            plugin: self.plugin.clone(),
            ends,
        });
        drop(net);
        let identity = Identity {
            plugin: None,
            remote: "simulated".into(),
            way: towline::hub::Way::Link,
        };
        tokio::spawn(hub.serve_link(far, identity));
        Ok(Tap::new(near, &self.plugin, self.durable, self.ledger.clone()))
    }
}

/// A plugin process, and what outlives it.
struct PluginProcess {
    name: String,
    batch: Arc<Batch>,
    life: RefCell<Option<(Life, CancellationToken)>>,
    instance: Cell<u64>,
    mood: Mood,
    /// Its state directory; none in one of four worlds.
    medium: Option<Medium>,
    ledger: Ledger,
}

pub(crate) struct World {
    rng: RefCell<Rng>,
    net: Net,
    hub: RefCell<Option<HubProcess>>,
    file: Option<MemoryFile>,
    /// The hub's disk fails, and its store has not tried again, until then.
    unwritable: Cell<Option<Instant>>,
    plugins: Vec<PluginProcess>,
    wishes: Vec<Rc<Wish>>,
    over: Cell<bool>,
    /// Mostly so seldom that nothing which events should have told is mended by it.
    anti_entropy: Duration,
    compression: bool,
    hub_lives: Cell<u64>,
    /// Readers of logs that have not ended.
    pub(crate) reading: Cell<usize>,
}

impl World {
    fn new(seed: u64) -> Rc<Self> {
        let mut rng = Rng::new(seed);
        let plugins: Vec<_> = (0..rng.between(1, MAX_PLUGINS + 1))
            .map(|index| PluginProcess {
                name: format!("site-{index}"),
                batch: Batch::new(),
                life: RefCell::new(None),
                instance: Cell::new(0),
                medium: (!rng.one_in(4)).then(Medium::new),
                ledger: Ledger::default(),
                mood: Mood {
                    submit_ms: if rng.one_in(3) { 8_000 } else { 50 },
                    unsure_in: if rng.one_in(3) { 3 } else { u64::MAX },
                    busy_in: if rng.one_in(3) { 3 } else { u64::MAX },
                    status_fails_in: if rng.one_in(3) { 4 } else { u64::MAX },
                    status_ms: if rng.one_in(2) { 10_000 } else { 1 },
                },
            })
            .collect();
        let wishes = (0..rng.between(1, MAX_PODS + 1))
            .map(|index| {
                let name = rng.pick(&plugins).unwrap().name.clone();
                Wish::new(&name, usize::try_from(index).unwrap(), &mut rng)
            })
            .collect();
        let file = (!rng.one_in(4)).then(MemoryFile::default);
        let anti_entropy = Duration::from_secs(if rng.one_in(4) { 300 } else { 36_000 });
        Rc::new(Self {
            anti_entropy,
            compression: rng.one_in(8),
            hub_lives: Cell::new(0),
            reading: Cell::new(0),
            rng: RefCell::new(rng),
            net: Net::default(),
            hub: RefCell::new(None),
            file,
            unwritable: Cell::new(None),
            plugins,
            wishes,
            over: Cell::new(false),
        })
    }

    async fn schedule(self: Rc<Self>) {
        self.start_hub();
        for plugin in &self.plugins {
            self.start_plugin(plugin);
        }
        for wish in &self.wishes {
            let rng = self.rng.borrow_mut().fork();
            self.spawn(kubelet::live(self.clone(), wish.clone(), rng));
        }
        let faults = self.rng.borrow_mut().between(0, 12);
        for _ in 0..faults {
            let pause = self.rng.borrow_mut().millis(10, 30_000);
            self.sleep(pause).await;
            self.fault().await;
        }
        note(|| "the faults are over".into());
        self.heal();
        self.sleep(HEAL).await;
        // A cut that waited for so many messages may have come just now.
        let all_up = async |hub: Arc<Hub>| hub.plugins().iter().all(|plugin| plugin.connected);
        if self.http(all_up).await != Some(true) {
            self.sleep(Duration::from_secs(60)).await;
        }
        self.check().await;
        self.over.set(true);
        if let Some(process) = self.hub.borrow_mut().take() {
            process.life.end();
        }
    }

    fn compression(&self) -> Compression {
        if self.compression {
            Compression::On
        } else {
            Compression::Off
        }
    }

    fn start_hub(&self) {
        if self.hub.borrow().is_some() {
            return;
        }
        let config = HubConfig {
            state_dir: self.file.clone().map_or(StateDir::None, StateDir::Memory),
            anti_entropy: self.anti_entropy,
            compression: self.compression(),
            ..HubConfig::default()
        };
        let hub = match Hub::new(config) {
            Ok(hub) => hub,
            Err(error) => return violated("I6", format!("the hub does not start: {error}")),
        };
        let life = Life::default();
        self.net.0.lock().unwrap().hub = Some((hub.clone(), life.clone()));
        self.hub_lives.set(self.hub_lives.get() + 1);
        note(|| format!("the hub is up (durable {})", self.file.is_some()));
        self.hub.replace(Some(HubProcess { hub, life }));
    }

    /// The hub's process is killed; `vanish`: with its machine, so that nobody is told.
    fn kill_hub(&self, vanish: bool) {
        let Some(process) = self.hub.borrow_mut().take() else {
            return;
        };
        note(|| format!("the hub is killed (vanish {vanish})"));
        process.life.end();
        let seed = self.rng.borrow_mut().next();
        if let Some(file) = &self.file {
            file.crash(seed);
        }
        if self.unwritable.get().is_some_and(|until| until > Instant::now()) {
            // What it has shown since could not be kept.
            self.wishes.iter().for_each(|wish| wish.seen.set(0));
        }
        let mut net = self.net.0.lock().unwrap();
        net.hub = None;
        for wire in net.wires.drain(..) {
            if vanish { wire.half_open() } else { wire.cut() }
        }
    }

    fn start_plugin(&self, process: &PluginProcess) {
        if process.life.borrow().is_some() {
            return;
        }
        process.instance.set(process.instance.get() + 1);
        let life = Life::default();
        let stop = CancellationToken::new();
        let mut config = PluginConfig::new("ws://hub/ws", process.name.as_str());
        config.instance = format!("{}-{}", process.name, process.instance.get());
        config.jobs_epoch = 1;
        config.compression = self.compression();
        let mut rng = self.rng.borrow_mut();
        let site = Site {
            batch: process.batch.clone(),
            life: life.clone(),
            rng: Mutex::new(rng.fork()),
            mood: process.mood,
            looks_up_always: process.medium.is_none(),
            clock: Clock::new(&mut rng),
        };
        drop(rng);
        let dialer = NetDialer {
            net: self.net.clone(),
            plugin: process.name.clone(),
            life: life.clone(),
            ledger: process.ledger.clone(),
            durable: self.file.is_some(),
        };
        note(|| format!("{} is up (durable {})", config.instance, process.medium.is_some()));
        let mut plugin = Plugin::new(config, site);
        if let Some(medium) = &process.medium {
            plugin = plugin.with_disk(medium.disk());
        }
        let (ends, token) = (life.clone(), stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = ends.over() => {}
                _ = plugin.run_with(dialer, token) => {}
            }
        });
        process.life.replace(Some((life, stop)));
    }

    fn kill_plugin(&self, process: &PluginProcess, vanish: bool) {
        let Some((life, _)) = process.life.take() else {
            return;
        };
        note(|| format!("{} is killed (vanish {vanish})", process.name));
        life.end();
        if let Some(medium) = &process.medium {
            // Of what was being written, any part may be there.
            medium.crash(usize::try_from(self.rng.borrow_mut().between(0, 200)).unwrap());
        }
        let mut net = self.net.0.lock().unwrap();
        net.wires.retain(|wire| {
            let own = wire.plugin == process.name;
            if own {
                if vanish { wire.half_open() } else { wire.cut() }
            }
            !own
        });
    }

    async fn stop_plugin(&self, process: &PluginProcess) {
        let Some((life, stop)) = process.life.take() else {
            return;
        };
        note(|| format!("{} is told to stop", process.name));
        stop.cancel();
        self.sleep(Duration::from_secs(10)).await;
        life.end();
    }

    async fn stop_hub(&self) {
        let Some(process) = self.hub.borrow_mut().take() else {
            return;
        };
        note(|| "the hub is told to stop".into());
        self.net.0.lock().unwrap().hub = None;
        process.hub.drain(Duration::from_secs(8)).await;
        process.life.end();
        if let Some(file) = &self.file {
            file.next_life();
        }
        let mut net = self.net.0.lock().unwrap();
        for wire in net.wires.drain(..) {
            wire.cut();
        }
    }

    fn wires_of(&self, name: &str) -> Vec<Wire> {
        let net = self.net.0.lock().unwrap();
        net.wires
            .iter()
            .filter(|wire| wire.plugin == name)
            .cloned()
            .collect()
    }

    async fn fault(self: &Rc<Self>) {
        let (kind, index, pause, coin) = {
            let mut rng = self.rng.borrow_mut();
            let index = usize::try_from(rng.between(0, self.plugins.len() as u64)).unwrap();
            (
                rng.between(0, 17),
                index,
                rng.millis(1, 70_000),
                rng.between(0, 60),
            )
        };
        let process = &self.plugins[index];
        let end = usize::try_from(coin % 2).unwrap();
        let wires = self.wires_of(&process.name);
        match kind {
            0 => {
                note(|| format!("cut of {}", process.name));
                wires.iter().for_each(Wire::cut);
            }
            1 => {
                let cut = if pause.as_millis() % 2 == 0 {
                    Cut::Message(coin)
                } else {
                    Cut::Byte(pause.as_millis() as u64 % 4_000)
                };
                note(|| format!("cut of the next link of {} at {cut:?}", process.name));
                let mut net = self.net.0.lock().unwrap();
                net.cut_next.insert(process.name.clone(), (end, cut));
                wires.iter().for_each(Wire::cut);
            }
            2 => {
                note(|| format!("half-open link of {}", process.name));
                wires.iter().for_each(Wire::half_open);
            }
            3 => {
                note(|| format!("{} is held up for {pause:?}", process.name));
                for wire in &wires {
                    wire.ends[end].hold();
                }
                self.sleep(pause / 4).await;
                for wire in &wires {
                    wire.ends[end].release();
                }
            }
            4 => {
                note(|| format!("{} does not read for {pause:?}", process.name));
                for wire in &wires {
                    wire.ends[end].stall(true);
                }
                self.sleep(pause / 2).await;
                for wire in &wires {
                    wire.ends[end].stall(false);
                }
            }
            5 | 6 => {
                self.kill_plugin(process, coin % 3 == 0);
                self.sleep(pause / 3).await;
                self.start_plugin(process);
            }
            7 => {
                self.stop_plugin(process).await;
                self.start_plugin(process);
            }
            8 => {
                self.kill_hub(coin % 3 == 0);
                self.sleep(pause / 4).await;
                self.start_hub();
            }
            9 => {
                self.stop_hub().await;
                self.sleep(pause / 8).await;
                self.start_hub();
            }
            10 => self.disk_fault(process, pause, coin).await,
            11 => self.late_frames(process, &wires, pause).await,
            12 => {
                let Some(file) = self.file.clone() else { return };
                note(|| format!("the hub's disk fails for {pause:?}"));
                file.fail(Some("no space left"));
                self.unwritable
                    .set(Some(Instant::now() + pause / 2 + STORE_RETRY));
                self.sleep(pause / 2).await;
                file.fail(None);
            }
            _ => {
                note(|| format!("{} has no network for {:?}", process.name, 2 * pause));
                let until = Instant::now() + 2 * pause;
                self.net
                    .0
                    .lock()
                    .unwrap()
                    .down
                    .insert(process.name.clone(), until);
                wires.iter().for_each(Wire::cut);
            }
        }
    }

    /// What a plugin's disk does: it fails, is full for a while, or the process dies within a write.
    async fn disk_fault(&self, process: &PluginProcess, pause: Duration, coin: u64) {
        let Some(medium) = &process.medium else { return };
        let keep = usize::try_from(coin * 7).unwrap();
        match coin % 4 {
            0 => {
                note(|| format!("the disk of {} fails", process.name));
                medium.fail(1 + coin / 16);
            }
            1 => {
                note(|| format!("the disk of {} is full for {pause:?}", process.name));
                medium.set_room(Some(medium.log().map_or(0, |log| log.len()) + keep));
                self.sleep(pause / 2).await;
                medium.set_room(None);
            }
            2 => {
                note(|| format!("the disk of {} stands still for {pause:?}", process.name));
                medium.hold();
                self.sleep(pause / 2).await;
                medium.release();
            }
            _ => {
                note(|| format!("{} dies within a write of its journal", process.name));
                medium.crash_at(medium.writes() + 1 + coin / 16, keep);
                self.sleep(pause / 6).await;
                self.kill_plugin(process, false);
                self.start_plugin(process);
            }
        }
    }

    /// A killed plugin's last frames are on their way while its successor is linked, and come then.
    async fn late_frames(&self, process: &PluginProcess, wires: &[Wire], pause: Duration) {
        note(|| format!("frames of {} come late", process.name));
        for wire in wires {
            wire.ends[0].hold();
        }
        self.sleep(pause / 8).await;
        let Some((life, _)) = process.life.take() else {
            return;
        };
        life.end();
        if let Some(medium) = &process.medium {
            medium.crash(0);
        }
        self.start_plugin(process);
        self.sleep(pause / 8).await;
        note(|| format!("late frames of {} come now", process.name));
        for wire in wires {
            wire.ends[0].release();
        }
    }

    fn heal(&self) {
        if let Some(file) = &self.file {
            file.fail(None);
        }
        for medium in self.plugins.iter().filter_map(|plugin| plugin.medium.as_ref()) {
            medium.set_room(None);
            medium.fail(0);
            medium.release();
        }
        {
            let mut net = self.net.0.lock().unwrap();
            net.cut_next.clear();
            net.down.clear();
        }
        self.start_hub();
        for plugin in &self.plugins {
            self.start_plugin(plugin);
        }
    }

    /// What must hold once nothing fails any more.
    async fn check(self: &Rc<Self>) {
        for wish in &self.wishes {
            let job = self.job(wish);
            let forgot = self.file.is_none() && wish.answered_by.get() != self.hub_life();
            let shown = kubelet::look(self, wish).await;
            match (wish.deleted.get(), wish.told.get()) {
                (true, _) => {
                    if !forgot && job.is_some_and(|job| !job.cancelled) {
                        violated(
                            "I3",
                            format!("{} was deleted, but nobody told the site", wish.name()),
                        );
                    }
                }
                (false, Told::Created) if !wish.delete_asked.get() => {
                    let Some(job) = job else {
                        violated("I3", format!("{} was created, but there is no job", wish.name()));
                        continue;
                    };
                    let told = shown.and_then(|status| Some(status.containers.first()?.clone()));
                    let version = told
                        .as_ref()
                        .map_or(0, |told| kubelet::version(&told.container_id));
                    if version != job.version {
                        violated(
                            "I1",
                            format!(
                                "{} is shown at v{version}, it is at v{}",
                                wish.name(),
                                job.version
                            ),
                        );
                    }
                    let exit = told.and_then(|told| Some(told.state.terminated?.exit_code));
                    if exit != job.exit {
                        violated(
                            "I1",
                            format!(
                                "{} is shown with exit {exit:?}, it ended with {:?}",
                                wish.name(),
                                job.exit
                            ),
                        );
                    }
                }
                // Refused because of a delete, which was then refused itself or lost.
                (false, Told::Refused) if wish.delete_asked.get() => {}
                (false, Told::Refused) => {
                    if !forgot && job.as_ref().is_some_and(|job| !job.cancelled) {
                        violated(
                            "I4",
                            format!("the create of {} was refused, but its job is there", wish.name()),
                        );
                    }
                }
                _ => {}
            }
        }
        let metrics = self
            .http(async |hub| hub.metrics_text())
            .await
            .unwrap_or_default();
        for gauge in [
            "towline_creates_held",
            "towline_deletes_pending",
            "towline_log_streams_open",
        ] {
            let line = metrics
                .lines()
                .find(|line| line.starts_with(gauge) && !line.starts_with('#'));
            if line.is_some_and(|line| !line.ends_with(" 0")) {
                violated("I5", format!("at rest: {}", line.unwrap_or_default()));
            }
        }
        if self.reading.get() > 0 {
            violated("I3", format!("{} readers of logs hang", self.reading.get()));
        }
        let plugins = self.http(async |hub| hub.plugins()).await.unwrap_or_default();
        for plugin in plugins.iter().filter(|plugin| !plugin.connected || !plugin.ready) {
            violated(
                "I3",
                format!("plugin {} is not back: {}", plugin.name, plugin.reason),
            );
        }
    }

    /// A call of an HTTP client to the hub that is up now; none when the connection breaks.
    pub(crate) async fn http<T>(&self, call: impl AsyncFnOnce(Arc<Hub>) -> T) -> Option<T> {
        let (hub, life) = {
            let process = self.hub.borrow();
            let process = process.as_ref()?;
            (process.hub.clone(), process.life.clone())
        };
        tokio::select! {
            biased;
            () = life.over() => None,
            answer = call(hub) => Some(answer),
        }
    }

    pub(crate) fn job(&self, wish: &Wish) -> Option<Job> {
        self.plugins
            .iter()
            .find_map(|plugin| plugin.batch.job(wish.uid()))
    }

    pub(crate) fn log(&self, wish: &Wish, epoch: u64) -> Option<(u64, bool)> {
        self.plugins
            .iter()
            .find_map(|plugin| plugin.batch.log(wish.uid(), epoch))
    }

    /// Whether the hub has a state directory.
    pub(crate) fn is_durable(&self) -> bool {
        self.file.is_some()
    }

    /// Which life of the hub this is.
    pub(crate) fn hub_life(&self) -> u64 {
        self.hub_lives.get()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.get()
    }

    pub(crate) async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        tokio::task::spawn_local(work);
    }
}
