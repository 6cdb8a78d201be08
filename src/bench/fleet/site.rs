//! The plugins of a fleet, all in one process: `towline bench fleet-plugins`.
//!
//! Each is a real [`Plugin`] with a name and a connection of its own, whose pods run from their create on.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::bail;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::order::{Back, Done, Order, obey};
use crate::{
    plugin::{
        CancellationToken, Create, Created, Delete, Deleted, DialFailure, Dialer, Events, Handler,
        LogRequest, LogSink, Plugin, PluginConfig, Which,
    },
    transport::{Dial, Io, TlsConfig, WebSocket, dial},
    wire::{ContainerState, LogsEnd, NodeStatus, PodEventType, PodState, SUBPROTOCOL_PROTO, Status},
};

/// One plugin's handler, and what its links are counted by.
#[derive(Debug)]
struct Site {
    pods: Mutex<Vec<PodState>>,
    events: Mutex<Option<Events>>,
    shared: Arc<Shared>,
    /// Microseconds after the storm began at which the link stood again; 0: not yet.
    back: AtomicU64,
    failed: AtomicU32,
}

#[derive(Debug)]
struct Shared {
    ready: AtomicUsize,
    storm: Mutex<Instant>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Site {
    fn push(&self, restarts: u32) -> usize {
        let mut pods = lock(&self.pods);
        for pod in pods.iter_mut() {
            for container in &mut pod.containers {
                container.restart_count = restarts;
            }
            if let Some(events) = &*lock(&self.events) {
                events.pod(PodEventType::Updated, pod.clone());
            }
        }
        pods.len()
    }
}

impl Handler for Site {
    async fn create(&self, create: Create) -> Result<Created, Status> {
        let uid = create.pod.uid.clone();
        let names = create.containers()?.into_iter().map(|container| container.name);
        let running = names.map(ContainerState::running).collect();
        let state = PodState::present(create.pod, &uid, running);
        lock(&self.pods).push(state);
        Ok(Created::new(uid))
    }

    async fn delete(&self, delete: Delete) -> Result<Deleted, Status> {
        let mut pods = lock(&self.pods);
        let had = pods.len();
        pods.retain(|pod| pod.pod.as_ref().is_none_or(|pod| pod.uid != delete.pod.uid));
        Ok(Deleted::of((pods.len() < had).then_some(())))
    }

    async fn status(&self, which: Which) -> Result<Vec<PodState>, Status> {
        Ok(which.of(lock(&self.pods).iter()))
    }

    async fn logs(&self, _: LogRequest, _: LogSink) -> Result<LogsEnd, Status> {
        Ok(LogsEnd::default())
    }

    async fn node(&self) -> NodeStatus {
        NodeStatus::ready("4", "8Gi", "110")
    }

    fn linked(&self, _: &[String]) {
        let since = lock(&self.shared.storm).elapsed();
        let micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX).max(1);
        // The first link of a storm counts.
        let first = self
            .back
            .compare_exchange(0, micros, Ordering::Relaxed, Ordering::Relaxed);
        if first.is_ok() {
            self.shared.ready.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn attach(&self, events: Events) {
        *lock(&self.events) = Some(events);
    }
}

/// Dials as a plugin does, and counts what failed.
struct Counted {
    to: Dial,
    site: Arc<Site>,
}

impl Dialer for Counted {
    type Transport = WebSocket<Io>;

    async fn dial(&self) -> Result<Self::Transport, DialFailure> {
        match dial(&self.to).await {
            Ok((socket, _)) => Ok(socket),
            Err(error) => {
                self.site.failed.fetch_add(1, Ordering::Relaxed);
                Err(error.into())
            }
        }
    }
}

/// All plugins of the process.
struct Sites {
    hub: String,
    tls: TlsConfig,
    shared: Arc<Shared>,
    all: Vec<Arc<Site>>,
    running: JoinSet<()>,
}

impl Sites {
    fn dial(&mut self, count: usize) {
        for _ in 0..count {
            let name = format!("site-{:05}", self.all.len());
            let mut config = PluginConfig::new(self.hub.as_str(), name);
            config.tls = self.tls.clone();
            let mut to = Dial::new(self.hub.as_str(), SUBPROTOCOL_PROTO);
            to.tls = self.tls.clone();
            let site = Arc::new(Site {
                pods: Mutex::default(),
                events: Mutex::default(),
                shared: Arc::clone(&self.shared),
                back: AtomicU64::new(0),
                failed: AtomicU32::new(0),
            });
            self.all.push(Arc::clone(&site));
            let dialer = Counted {
                to,
                site: Arc::clone(&site),
            };
            let plugin = Plugin::new(config, site);
            self.running.spawn(async move {
                if let Err(error) = plugin.run_with(dialer, CancellationToken::new()).await {
                    tracing::error!(%error, "a plugin cannot start");
                }
            });
        }
    }

    /// Waits until all have a link.
    async fn ready(&self, within: Duration) -> anyhow::Result<()> {
        let began = Instant::now();
        while self.shared.ready.load(Ordering::Relaxed) < self.all.len() {
            if began.elapsed() > within {
                bail!(
                    "{} of {} plugins have a link after {within:?}; {} dials failed",
                    self.shared.ready.load(Ordering::Relaxed),
                    self.all.len(),
                    self.failed()
                );
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    fn failed(&self) -> u64 {
        let of = |site: &Arc<Site>| u64::from(site.failed.load(Ordering::Relaxed));
        self.all.iter().map(of).sum()
    }

    fn storm(&self) {
        *lock(&self.shared.storm) = Instant::now();
        self.shared.ready.store(0, Ordering::Relaxed);
        for site in &self.all {
            site.failed.store(0, Ordering::Relaxed);
            site.back.store(0, Ordering::Relaxed);
        }
    }

    fn back(&self) -> Back {
        let mut times: Vec<f64> = self
            .all
            .iter()
            .map(|site| site.back.load(Ordering::Relaxed) as f64 / 1e3)
            .collect();
        times.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let rank = (times.len() as f64 * share).ceil() as usize;
            times.get(rank.saturating_sub(1)).copied().unwrap_or_default()
        };
        Back {
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            all_ms: at(1.0),
            failed: self.failed(),
            failed_most: (self.all.iter())
                .map(|site| site.failed.load(Ordering::Relaxed))
                .max()
                .unwrap_or_default(),
        }
    }

    async fn obey(&mut self, order: Order) -> anyhow::Result<Done> {
        let began = Instant::now();
        let mut back = None;
        let count = match order {
            Order::Dial { count, within_ms } => {
                self.dial(count);
                self.ready(Duration::from_millis(within_ms)).await?;
                count
            }
            Order::Push { restarts } => self.all.iter().map(|site| site.push(restarts)).sum(),
            Order::Storm => {
                self.storm();
                self.all.len()
            }
            Order::Back { within_ms } => {
                self.ready(Duration::from_millis(within_ms)).await?;
                back = Some(self.back());
                self.all.len()
            }
        };
        Ok(Done {
            count,
            took_ms: began.elapsed().as_secs_f64() * 1e3,
            back,
        })
    }
}

/// Obeys what comes on stdin until it ends.
///
/// # Errors
/// An order that cannot be obeyed.
pub async fn run(hub: String, ca_file: Option<PathBuf>) -> anyhow::Result<()> {
    let mut sites = Sites {
        hub,
        tls: TlsConfig {
            ca_file,
            ..TlsConfig::default()
        },
        shared: Arc::new(Shared {
            ready: AtomicUsize::new(0),
            storm: Mutex::new(Instant::now()),
        }),
        all: Vec::new(),
        running: JoinSet::new(),
    };
    obey(async |order: Order| sites.obey(order).await).await
}
