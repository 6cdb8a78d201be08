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

use std::{
    fmt,
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    ConfigError, DialFailure, Dialer, Events, Handler, PluginConfig,
    backoff::Backoff,
    creates::Creates,
    dial::HubDialer,
    durable,
    fallback::Fallback,
    feed::Feed,
    journal::{Disk, Journal, Writer, random_epoch},
    local::{Door, Local},
    lost::{CloseOnDrop, Lost, printable},
    node,
    outbox::{Outbox, Resumed},
    serve::Serve,
};
use crate::{
    code::CloseCode,
    connection::{self, Connection, Ended},
    limits,
    wire::{NodeStatus, Register, Role, Subprotocol, Welcome, feature},
};

/// What a close may take beyond the grace before the link is dropped.
const CLOSE_WAIT: Duration = Duration::from_secs(1);
/// How long a hub that said GoAway may take to close: its longest call, and the close.
const HUB_DRAIN: Duration = Duration::from_secs(120);

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

    /// One link from its dial to its end; nothing when the plugin is to stop.
    async fn link<D: Dialer>(&self, dialer: &D, shutdown: &CancellationToken) -> Option<Lost> {
        self.enter(LinkState::Dialing);
        let registered = tokio::select! {
            biased;
            () = shutdown.cancelled() => return None,
            registered = async {
                dialer.ready().await;
                self.register(dialer).await
            } => registered,
        };
        let (registered, since) = match registered {
            Ok(registered) => (registered, Instant::now()),
            Err(lost) => {
                self.enter(LinkState::Closed);
                return Some(lost);
            }
        };
        let events = has_feature(&registered.welcome, feature::EVENTS);
        let session = registered.welcome.session.clone();
        self.handler.linked(&registered.welcome.features);
        let serve = Serve {
            handler: Arc::clone(&self.handler),
            creates: Arc::clone(&self.creates),
            feed: Arc::clone(&self.feed),
            events,
            max_message: max_message(&registered.welcome) / growth(self.config.codec),
            draining: Arc::new(Notify::new()),
        };
        let hub_drains = Arc::clone(&serve.draining);
        let connection = registered.start(Arc::new(serve));
        let _closed = CloseOnDrop(connection.clone());
        self.enter(LinkState::Ready);
        tracing::info!(
            hub = %self.config.hub, plugin = %self.config.name, session = %printable(&session), events,
            "connected to the hub"
        );
        if let Some(meanwhile) = &self.config.meanwhile {
            self.fallback.ends(&self.config.hub, meanwhile);
        }
        let ended = self.keep(&connection, events, &hub_drains, shutdown).await;
        self.feed.lost();
        self.enter(LinkState::Closed);
        if shutdown.is_cancelled() {
            return None;
        }
        Some(Lost::ended(&ended, since.elapsed()))
    }

    /// Dials, asks the node at the same time, and registers.
    async fn register<D: Dialer>(&self, dialer: &D) -> Result<connection::Registered<D::Transport>, Lost> {
        self.feed.ask_node();
        let dial = tokio::time::timeout(self.config.dial_timeout, dialer.dial());
        let (dialled, node) = tokio::join!(dial, node::ask(&self.handler, self.config.node_timeout));
        let transport = match dialled {
            Ok(Ok(transport)) => transport,
            Ok(Err(failure)) => return Err(failure.into()),
            Err(_) => {
                let text = format!("no connection within {:?}", self.config.dial_timeout);
                return Err(DialFailure::new(text).into());
            }
        };
        self.enter(LinkState::Registering);
        let (mut config, codec) = (connection::Config::dialling(), self.config.codec);
        config.dial_ping_interval = self.config.ping_interval;
        config.compress_level = self.config.compression_level;
        config.compress_from = self.config.compression_threshold;
        let registered = connection::register_as(transport, self.introduction(node), config, codec).await?;
        self.resume(&registered.welcome)?;
        Ok(registered)
    }

    /// Serves the link until it has ended: sends what is pushed, and sees both kinds of drain through.
    async fn keep(
        &self,
        connection: &Connection,
        events: bool,
        hub_drains: &Notify,
        shutdown: &CancellationToken,
    ) -> Ended {
        let mut deadline: Option<Instant> = None;
        let mut stopping = false;
        loop {
            self.send(connection, events);
            tokio::select! {
                biased;
                ended = connection.ended() => return ended,
                () = shutdown.cancelled(), if !stopping => {
                    stopping = true;
                    deadline = Some(self.stop_at() + CLOSE_WAIT);
                    self.enter(LinkState::Draining);
                    tracing::info!(grace = ?self.config.drain_grace, "stopping: open calls may finish");
                    let grace = self.config.drain_grace;
                    connection.drain(CloseCode::DRAIN, "the plugin is stopping", grace, Duration::ZERO);
                }
                () = hub_drains.notified(), if deadline.is_none() => {
                    deadline = Some(Instant::now() + HUB_DRAIN);
                    self.enter(LinkState::Draining);
                    tracing::info!("the hub is going away");
                }
                () = sleep_until(deadline) => {
                    connection.close(CloseCode::DRAIN, "the drain took too long");
                    let closed = tokio::time::timeout(CLOSE_WAIT, connection.ended()).await;
                    return closed.unwrap_or_else(|_| Ended {
                        code: CloseCode::ABNORMAL,
                        reason: "the drain took too long".to_owned(),
                        by_peer: false,
                        retry_after: Duration::ZERO,
                    });
                }
                () = self.feed.changed() => {}
            }
        }
    }

    /// Sends what the window allows.
    fn send(&self, connection: &Connection, events: bool) {
        // The feed is never locked while the connection is.
        if let Some(node) = self.feed.take_node() {
            connection.send_node_status(node);
        }
        if !events {
            return self.feed.discard();
        }
        // When the connection has ended, what was taken is made pending again.
        while self.feed.take().is_some_and(|event| connection.send_event(event)) {}
    }

    /// Fits the outbox to what the hub has applied. Nothing was sent yet but Register.
    fn resume(&self, welcome: &Welcome) -> Result<(), Lost> {
        let max_unacked = welcome
            .limits
            .as_ref()
            .map_or(0, |limits| limits.max_unacked_events);
        let applied = welcome.applied.unwrap_or_default();
        if self.feed.resume(applied, max_unacked) == Resumed::Behind {
            return Err(Lost::failed(
                "the hub knows later events than this plugin: registering with a new outbox",
            ));
        }
        Ok(())
    }

    fn introduction(&self, node: NodeStatus) -> Register {
        let (outbox, empty) = self.feed.describe();
        // A handler that let its handle go pushes nothing: without the feature the hub polls.
        let events = self.pushes.strong_count() > 0 || !empty;
        let mut features = vec![feature::FLOW_CONTROL.to_owned()];
        if events {
            features.push(feature::EVENTS.to_owned());
        }
        if self.config.offers_compression() {
            features.push(feature::ZSTD.to_owned());
        }
        if self.handler.endpoints() {
            features.push(feature::HTTP.to_owned());
        }
        if self.config.meanwhile.is_some() {
            // What came by the other way came to this very plugin.
            features.push(feature::SHARED.to_owned());
        }
        features.extend(self.handler.features());
        features.dedup();
        Register {
            role: Role::Plugin.into(),
            plugin: self.config.name.clone(),
            instance: self.config.instance.clone(),
            r#type: self.config.kind.clone(),
            software: self.config.software.clone(),
            features,
            // Filled in by the session, which keeps them.
            limits: None,
            outbox: events.then_some(outbox),
            jobs_epoch: self.config.jobs_epoch,
            labels: self.config.labels.clone().into_iter().collect(),
            node_status: Some(self.feed.register_node(node)),
        }
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

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn has_feature(welcome: &Welcome, name: &str) -> bool {
    welcome.features.iter().any(|feature| feature == name)
}

/// How much more room a state takes in this form than in protobuf: JSON names every field, and writes times as text.
fn growth(codec: Subprotocol) -> usize {
    match codec {
        Subprotocol::Proto => 1,
        Subprotocol::Json => 4,
    }
}

fn max_message(welcome: &Welcome) -> usize {
    match welcome
        .limits
        .as_ref()
        .map_or(0, |limits| limits.max_message_bytes)
    {
        0 => limits::MAX_MESSAGE,
        bytes => usize::try_from(bytes)
            .unwrap_or(usize::MAX)
            .min(limits::MAX_MESSAGE),
    }
}
