//! Many pods at once: created, watched, read, some deleted; and the end of it all.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    check::{Rules, check},
    cluster::Cluster,
    history::{Role, Seen, Signal, What},
    kubelet::{Kubelet, Pod},
    processes, readers,
    settings::Settings,
};

/// Nothing that was begun takes longer once the faults are over: a create waits 110 s at most.
const SETTLE: Duration = Duration::from_secs(240);

/// How heavy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weight {
    /// Pods at the same time.
    pub(crate) pods: usize,
    /// A pod prints fewer lines than this.
    pub(crate) lines: u64,
    /// Deletes, a percentage of the pods.
    pub(crate) deleted: u8,
}

impl Weight {
    pub(crate) fn of(settings: Settings) -> Self {
        Self {
            pods: 6,
            lines: if settings.is_long() { 100 } else { 30 },
            deleted: 20,
        }
    }
}

/// The load of one cluster.
#[derive(Debug)]
pub(crate) struct Load {
    lives: JoinSet<()>,
    stop: Arc<AtomicBool>,
    begun: Arc<AtomicU64>,
    kubelet: Kubelet,
    /// Prints from the start to the end, and is followed by a reader of each kind.
    ticker: Pod,
    followers: JoinSet<bool>,
}

impl Load {
    /// Creates pods until [`Load::settle`].
    pub(crate) async fn start(cluster: &Cluster, weight: Weight, random: &mut fastrand::Rng) -> Self {
        let kubelet = cluster.kubelet();
        let ticker = Pod::new(1, None, 50, 0);
        let mut load = Self {
            lives: JoinSet::new(),
            stop: Arc::default(),
            begun: Arc::new(AtomicU64::new(1)),
            kubelet: kubelet.clone(),
            ticker: ticker.clone(),
            followers: JoinSet::new(),
        };
        note_pod(&kubelet, &ticker);
        assert_eq!(kubelet.create(&ticker).await, 200);
        load.followers
            .spawn(readers::follower(kubelet.clone(), ticker.clone()));
        load.followers.spawn(readers::kubectl(kubelet, ticker));
        for _ in 0..weight.pods {
            let (stop, begun, kubelet) = (load.stop.clone(), load.begun.clone(), load.kubelet.clone());
            let mut random = random.fork();
            load.lives.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let number = begun.fetch_add(1, Ordering::Relaxed) + 1;
                    life(&kubelet, number, weight, &mut random).await;
                }
            });
        }
        load
    }

    /// The pod that prints all the time.
    pub(crate) fn ticker(&self) -> &Pod {
        &self.ticker
    }

    pub(crate) fn pods(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// The faults are over: lets everything end, then judges the history. Panics with what is wrong.
    pub(crate) async fn settle(mut self, mut cluster: Cluster, rules: Rules) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        assert_eq!(self.kubelet.delete(&self.ticker).await, 200);
        end_of_deleted(&mut self.followers).await;
        let ended = timeout(SETTLE, async {
            while let Some(life) = self.lives.join_next().await {
                life.unwrap();
            }
        });
        if ended.await.is_err() {
            let path = cluster.path().display();
            panic!("{} of the load never ended; see {path}", self.lives.len());
        }
        finish(&mut cluster, &self.kubelet, rules).await
    }
}

/// Notes what is left of a cluster at rest, ends it, and judges its history. Panics with what is wrong.
pub(crate) async fn finish(cluster: &mut Cluster, kubelet: &Kubelet, rules: Rules) -> Vec<String> {
    rest(cluster, kubelet).await;
    for role in [Role::Hub, Role::Plugin] {
        let pid = cluster.pid(role).unwrap();
        if let Some(used) = processes::usage(pid) {
            cluster.history.note(What::Usage {
                role,
                peak_kib: used.peak_kib,
                fds: used.fds,
                threads: used.threads,
            });
        }
    }
    cluster.end(Role::Plugin, Signal::Term).await;
    cluster.end(Role::Hub, Signal::Term).await;
    let history = cluster.history.entries();
    let report = check(&history, &rules);
    if !report.wrong.is_empty() {
        let shown: Vec<_> = report.wrong.iter().take(20).cloned().collect();
        let path = cluster.keep();
        panic!(
            "{} violations:\n{}\nhistory and logs: {}",
            report.wrong.len(),
            shown.join("\n"),
            path.display()
        );
    }
    report.figures
}

/// Waits until nothing is under way, for as long as a promise may take; then notes what is still there.
async fn rest(cluster: &Cluster, kubelet: &Kubelet) {
    const GAUGES: [&str; 3] = [
        "towline_creates_held",
        "towline_deletes_pending",
        "towline_log_streams_open",
    ];
    let deleted = deleted(cluster);
    let began = Instant::now();
    let (mut gauges, mut listed);
    loop {
        gauges = Vec::new();
        for name in GAUGES {
            gauges.push(kubelet.gauge(name).await.unwrap_or(-1));
        }
        listed = kubelet.listed().await.unwrap_or_default();
        let waits = gauges.iter().any(|gauge| *gauge != 0)
            || listed.iter().any(|uid| deleted.contains(uid))
            || !cluster.others().is_empty();
        if !waits || began.elapsed() > Duration::from_secs(60) {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    for (name, value) in GAUGES.into_iter().zip(gauges) {
        let name = name.to_owned();
        cluster.history.note(What::Gauge { name, value });
    }
    for uid in listed {
        cluster.history.note(What::Listed { uid });
    }
    for (_, text) in cluster.others() {
        cluster.history.note(What::Left { text });
    }
    for file in fs::read_dir(kubelet.ran()).unwrap().flatten() {
        let uid = file.file_name().into_string().unwrap();
        let count = fs::read_to_string(file.path()).unwrap().lines().count();
        cluster.history.note(What::Starts { uid, count });
    }
}

/// The pods whose delete was begun.
fn deleted(cluster: &Cluster) -> Vec<String> {
    let entries = cluster.history.entries().into_iter();
    entries
        .filter_map(|entry| match entry.what {
            What::Begin {
                op: crate::history::Op::Delete,
                uid,
                ..
            } => Some(uid),
            _ => None,
        })
        .collect()
}

pub(crate) fn note_pod(kubelet: &Kubelet, pod: &Pod) {
    kubelet.history.note(What::Pod {
        uid: pod.uid.clone(),
        lines: pod.lines,
        exit: pod.exit,
    });
}

/// One pod from its create to its end.
pub(crate) async fn life(kubelet: &Kubelet, number: u64, weight: Weight, random: &mut fastrand::Rng) {
    let pod = Pod::new(
        number,
        Some(random.u64(0..weight.lines)),
        random.u64(10..60),
        random.i64(0..100),
    );
    let (twice, is_deleted) = (random.u8(0..10) == 0, random.u8(0..100) < weight.deleted);
    let (read, followed) = (random.bool(), random.bool());
    let (until_delete, tidy) = (random.u64(0..1500), random.bool());
    note_pod(kubelet, &pod);
    // A virtual kubelet that was restarted asks again for the same pod.
    let (first, second) = tokio::join!(kubelet.create(&pod), async {
        if twice { kubelet.create(&pod).await } else { 200 }
    });
    if first != 200 || second != 200 {
        return;
    }
    let mut reading = JoinSet::new();
    if read {
        reading.spawn(readers::kubectl(kubelet.clone(), pod.clone()));
    }
    if followed {
        reading.spawn(readers::follower(kubelet.clone(), pod.clone()));
    }
    if is_deleted {
        let end = Instant::now() + Duration::from_millis(until_delete);
        while Instant::now() < end {
            kubelet.status(&pod).await;
            sleep(Duration::from_millis(150)).await;
        }
    } else {
        ended(kubelet, &pod).await;
    }
    if is_deleted {
        kubelet.delete(&pod).await;
        end_of_deleted(&mut reading).await;
    }
    while let Some(reader) = reading.join_next().await {
        let whole = reader.unwrap();
        assert!(whole || is_deleted, "no reader of {} got it whole", pod.uid);
    }
    if tidy && !is_deleted {
        kubelet.delete(&pod).await;
    }
}

/// Readers of a pod that is gone end soon, or else after a minute in which a hub might come to know it again.
async fn end_of_deleted(readers: &mut JoinSet<bool>) {
    let soon = async { while readers.join_next().await.is_some() {} };
    let _ = timeout(Duration::from_secs(3), soon).await;
    readers.shutdown().await;
}

/// Asks until the pod has ended.
pub(crate) async fn ended(kubelet: &Kubelet, pod: &Pod) {
    loop {
        let seen = kubelet.status(pod).await;
        if matches!(seen, Some(Seen::Terminated { .. })) {
            return;
        }
        sleep(Duration::from_millis(150)).await;
    }
}
