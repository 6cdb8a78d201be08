//! One load at one peer on one thread, for a profiler: `tools/bench-path` runs it under callgrind.

use anyhow::Context as _;
use tokio::runtime::Builder;

use super::{DIRECT, DURABLE, Load, TOWLINE, contender};

/// Requests before those that count: tables, buffers and pools reach their size.
const WARM: u64 = 200;

/// Makes so many requests after a few that do not count. Blocks; not for a thread of a runtime.
///
/// # Errors
/// A load or a peer that is not known, and the first wrong answer.
pub fn run(load: &str, peer: &str, requests: u64) -> anyhow::Result<()> {
    let load = Load::ALL.into_iter().find(|one| one.to_string() == load);
    let load = load.context("--load is none of `towline bench hub`, as in \"create c=16\"")?;
    let peers = [DIRECT, TOWLINE, DURABLE];
    let peer = peers.into_iter().find(|one| *one == peer);
    let peer = peer.with_context(|| format!("--peer is none of {}", peers.join(", ")))?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut contender = runtime.block_on(contender(load, peer))?;
    runtime.block_on(contender.prepare(WARM))?;
    runtime.block_on(contender.turn(WARM))?;
    runtime.block_on(contender.prepare(requests))?;
    counted(|| runtime.block_on(contender.turn(requests)).map(drop))
}

/// Must stay a function of its own: `tools/bench-path` names it to callgrind.
#[inline(never)]
fn counted(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    work()
}
