//! Every peer in every load, with answers that are right and with some that are not.
#![allow(clippy::unwrap_used)]

use super::{Answers, PEERS, shares};
use crate::bench::link::Load;

const AMOUNT: u64 = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_peer_carries_its_loads_turn_after_turn_over_the_same_connections() {
    let mut carried = 0;
    for load in Load::ALL {
        for peer in PEERS {
            let Some(mut contender) = load.contender(peer, Answers::RIGHT).await.unwrap() else {
                continue;
            };
            carried += 1;
            for _ in 0..2 {
                let turn = contender.turn(AMOUNT).await.unwrap();
                let (bytes, timed) = match load {
                    Load::Calls { .. } => (0, AMOUNT),
                    Load::Logs { chunk } => (AMOUNT * chunk as u64, 0),
                };
                let was = (turn.units, turn.bytes, turn.latencies.count());
                assert_eq!(was, (AMOUNT, bytes, timed), "{load}: {}", peer.name);
            }
        }
    }
    // Each has five loads of calls or three of logs, or both.
    let of = |has: bool, loads: usize| if has { loads } else { 0 };
    let all = PEERS
        .iter()
        .map(|peer| of(peer.calls.is_some(), 5) + of(peer.logs.is_some(), 3));
    assert_eq!(carried, all.sum::<usize>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_answers_wrong_is_found_whoever_it_is() {
    /// The job of another pod, for the last call alone.
    fn other(uid: &str) -> String {
        let right = (Answers::RIGHT.job_id)(uid);
        match uid.ends_with("0012b") {
            true => right.replace(uid, "ffffffff-0000-4000-8000-00000000012b"),
            false => right,
        }
    }
    let lies = Answers {
        job_id: other,
        // One byte late.
        text: |offset, size| (Answers::RIGHT.text)(offset + 1, size),
    };
    let loads = [
        Load::Calls {
            connections: 2,
            callers: 3,
        },
        Load::Logs { chunk: 4_096 },
    ];
    for load in loads {
        for peer in PEERS {
            let Some(mut contender) = load.contender(peer, lies).await.unwrap() else {
                continue;
            };
            let error = contender.turn(AMOUNT).await.unwrap_err().to_string();
            let found = match load {
                Load::Calls { .. } => "call 299 was answered with the job \"ffffffff",
                Load::Logs { .. } => "log bytes 0 to ",
            };
            assert!(error.contains(found), "{load}: {}: {error}", peer.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_ends_early_is_found() {
    let lies = Answers {
        text: |offset, size| (Answers::RIGHT.text)(offset, if offset < 40_960 { size } else { 0 }),
        ..Answers::RIGHT
    };
    // The raw limit has no end of a log but its length: there a contest runs out of patience.
    for peer in PEERS.iter().filter(|peer| peer.name != "raw limit") {
        if let Some(mut contender) = (Load::Logs { chunk: 4_096 }).contender(peer, lies).await.unwrap() {
            let error = contender.turn(20).await.unwrap_err().to_string();
            assert!(error.contains("40960 of 81920"), "{}: {error}", peer.name);
        }
    }
}

#[test]
fn each_number_is_called_once_whoever_calls_it() {
    for (amount, callers) in [(300, 64), (5, 16), (0, 3), (7, 1)] {
        let numbers: Vec<u64> = shares(amount, callers).flatten().collect();
        assert_eq!(numbers, (0..amount).collect::<Vec<_>>());
        assert_eq!(shares(amount, callers).count(), callers);
    }
}
