//! Both ends of a link over what a test binary says: messages in memory, or gRPC on a wire that a test can break.
#![allow(dead_code)] // no binary uses all of it

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split},
    sync::watch,
};
#[cfg(feature = "grpc")]
use towline::transport::{
    Dial,
    grpc::{Calls, Grpc, dial_grpc_over},
};
use towline::transport::{
    Io, Message, Transport, TransportError,
    memory::{self, Memory},
};

/// What carries the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// Messages in memory, as a WebSocket carries them.
    Memory,
    /// A call of gRPC.
    Grpc,
}

/// A link's two ends, and what a test may do to each direction.
pub(crate) struct Pair {
    pub(crate) hub: End,
    pub(crate) plugin: End,
    /// From the plugin to the hub.
    pub(crate) up: Faults,
    pub(crate) down: Faults,
}

/// Two joined ends that take messages up to `limit` bytes.
pub(crate) async fn pair(carrier: Carrier, limit: usize) -> Pair {
    #[cfg(feature = "grpc")]
    if carrier == Carrier::Grpc {
        let wire = Wire::new();
        let (hub, plugin) = grpc_pair_over(wire.hub, wire.plugin, limit).await;
        return Pair {
            hub: End::Grpc(Box::new(hub)),
            plugin: End::Grpc(Box::new(plugin)),
            up: Faults::Wire(wire.up),
            down: Faults::Wire(wire.down),
        };
    }
    assert_eq!(carrier, Carrier::Memory, "this build has no gRPC");
    let (hub, plugin) = memory::pair(limit);
    let (up, down) = (plugin.faults(), hub.faults());
    Pair {
        hub: End::Memory(hub),
        plugin: End::Memory(plugin),
        up: Faults::Memory(up),
        down: Faults::Memory(down),
    }
}

#[cfg(feature = "grpc")]
/// The hub's end and the plugin's, over two ends of a stream.
pub(crate) async fn grpc_pair_over(hub: Io, plugin: Io, limit: usize) -> (Grpc, Grpc) {
    let mut to = Dial::new("grpc://hub:3001", "");
    to.limit = limit;
    let accepting = async {
        let mut calls = Calls::accept(hub).await.unwrap();
        let call = calls.next().await.unwrap().unwrap();
        let link = call.link(limit).unwrap();
        tokio::spawn(async move { while let Some(Ok(_)) = calls.next().await {} });
        link
    };
    let (hub, plugin) = tokio::join!(accepting, dial_grpc_over(&to, plugin));
    (hub, plugin.unwrap())
}

/// One end.
#[derive(Debug)]
pub(crate) enum End {
    Memory(Memory),
    #[cfg(feature = "grpc")]
    Grpc(Box<Grpc>),
}

macro_rules! each {
    ($self:ident, $end:ident => $call:expr) => {
        match $self {
            Self::Memory($end) => $call,
            #[cfg(feature = "grpc")]
            Self::Grpc($end) => $call,
        }
    };
}

impl Transport for End {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, TransportError>>> {
        each!(self, end => end.poll_recv(cx))
    }
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        each!(self, end => end.poll_ready(cx))
    }
    fn start_send(&mut self, message: Message) -> Result<(), TransportError> {
        each!(self, end => end.start_send(message))
    }
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        each!(self, end => end.poll_flush(cx))
    }
    fn written(&self) -> u64 {
        each!(self, end => end.written())
    }
    fn closes_by_go_away(&self) -> bool {
        each!(self, end => end.closes_by_go_away())
    }
}

/// What a test does to a direction.
#[derive(Debug, Clone)]
pub(crate) enum Faults {
    Memory(memory::Faults),
    Wire(Arc<watch::Sender<Flow>>),
}

impl Faults {
    /// Breaks both directions.
    pub(crate) fn cut(&self) {
        match self {
            Self::Memory(faults) => faults.cut(),
            Self::Wire(flow) => drop(flow.send_replace(Flow::Cut)),
        }
    }
    /// What is sent does not arrive until [`Faults::release`].
    pub(crate) fn hold(&self) {
        match self {
            Self::Memory(faults) => faults.hold(),
            Self::Wire(flow) => drop(flow.send_replace(Flow::Held)),
        }
    }
    pub(crate) fn release(&self) {
        match self {
            Self::Memory(faults) => faults.release(),
            Self::Wire(flow) => drop(flow.send_replace(Flow::Free)),
        }
    }
    /// What is sent is lost, and nobody is told.
    pub(crate) fn drop_silently(&self) {
        match self {
            Self::Memory(faults) => faults.drop_silently(),
            Self::Wire(flow) => drop(flow.send_replace(Flow::Lost)),
        }
    }
    /// Takes nothing any more, as a peer that does not read.
    pub(crate) fn stall(&self, stalled: bool) {
        match self {
            Self::Memory(faults) => faults.stall(stalled),
            Self::Wire(_) if stalled => self.hold(),
            Self::Wire(_) => self.release(),
        }
    }
}

/// What a direction of a wire does with bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    Free,
    Held,
    Lost,
    Cut,
}

struct Wire {
    hub: Io,
    plugin: Io,
    up: Arc<watch::Sender<Flow>>,
    down: Arc<watch::Sender<Flow>>,
}

impl Wire {
    fn new() -> Self {
        let ((hub, hub_far), (plugin, plugin_far)) = (duplex(16 << 10), duplex(16 << 10));
        let ((from_hub, to_hub), (from_plugin, to_plugin)) = (split(hub_far), split(plugin_far));
        let (up, down) = (watch::Sender::new(Flow::Free), watch::Sender::new(Flow::Free));
        let (see_up, see_down) = (up.subscribe(), down.subscribe());
        tokio::spawn(async move {
            // Both end with the first: a socket breaks in both directions.
            tokio::select! {
                () = carry(from_plugin, to_hub, see_up) => {}
                () = carry(from_hub, to_plugin, see_down) => {}
            }
        });
        Self {
            hub: Io::other(hub),
            plugin: Io::other(plugin),
            up: Arc::new(up),
            down: Arc::new(down),
        }
    }
}

/// Carries bytes until one end has gone, or the wire is cut. What one end sent before it went still arrives.
async fn carry(
    mut from: ReadHalf<DuplexStream>,
    mut to: WriteHalf<DuplexStream>,
    mut flow: watch::Receiver<Flow>,
) {
    let mut piece = vec![0; 16 << 10];
    loop {
        let size = tokio::select! {
            biased;
            () = cut(&mut flow) => return,
            size = from.read(&mut piece) => size.unwrap_or(0),
        };
        // A test that lets go of its faults has no more to do to it.
        let now = flow.wait_for(|flow| *flow != Flow::Held).await.map(|flow| *flow);
        match now.unwrap_or(Flow::Free) {
            Flow::Cut => return,
            Flow::Lost if size > 0 => {}
            Flow::Lost => std::future::pending().await,
            _ if size == 0 => {
                let _ = to.shutdown().await;
                return;
            }
            _ => {
                if to.write_all(&piece[..size]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Waits until the wire is cut; for ever when nobody is left to do it.
async fn cut(flow: &mut watch::Receiver<Flow>) {
    if flow.wait_for(|flow| *flow == Flow::Cut).await.is_err() {
        std::future::pending().await
    }
}
