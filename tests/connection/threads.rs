//! Callers on several threads beside the connection task: real threads, in whatever order they come.

use std::time::Duration;

use tokio::task::{JoinSet, yield_now};
use towline::code::{CloseCode, reason};

use crate::calls::{connect, create, status};

/// A test that hangs ends with this; nothing is measured.
const HANGS: Duration = Duration::from_secs(60);

/// Every call has an end, also those that are left in the moment in which the connection ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_of_many_threads_all_end_when_the_connection_does() {
    for round in 0..50 {
        let ends = connect(0).await;
        let mut callers = JoinSet::new();
        for caller in 0..24 {
            let hub = ends.hub.clone();
            callers.spawn(async move {
                let mut answered = 0;
                loop {
                    match hub.call(status()).await {
                        Ok(_) => answered += 1,
                        Err(status) => break (answered, status.reason),
                    }
                    if caller == 0 && answered == 5 + round {
                        hub.close(CloseCode::NORMAL, "enough");
                    }
                }
            });
        }
        let ended = tokio::time::timeout(HANGS, callers.join_all()).await.unwrap();
        assert!(ended.iter().any(|(answered, _)| *answered > 0));
        for (_, word) in ended {
            assert_eq!(word, reason::SESSION_LOST);
        }
        ends.hub.ended().await;
        let late = tokio::time::timeout(HANGS, ends.hub.call(status()))
            .await
            .unwrap();
        assert_eq!(late.unwrap_err().reason, reason::SESSION_LOST);
    }
}

/// A slot that leaked would be missing at the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_given_up_at_any_moment_give_their_slots_back() {
    let ends = connect(0).await;
    let mut callers = JoinSet::new();
    for caller in 0..32 {
        let hub = ends.hub.clone();
        callers.spawn(async move {
            for turn in 0..200 {
                let patience = async {
                    for _ in 0..(turn + caller) % 7 {
                        yield_now().await;
                    }
                };
                tokio::select! {
                    biased;
                    answer = hub.call(create()) => assert_eq!(answer.unwrap_err().reason, reason::TOO_MANY_CALLS),
                    () = patience => {}
                }
            }
        });
    }
    tokio::time::timeout(HANGS, callers.join_all()).await.unwrap();
    // All 64 slots, at once.
    let all = async {
        loop {
            let calls = futures::future::join_all((0..64).map(|_| ends.hub.call(status()))).await;
            if calls.iter().all(Result::is_ok) {
                break;
            }
            yield_now().await;
        }
    };
    tokio::time::timeout(HANGS, all).await.unwrap();
}
