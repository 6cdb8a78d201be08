//! The peers of `towline bench link`: who carries the same calls and log bytes, one file each.
//!
//! Each is a client and a server of this process over loopback TCP with TCP_NODELAY, on the runtime of the binary, and
//! each does what makes it fast within its own means. A new one is a file here and a line in [`PEERS`]. Knows tonic,
//! axum and hyper; must not know how turns are measured. Learn [`Peer`] (how one is set up) and [`Caller`] (how calls
//! are made over it).

mod http;
mod payload;
mod proto;
mod raw;
mod tonic_bidi;
mod tonic_plain;
mod towline;
mod towline_grpc;

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

pub use payload::Answers;

use super::{Amount, BoxFuture, Contender, Latencies, Turn};

/// What a contender is set up for.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// Connections side by side.
    pub connections: usize,
    /// Callers on each of them, each with one call at a time.
    pub callers: usize,
    /// Bytes of a log chunk.
    pub chunk: usize,
    /// What the plugin's end answers.
    pub answers: Answers,
}

/// Makes a contender: its connections stand when the future is ready, and end when the contender is dropped.
pub type Up = fn(&'static str, Setup) -> BoxFuture<'static, anyhow::Result<Contender<'static>>>;

/// One way to carry the loads.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// Its name in tables.
    pub name: &'static str,
    /// Whether a quick run has it.
    pub quick: bool,
    /// How calls go over it; none when it is not about calls.
    pub calls: Option<Up>,
    /// How a log goes over it; none when it is not about logs.
    pub logs: Option<Up>,
}

/// All of them, in the order of the tables.
pub const PEERS: &[Peer] = &[
    Peer {
        name: "towline",
        quick: true,
        calls: Some(|name, setup| Box::pin(towline::calls(name, setup, towline::BINARY))),
        logs: Some(|name, setup| Box::pin(towline::logs(name, setup, towline::BINARY))),
    },
    Peer {
        name: "towline grpc",
        quick: false,
        calls: Some(|name, setup| Box::pin(towline_grpc::calls(name, setup))),
        logs: Some(|name, setup| Box::pin(towline_grpc::logs(name, setup))),
    },
    Peer {
        name: "tonic unary",
        quick: true,
        calls: Some(|name, setup| Box::pin(tonic_plain::calls(name, setup))),
        logs: None,
    },
    Peer {
        name: "tonic bidi",
        quick: true,
        calls: Some(|name, setup| Box::pin(tonic_bidi::calls(name, setup))),
        logs: None,
    },
    Peer {
        name: "tonic",
        quick: true,
        calls: None,
        logs: Some(|name, setup| Box::pin(tonic_plain::logs(name, setup, tonic_plain::DEFAULTS))),
    },
    Peer {
        name: "tonic tuned",
        quick: true,
        calls: None,
        logs: Some(|name, setup| Box::pin(tonic_plain::logs(name, setup, tonic_plain::WINDOWS))),
    },
    Peer {
        name: "tonic frames",
        quick: false,
        calls: None,
        logs: Some(|name, setup| Box::pin(tonic_plain::logs(name, setup, tonic_plain::FRAMES))),
    },
    Peer {
        name: "http json",
        quick: false,
        calls: Some(|name, setup| Box::pin(http::calls(name, setup))),
        logs: Some(|name, setup| Box::pin(http::logs(name, setup))),
    },
    Peer {
        name: "json path",
        quick: true,
        calls: Some(|name, setup| Box::pin(towline::calls(name, setup, towline::JSON))),
        logs: Some(|name, setup| Box::pin(towline::logs(name, setup, towline::JSON))),
    },
    Peer {
        name: "raw limit",
        quick: false,
        calls: Some(|name, setup| Box::pin(raw::calls(name, setup))),
        logs: Some(|name, setup| Box::pin(raw::logs(name, setup))),
    },
];

/// Makes calls one after the other.
pub(super) trait Caller: Send + 'static {
    /// Makes this call and checks the answer.
    fn call(&mut self, number: u64) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// A contender whose turn is calls, spread over these callers; `serving` is kept as long as they are.
pub(super) fn calling<C: Caller>(
    name: &'static str,
    callers: Vec<C>,
    serving: impl Send + 'static,
) -> Contender<'static> {
    let callers = Arc::new(Mutex::new(callers));
    let serving = Mutex::new(serving);
    Contender::new(name, move |amount| {
        let _ = &serving;
        let callers = callers.clone();
        async move {
            let before = mem::take(&mut *callers.lock().unwrap_or_else(PoisonError::into_inner));
            let (after, turn) = spread(before, amount).await?;
            *callers.lock().unwrap_or_else(PoisonError::into_inner) = after;
            Ok(turn)
        }
    })
}

/// Each caller makes its share in a task of its own.
pub(super) async fn spread<C: Caller>(callers: Vec<C>, amount: Amount) -> anyhow::Result<(Vec<C>, Turn)> {
    let latencies = Arc::new(Mutex::new(Latencies::default()));
    let mut tasks = JoinSet::new();
    for (share, mut caller) in shares(amount, callers.len()).zip(callers) {
        let mut laps = Laps::new(latencies.clone());
        tasks.spawn(async move {
            for number in share.clone() {
                caller.call(number).await?;
                laps.lap();
            }
            Ok::<_, anyhow::Error>((caller, share.end - share.start))
        });
    }
    let (mut callers, mut turn) = (Vec::with_capacity(tasks.len()), Turn::default());
    while let Some(ended) = tasks.join_next().await {
        let (caller, units) = ended??;
        callers.push(caller);
        turn.units += units;
    }
    turn.latencies = mem::take(&mut *latencies.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((callers, turn))
}

/// The numbers of each caller's calls.
fn shares(amount: Amount, callers: usize) -> impl Iterator<Item = std::ops::Range<u64>> {
    let callers = callers.max(1) as u64;
    (0..callers).map(move |at| amount * at / callers..amount * (at + 1) / callers)
}

/// Laps of one caller, given to the histogram of the turn in steps: a histogram for each caller would fill the caches.
struct Laps {
    last: Instant,
    taken: Vec<Duration>,
    all: Arc<Mutex<Latencies>>,
}

const STEP: usize = 256;

impl Laps {
    fn new(all: Arc<Mutex<Latencies>>) -> Self {
        Self {
            last: Instant::now(),
            taken: Vec::with_capacity(STEP),
            all,
        }
    }

    /// A call has ended; the next one begins now.
    fn lap(&mut self) {
        let now = Instant::now();
        self.taken.push(now - self.last);
        self.last = now;
        if self.taken.len() >= STEP {
            self.give();
        }
    }

    fn give(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        for took in self.taken.drain(..) {
            all.record(took);
        }
    }
}

impl Drop for Laps {
    fn drop(&mut self) {
        self.give();
    }
}

/// Both ends of a new TCP connection over loopback, TCP_NODELAY on both: the one that dialled, the one that accepted.
async fn sockets() -> anyhow::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (dialled, accepted) =
        tokio::try_join!(TcpStream::connect(listener.local_addr()?), listener.accept())?;
    dialled.set_nodelay(true)?;
    accepted.0.set_nodelay(true)?;
    Ok((dialled, accepted.0))
}

/// The turn of a log: this many chunks of this size came.
fn chunks(amount: Amount, size: usize) -> Turn {
    Turn {
        units: amount,
        bytes: amount * size as u64,
        latencies: Latencies::default(),
    }
}

#[cfg(test)]
mod tests;
