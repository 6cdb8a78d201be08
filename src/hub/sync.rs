//! Keeps the state table true: the first read of a plugin's pods, the regular one, and the deletes that wait.

use std::{collections::HashSet, sync::atomic::Ordering, time::Duration};

use futures::{StreamExt, stream};
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    Hub,
    call::request,
    calls::PendingDelete,
    delete::may_come_later,
    peer::Link,
    registry::{Mark, Phase, Route},
    watch::Change,
};
use crate::{
    code::{Code, reason},
    limits,
    wire::{GetStatus, PodRef, PodState, Status, StatusResult, request::Op, response},
};

/// Between tries of the first read.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// Between tries of deletes that the plugin did not confirm.
const DELETE_AGAIN: Duration = Duration::from_secs(10);
/// Kept deletes that are sent at once.
const DELETES_AT_ONCE: usize = 8;

/// How a session is kept in sync.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Read all pods before any call is routed.
    pub(crate) first_read: bool,
    /// The plugin pushes events: read seldom.
    pub(crate) events: bool,
    /// This life of the hub has not read this plugin's pods yet: what an earlier one was about to find out is open.
    pub(crate) read_soon: bool,
}

/// Runs until the caller drops it, at the end of the connection.
pub(crate) async fn run(hub: &Hub, link: &Link, route: &Route, plan: Plan) {
    if plan.first_read {
        // Boxed, as all that is done seldom: a link at rest keeps no room for it.
        Box::pin(first_read(hub, link, route)).await;
        if hub.registry.synced(&link.plugin, link.number) {
            hub.mark_changed(&link.plugin);
        }
    }
    link.in_sync.store(true, Ordering::Relaxed);
    if !hub.registry.set_phase(&link.plugin, link.number, Phase::Active) {
        return;
    }
    hub.publish_plugin(&link.plugin, Change::Modified);
    // Side by side: deletes that hang must not make states stale.
    tokio::join!(
        keep_reading(hub, link, route, plan),
        keep_deleting(hub, link, route)
    );
}

/// Reads all pods now and then, and those that are unread at once. One read at a time.
async fn keep_reading(hub: &Hub, link: &Link, route: &Route, plan: Plan) {
    if !hub.unread(&link.plugin).is_empty() {
        // While the plugin was away.
        route.nudges.read.notify_one();
    }
    let first = if plan.read_soon && !plan.first_read {
        // Spread, for after a restart all plugins come back at once.
        limits::LOST_AFTER.mul_f64(fastrand::f64())
    } else {
        interval(hub, plan, hub.has_suspects(&link.plugin))
    };
    let mut due = Instant::now() + first;
    loop {
        // What is due goes first: who asks again and again must not put off the read of all.
        let asked_for = Instant::now() < due && timeout_at(due, route.nudges.read.notified()).await.is_ok();
        let read = if asked_for {
            Box::pin(read_named(hub, link, route, hub.unread(&link.plugin))).await
        } else {
            Box::pin(read_all(hub, link, route)).await
        };
        if !asked_for && read.is_ok() {
            hub.registry.synced(&link.plugin, link.number);
        }
        let again = (asked_for && read.is_err()) || hub.has_suspects(&link.plugin);
        let next = Instant::now() + interval(hub, plan, again);
        due = if asked_for { due.min(next) } else { next };
        if let Err(status) = read {
            tracing::debug!(plugin = %link.plugin, error = %status, "pods could not be read");
        }
    }
}

/// Makes the deletes that are kept for the plugin, as they come.
async fn keep_deleting(hub: &Hub, link: &Link, route: &Route) {
    loop {
        if hub.calls.has_pending(&link.plugin) {
            Box::pin(make_deletes(hub, link, route)).await;
        } else {
            route.nudges.deletes.notified().await;
        }
    }
}

/// Makes the deletes that are kept until none is left. Those that the plugin did not confirm are tried again a while after
/// they were tried, however many are added meanwhile.
async fn make_deletes(hub: &Hub, link: &Link, route: &Route) {
    let mut tried = HashSet::new();
    let mut again = None;
    while hub.calls.has_pending(&link.plugin) {
        // None is sent before it is on the disk.
        if hub.store.committed().await.is_ok() {
            let mut kept = hub.calls.pending(&link.plugin);
            kept.retain(|delete| tried.insert(delete.pod.uid.clone()));
            replay_deletes(hub, link, route, kept).await;
        }
        let at = *again.get_or_insert_with(|| Instant::now() + DELETE_AGAIN);
        if hub.calls.has_pending(&link.plugin)
            && timeout_at(at, route.nudges.deletes.notified()).await.is_err()
        {
            tried.clear();
            again = None;
        }
    }
}

/// Reads until it works once. A plugin that does not know the call has nothing to tell.
async fn first_read(hub: &Hub, link: &Link, route: &Route) {
    let mut delay = RETRY_MIN;
    loop {
        match read_all(hub, link, route).await {
            Ok(()) => return,
            Err(status) if status.kind() == Code::Unimplemented => {
                tracing::warn!(plugin = %link.plugin, "plugin does not know GetStatus; its pods cannot be checked");
                return;
            }
            Err(status) => {
                tracing::warn!(plugin = %link.plugin, error = %status, "first read of the plugin's pods failed; trying again");
            }
        }
        sleep(delay).await;
        delay = (delay * 2).min(RETRY_MAX);
    }
}

/// Reads all pods, then asks for those that should be there and were not told.
async fn read_all(hub: &Hub, link: &Link, route: &Route) -> Result<(), Status> {
    let mut seen = HashSet::new();
    let all = GetStatus {
        all: true,
        ..GetStatus::default()
    };
    let as_of = read_pages(hub, route, all, |asked, states| {
        seen.extend(
            states
                .iter()
                .filter_map(|state| Some(state.pod.as_ref()?.uid.clone())),
        );
        apply(hub, link, asked, states);
    })
    .await?;
    // Everything up to as_of is in what was just applied.
    if link.epoch != 0 && as_of > 0 {
        let mark = Mark {
            epoch: link.epoch,
            seq: as_of,
        };
        if hub.registry.applied(&link.plugin, link.number, mark).is_some() {
            hub.mark_changed(&link.plugin);
            link.to_ack.notify_one();
        }
    }
    // Missing from a list is no news; asked for by name it is an answer.
    let missing = hub.expected(&link.plugin, &seen);
    read_named(hub, link, route, missing).await
}

async fn read_named(hub: &Hub, link: &Link, route: &Route, pods: Vec<PodRef>) -> Result<(), Status> {
    for chunk in pods.chunks(limits::MAX_STATUS_PAGE) {
        let asked: HashSet<&str> = chunk.iter().map(|pod: &PodRef| pod.uid.as_str()).collect();
        let named = GetStatus {
            pods: chunk.to_vec(),
            ..GetStatus::default()
        };
        read_pages(hub, route, named, |at, mut states| {
            states.retain(|state| {
                state
                    .pod
                    .as_ref()
                    .is_some_and(|pod| asked.contains(pod.uid.as_str()))
            });
            apply(hub, link, at, states);
        })
        .await?;
    }
    Ok(())
}

/// Reads page after page, each given with the time when it was asked for. Gives the outbox number as of which all of
/// them are true.
async fn read_pages(
    hub: &Hub,
    route: &Route,
    mut what: GetStatus,
    mut each: impl FnMut(Instant, Vec<PodState>),
) -> Result<u64, Status> {
    let mut as_of = u64::MAX;
    for _ in 0..limits::HUB_STATUS_PAGES {
        let asked = Instant::now();
        let page = read(hub, route, what.clone()).await?;
        as_of = as_of.min(page.as_of);
        each(asked, page.pods);
        if page.next_page_token.is_empty() {
            return Ok(as_of);
        }
        what.page_token = page.next_page_token;
    }
    Err(Status::new(
        Code::Internal,
        reason::PLUGIN_ERROR,
        format!(
            "the plugin's list of pods has no end after {} pages",
            limits::HUB_STATUS_PAGES
        ),
    ))
}

async fn read(hub: &Hub, route: &Route, what: GetStatus) -> Result<StatusResult, Status> {
    let deadline = Instant::now() + limits::STATUS_TIMEOUT;
    let response = hub
        .call(
            route,
            "status",
            request(Op::GetStatus(what), String::new(), None),
            deadline,
        )
        .await?;
    match response.result {
        Some(response::Result::GetStatus(page)) => Ok(page),
        _ => Err(Status::new(
            Code::Internal,
            "",
            "the plugin answered GetStatus with something else",
        )),
    }
}

fn apply(hub: &Hub, link: &Link, asked: Instant, states: Vec<PodState>) {
    if !hub.registry.is_present(&link.plugin, link.number) {
        return;
    }
    for state in states {
        link.apply(hub, Some(asked), state);
    }
}

async fn replay_deletes(hub: &Hub, link: &Link, route: &Route, kept: Vec<PendingDelete>) {
    stream::iter(kept)
        .for_each_concurrent(DELETES_AT_ONCE, |delete| async move {
            let deadline = Instant::now() + limits::DELETE_TIMEOUT;
            match hub.send_delete(route, &link.plugin, &delete, None, deadline).await {
                Ok(()) => tracing::info!(plugin = %link.plugin, pod = %delete.pod, "kept delete is done"),
                Err(status) if may_come_later(&status) => {
                    tracing::debug!(plugin = %link.plugin, pod = %delete.pod, error = %status, "kept delete did not get through");
                }
                Err(status) => {
                    tracing::warn!(plugin = %link.plugin, pod = %delete.pod, error = %status, "plugin refuses a kept delete; it is given up");
                    hub.delete_dropped(&link.plugin, &delete.pod.uid);
                }
            }
        })
        .await;
}

/// When to read again.
fn interval(hub: &Hub, plan: Plan, suspects: bool) -> Duration {
    if suspects {
        return limits::LOST_AFTER;
    }
    if plan.events {
        // +/-20 %, so that plugins that came back together do not stay together.
        hub.config.anti_entropy.mul_f64(0.8 + 0.4 * fastrand::f64())
    } else {
        limits::POLL_STATUS
    }
}
