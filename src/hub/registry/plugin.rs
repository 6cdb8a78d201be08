//! A plugin: what is remembered of a name, connected or not.

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::{
    Mark,
    session::{Phase, Session},
};
use crate::{
    hub::{
        Way,
        store::{MarkRow, PluginRow},
    },
    limits,
    wire::{NodeStatus, Register},
};

/// One plugin, connected or remembered.
#[derive(Debug)]
pub(crate) struct Plugin {
    pub(crate) register: Register,
    pub(crate) node: NodeStatus,
    pub(crate) remote: String,
    /// Of its present session, or of the last one.
    pub(crate) way: Way,
    pub(crate) since: SystemTime,
    pub(crate) last_seen: SystemTime,
    pub(crate) reconnects: u64,
    /// Why it is not connected.
    pub(crate) lost_reason: String,
    /// When ping was last good, and with what, if not with `node`; the grace runs from here.
    pub(crate) last_good: Option<(Instant, Option<Box<NodeStatus>>)>,
    pub(crate) applied: Mark,
    /// Of it, what is on the disk: after a crash the hub knows no more.
    pub(super) kept: Mark,
    /// All its pods were read since its present outbox began.
    pub(super) synced: bool,
    /// All its pods were read in this life of the hub.
    pub(super) read: bool,
    pub(super) session: Option<Session>,
    pub(super) takeovers: VecDeque<Instant>,
}

/// How a plugin answers ping.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Pulse {
    /// Good, or within the grace: the last good status.
    Good(NodeStatus),
    /// Why not.
    Bad(String),
}

impl Plugin {
    /// As the store keeps it.
    pub(crate) fn row(&self) -> PluginRow {
        PluginRow {
            name: self.register.plugin.clone(),
            kind: self.register.r#type.clone(),
            software: self.register.software.clone(),
            instance: self.register.instance.clone(),
            labels: self.register.labels.clone().into_iter().collect(),
            jobs_epoch: self.register.jobs_epoch,
            last_seen: Some(self.last_seen),
            node: self.node.clone(),
            mark: self.mark_row(),
        }
    }

    /// What was applied of its outbox, as the store keeps it.
    pub(crate) fn mark_row(&self) -> MarkRow {
        MarkRow {
            epoch: self.applied.epoch,
            seq: self.applied.seq,
            synced: self.synced,
        }
    }

    /// Out of the store: not connected since the hub was started, and within the ping grace from now.
    pub(super) fn from_row(row: PluginRow, now: Instant) -> Self {
        let last_seen = row.last_seen.unwrap_or_else(SystemTime::now);
        Self {
            register: Register {
                plugin: row.name,
                r#type: row.kind,
                software: row.software,
                instance: row.instance,
                labels: row.labels.into_iter().collect(),
                jobs_epoch: row.jobs_epoch,
                ..Register::default()
            },
            last_good: row.node.ready.then_some((now, None)),
            node: row.node,
            remote: String::new(),
            way: Way::Link,
            since: last_seen,
            last_seen,
            reconnects: 0,
            lost_reason: "it has not come back since the hub was started".to_owned(),
            applied: Mark {
                epoch: row.mark.epoch,
                seq: row.mark.seq,
            },
            kept: Mark {
                epoch: row.mark.epoch,
                seq: row.mark.seq,
            },
            synced: row.mark.synced,
            read: false,
            session: None,
            takeovers: VecDeque::new(),
        }
    }

    /// Connected, and it can start pods.
    pub(crate) fn is_ready(&self) -> bool {
        self.session.is_some() && self.node.ready
    }

    /// Ready, and not going away.
    pub(super) fn takes_pods(&self) -> bool {
        self.node.ready
            && self
                .session
                .as_ref()
                .is_some_and(|session| session.phase != Phase::Draining)
    }

    /// Whether it has a session by its own link.
    pub(super) fn has_link(&self) -> bool {
        self.session
            .as_ref()
            .is_some_and(|session| session.way == Way::Link)
    }

    /// Whether it has a session.
    pub(crate) fn is_connected(&self) -> bool {
        self.session.is_some()
    }

    /// Why it is not ready or not connected; empty when fine.
    pub(crate) fn reason(&self) -> String {
        match &self.session {
            None => format!("not connected: {}", self.lost_reason),
            Some(_) if self.node.ready => String::new(),
            Some(_) if self.node.reason.is_empty() => "not ready, and it did not say why".into(),
            Some(_) => self.node.reason.clone(),
        }
    }

    /// How it answers ping.
    pub(crate) fn pulse(&self, now: Instant, grace: Duration) -> Pulse {
        if self.is_ready() {
            return Pulse::Good(self.node.clone());
        }
        match &self.last_good {
            Some((at, node)) if now.duration_since(*at) < grace => {
                Pulse::Good(node.as_deref().unwrap_or(&self.node).clone())
            }
            _ => Pulse::Bad(self.reason()),
        }
    }

    /// Lists left out of a new status mean that nothing changed about them. `was_good`: ping was good until now.
    pub(super) fn set_node(&mut self, mut node: NodeStatus, was_good: bool, now: Instant) {
        if node.accelerators.is_none() {
            node.accelerators = self.node.accelerators.clone();
        }
        if node.taints.is_none() {
            node.taints = self.node.taints.clone();
        }
        let old = std::mem::replace(&mut self.node, node);
        if self.node.ready {
            self.last_good = Some((now, None));
        } else if was_good {
            self.last_good = Some((now, Some(old.into())));
        } else if let Some((_, good @ None)) = &mut self.last_good {
            *good = Some(old.into());
        }
    }

    /// Counts a takeover; true when there were too many lately.
    pub(super) fn takeover(&mut self, now: Instant) -> bool {
        self.takeovers
            .retain(|at| now.duration_since(*at) < limits::TAKEOVER_SPAN);
        self.takeovers.push_back(now);
        if self.takeovers.len() > limits::TAKEOVER_ALARM {
            self.takeovers.pop_front();
        }
        self.takeovers.len() >= limits::TAKEOVER_ALARM
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(ready: bool, reason: &str) -> NodeStatus {
        NodeStatus {
            ready,
            reason: reason.into(),
            ..NodeStatus::default()
        }
    }

    #[test]
    fn within_the_grace_ping_gives_what_was_last_good_also_after_it_came_back_not_ready() {
        let (now, grace) = (Instant::now(), Duration::from_secs(10));
        let row = PluginRow {
            node: status(true, "as kept"),
            ..PluginRow::default()
        };
        let mut plugin = Plugin::from_row(row, now);
        let good = |plugin: &Plugin, at| match plugin.pulse(at, grace) {
            Pulse::Good(node) => Some(node.reason),
            Pulse::Bad(_) => None,
        };
        assert_eq!(good(&plugin, now).as_deref(), Some("as kept"));
        // It was away, so that ping was not good just before: the grace runs from when it was.
        for reason in ["busy", "still busy"] {
            plugin.set_node(status(false, reason), false, now + grace / 2);
            assert_eq!(good(&plugin, now).as_deref(), Some("as kept"));
            assert_eq!(good(&plugin, now + grace), None);
        }
        plugin.set_node(status(true, "again"), false, now);
        plugin.set_node(status(false, "full"), true, now + grace);
        assert_eq!(good(&plugin, now + grace).as_deref(), Some("again"));
        assert_eq!(good(&plugin, now + grace * 2), None);
    }
}
