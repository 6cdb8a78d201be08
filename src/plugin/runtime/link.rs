//! One link: dialled, registered, served to its end.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{CLOSE_WAIT, LinkState, Plugin};
use crate::{
    code::CloseCode,
    connection::{self, Connection, Ended},
    limits,
    plugin::{
        DialFailure, Dialer, Handler,
        lost::{CloseOnDrop, Lost, printable},
        node,
        outbox::Resumed,
        serve::Serve,
    },
    wire::{NodeStatus, Register, Role, Subprotocol, Welcome, feature},
};

/// How long a hub that said GoAway may take to close: its longest call, and the close.
const HUB_DRAIN: Duration = Duration::from_secs(120);

impl<H: Handler> Plugin<H> {
    /// One link from its dial to its end; nothing when the plugin is to stop.
    pub(super) async fn link<D: Dialer>(&self, dialer: &D, shutdown: &CancellationToken) -> Option<Lost> {
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
