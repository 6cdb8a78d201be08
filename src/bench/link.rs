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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    fn select(quick: bool, only: &[&str]) -> Result<(Vec<String>, Vec<&'static str>), NoSuchName> {
        let only: Vec<String> = only.iter().map(|text| (*text).to_owned()).collect();
        let chosen = Selection::new(quick, &only)?;
        Ok((
            chosen.loads.iter().map(Load::to_string).collect(),
            chosen.peers.iter().map(|peer| peer.name).collect(),
        ))
    }

    #[test]
    fn a_quick_run_has_four_peers_and_three_loads() {
        let (loads, peers) = select(true, &[]).unwrap();
        assert_eq!(loads, ["unary c=1", "unary c=64", "logs 4 KiB"]);
        for load in Load::QUICK {
            assert_eq!(load.peers().filter(|peer| peers.contains(&peer.name)).count(), 4);
        }
        let (loads, peers) = select(false, &[]).unwrap();
        assert_eq!((loads.len(), peers.len()), (Load::ALL.len(), PEERS.len()));
        assert_eq!(loads[4..6], ["unary 16x4", "logs 256 B"]);
    }

    #[test]
    fn only_chooses_loads_by_their_name_and_else_peers() {
        let (loads, peers) = select(false, &["c=1", "raw"]).unwrap();
        assert_eq!(loads, ["unary c=1", "unary c=16"]);
        assert_eq!(peers, ["raw limit"]);
        let (loads, peers) = select(true, &["logs", "towline", "tonic tuned"]).unwrap();
        assert_eq!(loads, ["logs 4 KiB"]);
        assert_eq!(peers, ["towline", "tonic tuned"]);
        let error = select(true, &["http"]).unwrap_err().to_string();
        assert!(
            error.starts_with("\"http\" is in the name of no load (unary c=1, "),
            "{error}"
        );
        assert!(
            error.contains("json path") && !error.contains("raw limit"),
            "{error}"
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_run_has_a_row_for_each_load_and_peer_with_the_fields_of_the_report() {
        let only = ["c=1", "logs 4", "towline", "tonic"].map(str::to_owned);
        let selection = Selection::new(true, &only).unwrap();
        let plan = Plan {
            rounds: 1,
            turn: Duration::from_millis(1),
        };
        let report = run(&selection, plan, &|_| ()).await.unwrap();
        let value = serde_json::to_value(&report).unwrap();
        assert!(value["versions"]["tonic"].is_string() && value["machine"]["cores"].is_u64());
        let rows = value["rows"].as_array().unwrap();
        let named = |row: &serde_json::Value| (row["load"].clone(), row["peer"].clone());
        let is = |load: &str, peer: &str| (load.into(), peer.into());
        assert_eq!(
            rows.iter().map(named).collect::<Vec<_>>(),
            [
                is("unary c=1", "towline"),
                is("unary c=1", "tonic unary"),
                is("unary c=1", "tonic bidi"),
                is("logs 4 KiB", "towline"),
                is("logs 4 KiB", "tonic"),
                is("logs 4 KiB", "tonic tuned"),
            ]
        );
        for key in [
            "cpu_us",
            "wall_per_s",
            "p50_us",
            "p99_us",
            "p999_us",
            "ratio_to_tonic",
        ] {
            assert!(rows[0][key].as_f64().is_some_and(|figure| figure > 0.0), "{key}");
        }
        assert_eq!(rows[1]["ratio_to_tonic"], 1.0);
        assert!(rows[0]["ratio_to_tonic_bidi"].is_f64() && rows[0].get("ratio_to_json").is_none());
        assert!(rows[3]["cpu_ns_per_byte"].is_f64() && rows[3]["ratio_to_tonic_tuned"].is_f64());
        assert!(rows[3].get("p50_us").is_none());
    }
}
