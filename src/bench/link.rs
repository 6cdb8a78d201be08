//! `towline bench link`: calls and log streams over one connection, ours and those of the peers.

use std::fmt;

use anyhow::Context as _;

use super::{
    Contender, Contest, Plan, Report,
    peers::{Answers, PEERS, Peer, Setup},
    report::{Reference, rows},
};

/// What is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Calls of about 200 bytes each way.
    Calls {
        /// Connections side by side.
        connections: usize,
        /// Callers on each, each with one call at a time.
        callers: usize,
    },
    /// A log from plugin to hub, under flow control.
    Logs {
        /// Bytes of a chunk.
        chunk: usize,
    },
}

impl Load {
    /// Callers on one connection.
    const fn calls(callers: usize) -> Self {
        Self::Calls {
            connections: 1,
            callers,
        }
    }

    /// All of them, in the order of the tables.
    pub const ALL: [Self; 8] = [
        Self::calls(1),
        Self::calls(16),
        Self::calls(64),
        Self::calls(256),
        Self::Calls {
            connections: 16,
            callers: 4,
        },
        Self::Logs { chunk: 256 },
        Self::Logs { chunk: 4_096 },
        Self::Logs { chunk: 65_536 },
    ];
    /// Those of a quick run.
    pub const QUICK: [Self; 3] = [Self::calls(1), Self::calls(64), Self::Logs { chunk: 4_096 }];

    /// Who carries it.
    fn peers(self) -> impl Iterator<Item = &'static Peer> {
        PEERS.iter().filter(move |peer| match self {
            Self::Calls { .. } => peer.calls.is_some(),
            Self::Logs { .. } => peer.logs.is_some(),
        })
    }

    /// Whom the others are compared with.
    fn references(self) -> &'static [Reference] {
        match self {
            Self::Calls { .. } => &[
                ("ratio_to_tonic", "tonic unary"),
                ("ratio_to_tonic_bidi", "tonic bidi"),
                ("ratio_to_json", "json path"),
            ],
            Self::Logs { .. } => &[
                ("ratio_to_tonic", "tonic"),
                ("ratio_to_tonic_tuned", "tonic tuned"),
                ("ratio_to_json", "json path"),
            ],
        }
    }

    /// A contender that stands, warm-up to come; none when this peer does not carry the load.
    ///
    /// # Errors
    /// When its connections could not be made.
    pub async fn contender(
        self,
        peer: &'static Peer,
        answers: Answers,
    ) -> anyhow::Result<Option<Contender<'static>>> {
        let (up, connections, callers, chunk) = match self {
            Self::Calls { connections, callers } => (peer.calls, connections, callers, 0),
            Self::Logs { chunk } => (peer.logs, 1, 1, chunk),
        };
        let setup = Setup {
            connections,
            callers,
            chunk,
            answers,
        };
        let Some(up) = up else { return Ok(None) };
        let contender = up(peer.name, setup)
            .await
            .with_context(|| format!("{self}: {} could not be set up", peer.name))?;
        Ok(Some(contender))
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Calls {
                connections: 1,
                callers,
            } => write!(f, "unary c={callers}"),
            Self::Calls { connections, callers } => write!(f, "unary {connections}x{callers}"),
            Self::Logs { chunk } if chunk % 1_024 == 0 => write!(f, "logs {} KiB", chunk / 1_024),
            Self::Logs { chunk } => write!(f, "logs {chunk} B"),
        }
    }
}

/// Which loads and peers a run has.
#[derive(Debug, Clone)]
pub struct Selection {
    /// In the order of the tables.
    pub loads: Vec<Load>,
    /// In the order of the tables.
    pub peers: Vec<&'static Peer>,
}

/// A text that is in no name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is in the name of no load ({loads}) and of no peer ({peers})")]
pub struct NoSuchName {
    text: String,
    loads: String,
    peers: String,
}

impl Selection {
    /// All, or those of a quick run; of them only what `only` names. A text that is in the name of a load chooses
    /// loads, another one chooses peers.
    ///
    /// # Errors
    /// When a text is in no name.
    pub fn new(quick: bool, only: &[String]) -> Result<Self, NoSuchName> {
        let loads = if quick { &Load::QUICK[..] } else { &Load::ALL[..] };
        let carried = |peer: &&Peer| {
            loads
                .iter()
                .any(|load| load.peers().any(|one| one.name == peer.name))
        };
        let peers: Vec<_> = PEERS
            .iter()
            .filter(|peer| peer.quick || !quick)
            .filter(carried)
            .collect();
        let (of_loads, of_peers): (Vec<_>, Vec<_>) = only
            .iter()
            .partition(|text| loads.iter().any(|load| load.to_string().contains(*text)));
        if let Some(text) = of_peers
            .iter()
            .find(|text| !peers.iter().any(|peer| peer.name.contains(text.as_str())))
        {
            let names = |names: Vec<String>| names.join(", ");
            return Err(NoSuchName {
                text: (*text).clone(),
                loads: names(loads.iter().map(Load::to_string).collect()),
                peers: names(peers.iter().map(|peer| peer.name.to_owned()).collect()),
            });
        }
        let chosen = |texts: &[&String], name: &str| {
            texts.is_empty() || texts.iter().any(|text| name.contains(text.as_str()))
        };
        Ok(Self {
            loads: (loads.iter().copied())
                .filter(|load| chosen(&of_loads, &load.to_string()))
                .collect(),
            peers: (peers.into_iter())
                .filter(|peer| chosen(&of_peers, peer.name))
                .collect(),
        })
    }
}

/// Measures what was selected, one load after the other.
///
/// # Errors
/// The first wrong answer or broken connection, with the load and the peer.
pub async fn run(
    selection: &Selection,
    plan: Plan,
    progress: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<Report> {
    let mut report = Report::new("link");
    for load in &selection.loads {
        let mut contest = Contest::new(load.to_string());
        for peer in &selection.peers {
            if let Some(contender) = load.contender(peer, Answers::RIGHT).await? {
                contest = contest.with(contender);
            }
        }
        let rounds = contest.run(plan, progress).await?;
        report
            .rows
            .extend(rows(&contest.load, &rounds, load.references()));
    }
    Ok(report)
}
