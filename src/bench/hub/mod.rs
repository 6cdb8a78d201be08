//! `towline bench hub`: the whole path, from the virtual kubelet's HTTP request over the hub and the link to a plugin
//! and back, beside a handler that parses the same body and answers by itself.
//!
//! Hub, plugin and client are in this process, as in `bench link`. "towline" keeps its state in memory; "towline
//! durable" has a state directory: each create and delete is on disk before it is sent. Knows how the two sides are set
//! up; learn [`Load`] and [`run`].

mod client;
mod direct;
pub mod path;
mod whole;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context as _;

use super::{
    BoxFuture, Contender, Contest, Plan, Report,
    peers::{Caller, calling, spread},
    report::rows,
};
use client::{Call, Client, Reader, Verb};
use whole::Whole;

/// What is asked of the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// The state of one pod, which the hub knows.
    Status {
        /// Virtual kubelets, each with one call at a time on a connection of its own.
        callers: usize,
    },
    /// A pod is created: recorded, sent, answered by the plugin, and its first state told.
    Create {
        /// As above.
        callers: usize,
    },
    /// A pod is deleted.
    Delete {
        /// As above.
        callers: usize,
    },
    /// A log is followed to its end.
    Logs {
        /// Bytes of the plugin's chunks.
        chunk: usize,
    },
}

impl Load {
    /// All of them, in the order of the tables.
    pub const ALL: [Self; 9] = [
        Self::Status { callers: 1 },
        Self::Status { callers: 16 },
        Self::Create { callers: 1 },
        Self::Create { callers: 16 },
        Self::Create { callers: 64 },
        Self::Delete { callers: 16 },
        Self::Delete { callers: 64 },
        Self::Logs { chunk: 4_096 },
        Self::Logs { chunk: 32_768 },
    ];
    /// Those of a quick run.
    pub const QUICK: [Self; 4] = [
        Self::Status { callers: 16 },
        Self::Create { callers: 16 },
        Self::Delete { callers: 16 },
        Self::Logs { chunk: 4_096 },
    ];

    /// Whether it changes what the hub keeps.
    fn is_recorded(self) -> bool {
        matches!(self, Self::Create { .. } | Self::Delete { .. })
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Status { callers } => write!(f, "status c={callers}"),
            Self::Create { callers } => write!(f, "create c={callers}"),
            Self::Delete { callers } => write!(f, "delete c={callers}"),
            Self::Logs { chunk } => write!(f, "getLogs {} KiB", chunk / 1_024),
        }
    }
}

/// The peer that the others are compared with.
const DIRECT: &str = "axum direct";
const TOWLINE: &str = "towline";
const DURABLE: &str = "towline durable";

/// The loads of a run: all, or those of a quick one; of them those whose name has one of `only` in it.
fn chosen(quick: bool, only: &[String]) -> Vec<Load> {
    let loads = if quick { &Load::QUICK[..] } else { &Load::ALL[..] };
    let wanted = |load: &&Load| only.is_empty() || only.iter().any(|text| load.to_string().contains(text));
    loads.iter().filter(wanted).copied().collect()
}

/// Whether each text of `only` is in the name of a load.
///
/// # Errors
/// Names the first that is in none, and the loads.
pub fn check(quick: bool, only: &[String]) -> Result<(), String> {
    let loads = chosen(quick, &[]).iter().map(Load::to_string).collect::<Vec<_>>();
    match only
        .iter()
        .find(|text| !loads.iter().any(|load| load.contains(*text)))
    {
        Some(text) => Err(format!(
            "{text:?} is in the name of no load ({})",
            loads.join(", ")
        )),
        None => Ok(()),
    }
}

/// Measures the loads whose name has one of `only` in it, all without; `quick` has fewer.
///
/// # Errors
/// The first wrong answer, with the load and the peer.
pub async fn run(
    quick: bool,
    only: &[String],
    plan: Plan,
    progress: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<Report> {
    let mut report = Report::new("hub");
    for load in chosen(quick, only) {
        let mut contest = Contest::new(load.to_string());
        let kept = if load.is_recorded() {
            &[DIRECT, TOWLINE, DURABLE][..]
        } else {
            &[DIRECT, TOWLINE]
        };
        for name in kept {
            let contender = contender(load, name).await;
            contest = contest.with(contender.with_context(|| format!("{load}: {name} could not be set up"))?);
        }
        let rounds = contest.run(plan, progress).await?;
        report
            .rows
            .extend(rows(&contest.load, &rounds, &[("ratio_to_direct", DIRECT)]));
    }
    Ok(report)
}

/// What answers the requests.
struct Side {
    at: std::net::SocketAddr,
    /// How many chunks the next log has.
    chunks: Arc<AtomicU64>,
    _alive: Box<dyn Send + Sync>,
}

async fn side(name: &str, chunk: usize) -> anyhow::Result<Side> {
    let chunks = Arc::new(AtomicU64::new(0));
    if name == DIRECT {
        let direct = direct::start(chunk, chunks.clone()).await?;
        return Ok(Side {
            at: direct.at,
            chunks,
            _alive: Box::new(direct),
        });
    }
    let whole = Whole::start(name == DURABLE, chunk, chunks.clone()).await?;
    Ok(Side {
        at: whole.at,
        chunks,
        _alive: Box::new(whole),
    })
}

async fn contender(load: Load, name: &'static str) -> anyhow::Result<Contender<'static>> {
    let (verb, callers) = match load {
        Load::Status { callers } => (Verb::Status, callers),
        Load::Create { callers } => (Verb::Create, callers),
        Load::Delete { callers } => (Verb::Delete, callers),
        Load::Logs { chunk } => return logs(name, chunk).await,
    };
    let side = side(name, 0).await?;
    // Numbers of this turn's pods begin here: no uid is ever used twice.
    let base = Arc::new(AtomicU64::new(0));
    let mut asking = Vec::new();
    for _ in 0..callers {
        asking.push(Call::new(side.at, verb, base.clone()).await?);
    }
    let at = side.at;
    let helper = |verb| Helper::start(at, verb, base.clone());
    let contender = calling(name, asking, side);
    let other = match verb {
        // The handler that answers by itself keeps no pods: none are made for it, and none cleared away.
        _ if name == DIRECT => return Ok(contender),
        Verb::Status | Verb::Running => {
            helper(Verb::Create).await?.run(client::KNOWN).await?;
            helper(Verb::Running).await?.run(client::KNOWN).await?;
            return Ok(contender);
        }
        Verb::Create => Verb::Delete,
        Verb::Delete => Verb::Create,
    };
    let other = Arc::new(helper(other).await?);
    let last = Arc::new(AtomicU64::new(0));
    Ok(contender.preparing(move |amount| {
        let (other, last, base) = (other.clone(), last.clone(), base.clone());
        async move {
            let former = last.swap(amount, Ordering::Relaxed);
            if verb == Verb::Create {
                other.run(former).await?;
            }
            base.fetch_add(former, Ordering::Relaxed);
            if verb == Verb::Delete {
                other.run(amount).await?;
            }
            Ok(())
        }
    }))
}

/// Makes what a turn needs before it is measured, or clears up after it.
struct Helper(Mutex<Vec<Call>>);

impl Helper {
    async fn start(at: std::net::SocketAddr, verb: Verb, base: Arc<AtomicU64>) -> anyhow::Result<Self> {
        let mut callers = Vec::new();
        for _ in 0..16 {
            callers.push(Call::new(at, verb, base.clone()).await?);
        }
        Ok(Self(Mutex::new(callers)))
    }

    async fn run(&self, amount: u64) -> anyhow::Result<()> {
        let callers = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let (callers, _) = spread(callers, amount).await?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = callers;
        Ok(())
    }
}

async fn logs(name: &'static str, chunk: usize) -> anyhow::Result<Contender<'static>> {
    let side = side(name, chunk).await?;
    let base = Arc::new(AtomicU64::new(0));
    Helper::start(side.at, Verb::Create, base.clone())
        .await?
        .run(1)
        .await?;
    let reader = Arc::new(tokio::sync::Mutex::new(Reader::new(
        Client::connect(side.at).await?,
    )));
    let side = Arc::new(side);
    Ok(Contender::new(name, move |amount| -> BoxFuture<'static, _> {
        let (reader, side) = (reader.clone(), side.clone());
        Box::pin(async move {
            side.chunks.store(amount, Ordering::Relaxed);
            let read = async move { reader.lock().await.follow(amount * chunk as u64).await };
            tokio::spawn(read).await??;
            Ok(super::Turn {
                units: amount,
                bytes: amount * chunk as u64,
                ..super::Turn::default()
            })
        })
    }))
}

impl Caller for Call {
    async fn call(&mut self, number: u64) -> anyhow::Result<()> {
        self.ask(number).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    const SHORT: Plan = Plan {
        rounds: 1,
        turn: Duration::from_micros(1),
    };

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_load_goes_the_whole_way_and_is_checked() {
        let report = run(true, &[], SHORT, &|_| ()).await.unwrap();
        let rows: Vec<_> = (report.rows.iter())
            .map(|row| (row.load.as_str(), row.peer.as_str()))
            .collect();
        assert_eq!(
            rows,
            [
                ("status c=16", DIRECT),
                ("status c=16", TOWLINE),
                ("create c=16", DIRECT),
                ("create c=16", TOWLINE),
                ("create c=16", DURABLE),
                ("delete c=16", DIRECT),
                ("delete c=16", TOWLINE),
                ("delete c=16", DURABLE),
                ("getLogs 4 KiB", DIRECT),
                ("getLogs 4 KiB", TOWLINE),
            ]
        );
        assert!(report.rows.iter().all(|row| row.ratios["ratio_to_direct"] > 0.0));
    }

    #[test]
    fn a_load_that_is_none_is_refused_with_those_that_are() {
        let error = check(true, &["ping".to_owned()]).unwrap_err();
        assert!(
            error.contains("\"ping\"") && error.contains("status c=16, create c=16"),
            "{error}"
        );
        assert_eq!(check(false, &["status".to_owned(), "c=64".to_owned()]), Ok(()));
    }
}
