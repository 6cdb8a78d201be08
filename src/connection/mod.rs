//! One [`Session`](crate::session) on one [`Transport`]: calls and log streams as futures, one task.
//!
//! The only place where a session meets a transport. Learn [`Connection`] (opens calls) and [`Peer`] (answers
//! the other side's).
#![allow(clippy::todo, unused_variables, missing_docs)]

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use crate::{
    code::CloseCode,
    transport::{Transport, TransportError},
    wire::{
        EventAck, LogChunk, LogsEnd, NodeStatus, PodEvent, Register, Request, Response, Status, StreamLogs,
        Welcome,
    },
};

/// A boxed future of a [`Peer`].
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What this side does with what the other side sends. Implemented by the hub and by the plugin runtime.
///
/// The plain methods are called from the connection task, in order: they must not block or wait.
/// A returned future is polled once inline and then in a task set; dropping it is how a cancelled call ends
/// (after [`Incoming::cancelled`] had its chance).
pub trait Peer: Send + Sync + 'static {
    /// A call came. The future ends it. A panic inside ends it with INTERNAL.
    fn request(&self, request: Request, cancel: CancelSignal) -> BoxFuture<Response>;
    /// A log stream was opened. The future ends it; the first chunk is the open acknowledgement.
    fn stream_logs(&self, open: StreamLogs, sink: LogSink) -> BoxFuture<Result<LogsEnd, Status>>;
    /// A pod event came (hub only).
    fn pod_event(&self, event: PodEvent);
    /// An acknowledgement came (plugin only).
    fn event_ack(&self, ack: EventAck);
    /// The node's status came (hub only).
    fn node_status(&self, status: NodeStatus);
    /// The other side drains: it takes no new call.
    fn going_away(&self, code: CloseCode, reason: &str, retry_after: Duration);
}

/// Resolves when the caller has cancelled, its deadline has passed, or the connection has ended.
#[derive(Debug, Clone)]
pub struct CancelSignal(pub(crate) tokio_util::sync::CancellationToken);

impl CancelSignal {
    /// Waits until the call is cancelled. Cancel safe.
    pub async fn cancelled(&self) {
        self.0.cancelled().await;
    }
}

/// The handle of a live connection; cheap to clone. The connection ends when it is closed or lost, not when
/// handles are dropped.
#[derive(Clone, Debug)]
pub struct Connection {
    _inner: Arc<()>,
}

/// How a connection ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The close code, ours or the peer's; [`CloseCode::ABNORMAL`] when the socket just broke.
    pub code: CloseCode,
    /// Why, for people.
    pub reason: String,
    /// True when the peer closed, false when this side did or the socket broke.
    pub by_peer: bool,
    /// From GoAway; zero when the peer had no wish.
    pub retry_after: Duration,
}

impl Connection {
    /// Makes a unary call and waits for its Response. A Response with a status is given as the error.
    /// `request.timeout_ms` is enforced here too. Op defaults are the caller's business.
    ///
    /// # Errors
    /// The peer's Status, or a local one: UNAVAILABLE/SESSION_LOST (with `not_started` when the frame was never
    /// written), DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNAVAILABLE/DRAINING (not_started).
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call at the peer.
    pub async fn call(&self, request: Request) -> Result<Response, Status> {
        todo!()
    }

    /// Opens a log stream. Returns when the open acknowledgement (first chunk) came; that chunk is the
    /// first that [`LogStream::next`] gives.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub async fn stream_logs(&self, open: StreamLogs) -> Result<LogStream, Status> {
        todo!()
    }

    /// Pushes a pod event (plugin). False when the connection has ended.
    pub fn send_event(&self, event: PodEvent) -> bool {
        todo!()
    }
    /// Acknowledges events (hub).
    pub fn send_ack(&self, ack: EventAck) -> bool {
        todo!()
    }
    /// Pushes the node's status (plugin).
    pub fn send_node_status(&self, status: NodeStatus) -> bool {
        todo!()
    }
    /// Sends GoAway, lets open unary calls finish for `grace`, ends log streams, then closes with `code`.
    pub fn drain(&self, code: CloseCode, reason: &str, grace: Duration, retry_after: Duration) {
        todo!()
    }
    /// Closes now.
    pub fn close(&self, code: CloseCode, reason: &str) {
        todo!()
    }
    /// Waits for the end. Cancel safe; may be called many times.
    pub async fn ended(&self) -> Ended {
        todo!()
    }
    /// Whether the connection still takes calls (not ended, not draining either way).
    pub fn is_open(&self) -> bool {
        todo!()
    }
    /// When the last link message of the peer came.
    pub fn last_heard(&self) -> std::time::Instant {
        todo!()
    }
    /// Whether the peer has this feature in force.
    pub fn has_feature(&self, name: &str) -> bool {
        todo!()
    }
}

/// The reading end of a log stream. Dropping it cancels the stream at the peer.
#[derive(Debug)]
pub struct LogStream {
    _inner: (),
}

impl LogStream {
    /// The next chunk, or how the stream ended (then only that again). Credit is granted as chunks are taken.
    /// Cancel safe.
    ///
    /// # Errors
    /// `Err(Ok(end))` when the log ended in good order, `Err(Err(status))` otherwise; SESSION_LOST when the
    /// connection ended.
    pub async fn next(&mut self) -> Result<LogChunk, Result<LogsEnd, Status>> {
        todo!()
    }
}

/// The writing end of a log stream.
#[derive(Debug)]
pub struct LogSink {
    _inner: (),
}

/// The reader of a log stream went away; end the future with anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the reader has gone")]
pub struct ReaderGone;

impl LogSink {
    /// Queues a chunk, waiting for credit. `data` is at most [`crate::limits::MAX_LOG_CHUNK`].
    ///
    /// # Errors
    /// [`ReaderGone`] when the stream was cancelled or the connection has ended.
    pub async fn send(&mut self, chunk: LogChunk) -> Result<(), ReaderGone> {
        todo!()
    }
    /// Waits until the stream is cancelled. Cancel safe.
    pub async fn cancelled(&self) {
        todo!()
    }
}

/// A dialled or accepted transport before the handshake is through.
#[derive(Debug)]
pub struct Accepted<T> {
    _transport: T,
    /// What the peer registered with.
    pub register: Register,
}

/// Reads Register from an accepted transport, at most [`crate::limits::REGISTER_TIMEOUT`].
///
/// # Errors
/// When no good Register came; the transport was then closed with the fitting code.
pub async fn accept<T: Transport>(transport: T) -> Result<Accepted<T>, HandshakeError> {
    todo!()
}

impl<T: Transport> Accepted<T> {
    /// Answers Welcome and starts the connection task. `welcome.features` is what is in force.
    pub fn welcome(self, welcome: Welcome, peer: Arc<dyn Peer>) -> Connection {
        todo!()
    }
    /// Refuses: GoAway and close.
    pub async fn refuse(self, code: CloseCode, reason: &str, retry_after: Duration) {
        todo!()
    }
}

/// A registered plugin side, before its task runs.
#[derive(Debug)]
pub struct Registered<T> {
    _transport: T,
    /// The hub's answer.
    pub welcome: Welcome,
}

/// Sends Register over a dialled transport and waits for Welcome.
///
/// # Errors
/// When the hub refused or did not answer in time.
pub async fn register<T: Transport>(
    transport: T,
    register: Register,
) -> Result<Registered<T>, HandshakeError> {
    todo!()
}

impl<T: Transport> Registered<T> {
    /// Starts the connection task.
    pub fn start(self, peer: Arc<dyn Peer>) -> Connection {
        todo!()
    }
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The peer refused or closed.
    #[error("refused with {code}: {reason}")]
    Refused {
        code: CloseCode,
        reason: String,
        retry_after: Duration,
    },
    /// Nothing came in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The peer sent something else.
    #[error("handshake: {0}")]
    Protocol(String),
    /// The transport failed.
    #[error("transport")]
    Transport(#[from] TransportError),
}
