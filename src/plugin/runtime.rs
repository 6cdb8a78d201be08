//! Keeps one link to the hub, for ever.
//!
//! ```text
//!   IDLE -> DIALING -> REGISTERING -Welcome-> READY -GoAway or shutdown-> DRAINING
//!              ^  \         |                   |                            |
//!              |   \        | refused           | lost                       | done
//!              |    v       v                   v                            v
//!              |   CLOSED <-+-------------------+----------------------------+
//!              |     |
//!              +- BACKOFF        (a shutdown ends in CLOSED from anywhere)
//! ```

mod link;

use std::{
    fmt,
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    ConfigError, Dialer, Events, Handler, PluginConfig,
    backoff::Backoff,
    creates::Creates,
    dial::HubDialer,
    durable,
    fallback::Fallback,
    feed::Feed,
    journal::{Disk, Journal, Writer, random_epoch},
    local::{Door, Local},
    lost::printable,
    outbox::Outbox,
};
use crate::limits;

/// What a close may take beyond the grace before the link is dropped.
const CLOSE_WAIT: Duration = Duration::from_secs(1);
/// Where the link of a plugin stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinkState {
    /// Not run yet.
    Idle,
    /// Connecting.
    Dialing,
    /// Register was sent, Welcome is awaited.
    Registering,
    /// Calls are served.
    Ready,
    /// Open calls finish; no new one comes.
    Draining,
    /// There is no link.
    Closed,
    /// Waiting for the next dial.
    Backoff,
}

/// A plugin: a [`Handler`] with a link to a hub. It does nothing until it is run.
pub struct Plugin<H> {
    config: PluginConfig,
    handler: Arc<H>,
    creates: Arc<Creates>,
    feed: Arc<Feed>,
    /// Whether the handler has kept its [`Events`].
    pushes: Weak<()>,
    /// Where the journal is, when not in the state directory.
    disk: Option<Box<dyn Disk>>,
    journal: Option<Journal>,
    state: watch::Sender<LinkState>,
    /// For calls that come by another way than the link.
    door: Arc<Door>,
    fallback: Fallback,
    /// When a shutdown takes effect though something still runs: one grace for all of it.
    stop_at: OnceLock<Instant>,
}

impl<H> fmt::Debug for Plugin<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl<H: Handler> Plugin<H> {
    /// A plugin that is not run yet. Gives the handler its [`Events`].
    pub fn new(config: PluginConfig, handler: H) -> Self {
        let feed = Arc::new(Feed::new(Outbox::new(random_epoch())));
        let events = Events::new(Arc::clone(&feed));
        let pushes = events.alive();
        handler.attach(events);
        Self {
            config,
            handler: Arc::new(handler),
            creates: Arc::new(Creates::new()),
            feed,
            pushes,
            disk: None,
            journal: None,
            state: watch::Sender::new(LinkState::Idle),
            door: Arc::new(Door::new()),
            fallback: Fallback::default(),
            stop_at: OnceLock::new(),
        }
    }

    /// Keeps the journal on this disk instead of in [`PluginConfig::state_dir`].
    #[must_use]
    pub fn with_disk(mut self, disk: impl Disk) -> Self {
        self.disk = Some(Box::new(disk));
        self
    }

    /// Follows where the link stands. Fast changes may be skipped.
    pub fn states(&self) -> watch::Receiver<LinkState> {
        self.state.subscribe()
    }

    /// A handle for callers in this process, whose calls are the same as those of the link.
    pub fn local(&self) -> Local<H> {
        Local {
            handler: Arc::clone(&self.handler),
            creates: Arc::clone(&self.creates),
            feed: Arc::clone(&self.feed),
            door: Arc::clone(&self.door),
            node_timeout: self.config.node_timeout,
        }
    }

    /// Keeps the plugin linked to its hub until `shutdown`: what fails is logged and tried again, for ever. A
    /// shutdown lets open calls finish for [`PluginConfig::drain_grace`].
    ///
    /// # Errors
    /// At once, when a setting cannot be right, or the state directory cannot be used; it is named.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ConfigError> {
        let dialer = HubDialer::new(&self.config);
        self.run_with(dialer, shutdown).await
    }

    /// As [`Plugin::run`], over transports of the caller's making.
    ///
    /// # Errors
    /// As [`Plugin::run`].
    pub async fn run_with<D: Dialer>(
        mut self,
        dialer: D,
        shutdown: CancellationToken,
    ) -> Result<(), ConfigError> {
        let write = self.open().await?;
        // A create goes no further than the run that wrote it down.
        let _end = self.creates.end_on_drop();
        let _open = self.door.open();
        tokio::select! {
            biased;
            () = durable::write(write, Arc::clone(&self.feed)) => Ok(()),
            () = self.serve(dialer, shutdown) => Ok(()),
        }
    }

    /// As [`Plugin::run`] without any link: only the calls of [`Plugin::local`] are served, with the same records.
    ///
    /// # Errors
    /// As [`Plugin::run`].
    pub async fn run_unlinked(mut self, shutdown: CancellationToken) -> Result<(), ConfigError> {
        let write = self.open().await?;
        let _end = self.creates.end_on_drop();
        let _open = self.door.open();
        let serve = async {
            while !shutdown.is_cancelled() {
                // Nobody is told what the handler pushes.
                let _ = self.feed.take_node();
                self.feed.discard();
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => {}
                    () = self.feed.changed() => {}
                }
            }
            self.stop().await;
        };
        tokio::select! {
            biased;
            () = durable::write(write, Arc::clone(&self.feed)) => Ok(()),
            () = serve => Ok(()),
        }
    }

    /// Checks the settings and takes up the records of the former run.
    async fn open(&mut self) -> Result<Option<Writer>, ConfigError> {
        self.config.check()?;
        let (journal, writer) = durable::open(self.disk.take(), &mut self.config).await?.unzip();
        if let Some(journal) = &journal {
            self.creates.keep_in(journal.clone());
            self.feed.keep_in(journal.clone());
        }
        self.journal = journal;
        Ok(writer)
    }

    /// Links until the shutdown.
    async fn serve<D: Dialer>(&self, dialer: D, shutdown: CancellationToken) {
        let mut backoff = Backoff::new(
            self.config.reconnect_min,
            self.config.reconnect_max,
            fastrand::u64(..),
        );
        while let Some(lost) = self.link(&dialer, &shutdown).await {
            let delay = backoff.delay(lost.lived, lost.reconnect, lost.retry_after);
            let (hub, why) = (&self.config.hub, printable(&lost.why));
            let next_try_in = format!("{:.1}s", delay.as_secs_f64());
            if let Some(meanwhile) = &self.config.meanwhile {
                self.fallback.begins(&lost, hub, meanwhile, &next_try_in);
            } else if lost.orderly {
                tracing::info!(%hub, %why, %next_try_in, "the link to the hub is over");
            } else if lost.lived.is_zero() {
                tracing::warn!(%hub, %why, %next_try_in, "cannot connect to the hub");
            } else {
                tracing::warn!(%hub, %why, %next_try_in, "lost the link to the hub");
            }
            self.feed.bound(limits::OUTBOX_UNLINKED);
            self.enter(LinkState::Backoff);
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(delay) => {}
            }
        }
        self.stop().await;
    }

    /// Lets what runs finish, and writes down what is left.
    async fn stop(&self) {
        tokio::join!(self.creates.stop(self.stop_at()), self.door.empty(self.stop_at()));
        if let Some(journal) = &self.journal
            && !matches!(
                tokio::time::timeout(CLOSE_WAIT, journal.flush()).await,
                Ok(Ok(()))
            )
        {
            tracing::warn!(
                "the last acknowledgements were not written down: their events will be sent again"
            );
        }
        self.enter(LinkState::Closed);
        tracing::info!(plugin = %self.config.name, "the plugin has stopped");
    }

    fn stop_at(&self) -> Instant {
        *self
            .stop_at
            .get_or_init(|| Instant::now() + self.config.drain_grace)
    }

    fn enter(&self, state: LinkState) {
        tracing::debug!(?state, "link");
        self.state.send_replace(state);
    }
}
