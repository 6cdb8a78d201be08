//! A session: one link of a plugin as the registry keeps it.

use std::sync::Arc;

use tokio::sync::{Notify, Semaphore};

use crate::{
    connection::Connection,
    hub::{Way, call::Unanswered},
};

/// The number of a session: higher is newer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionNumber(pub(in crate::hub) u64);

impl SessionNumber {
    /// For logs.
    pub(crate) fn get(self) -> u64 {
        self.0
    }
}

/// Where a session stands. AWAIT_REGISTER has no entry here; DETACHED is a plugin without a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Connected; its pods are being read.
    Syncing,
    /// Calls are routed to it.
    Active,
    /// It takes no new call.
    Draining,
}

/// All that is needed to call a plugin. Shared: a link at rest keeps one.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) plugin: Arc<str>,
    pub(crate) session: SessionNumber,
    pub(crate) connection: Connection,
    pub(crate) way: Way,
    /// It knows of pods that came by the other way too, so that its ABSENT is to be believed.
    pub(crate) shared: bool,
    pub(crate) instance: String,
    pub(crate) jobs_epoch: u64,
    pub(crate) flow_control: bool,
    /// Calls of this link that were not answered.
    pub(crate) unanswered: Unanswered,
    /// Unary calls that the plugin takes at once.
    pub(crate) calls: Arc<Semaphore>,
    /// Creates may not take all of them: deletes and status reads must get through.
    pub(crate) creates: Arc<Semaphore>,
    pub(crate) nudges: Arc<Nudges>,
}

/// What wakes the task of a session.
#[derive(Debug, Default)]
pub(crate) struct Nudges {
    /// There are pods that are to be asked about by name now.
    pub(crate) read: Notify,
    /// Deletes are kept for the plugin that may go now.
    pub(crate) deletes: Notify,
}

/// A session as the registry keeps it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) number: SessionNumber,
    pub(super) way: Way,
    pub(super) phase: Phase,
    pub(super) route: Option<Arc<Route>>,
    pub(super) calls: Arc<Semaphore>,
    pub(super) creates: Arc<Semaphore>,
    pub(super) nudges: Arc<Nudges>,
}
