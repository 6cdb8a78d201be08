//! What the bench wants of its children, and what they answer: a line of JSON each.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, stdin, stdout};

/// What the bench wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(super) enum Order {
    /// So many more plugins dial; answered when all are ready.
    Dial {
        /// How many.
        count: usize,
        /// How long that may take.
        within_ms: u64,
    },
    /// Each pod's container has restarted so often: one event a pod. Answered when all are pushed.
    Push {
        /// The count.
        restarts: u32,
    },
    /// The hub is about to be killed: from now on links and failed dials are counted anew.
    Storm,
    /// Answered when all are back.
    Back {
        /// How long that may take.
        within_ms: u64,
    },
}

/// What a site says when an order is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Done {
    /// Plugins, or events, that it was about.
    pub(super) count: usize,
    /// How long it took.
    pub(super) took_ms: f64,
    /// With [`Order::Back`]: how it went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) back: Option<Back>,
}

/// How plugins came back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Back {
    /// When half of them were back, from the loss on.
    pub(super) p50_ms: f64,
    /// 99 of 100.
    pub(super) p99_ms: f64,
    /// All.
    pub(super) all_ms: f64,
    /// Dials that failed, in all.
    pub(super) failed: u64,
    /// Of the plugin with most of them.
    pub(super) failed_most: u32,
}

/// A line in, a line out. Ends when stdin does: then whoever gave the orders has gone.
pub(super) async fn obey<O: for<'de> Deserialize<'de>, A: Serialize>(
    mut act: impl AsyncFnMut(O) -> anyhow::Result<A>,
) -> anyhow::Result<()> {
    let mut orders = BufReader::new(stdin()).lines();
    while let Some(line) = orders.next_line().await? {
        let order = serde_json::from_str(&line).with_context(|| format!("order {line:?}"))?;
        let mut answer = serde_json::to_vec(&act(order).await?)?;
        answer.push(b'\n');
        let mut out = stdout();
        out.write_all(&answer).await?;
        out.flush().await?;
    }
    Ok(())
}
