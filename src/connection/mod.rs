//! One [`Session`] on one [`Transport`](crate::transport::Transport): calls and log streams as futures, one task.
//!
//! The only place where a session meets a transport; knows tokio, must not know what a call means. Learn
//! [`Connection`] (opens calls) and [`Peer`] (answers the other side's).
//!
//! ```text
//! accept() -> Accepted -welcome()-> Connection          dial, register() -> Registered -start()-> Connection
//!                     \-refuse()                        one task per connection (driver.rs) until it has ended
//! ```

mod body;
mod driver;
mod ending;
mod form;
mod handshake;
mod logs;
mod peer;
mod shared;
mod sink;
mod telling;
pub(crate) mod told;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

pub use body::{Answer, BodyReader};
pub use handshake::{
    Accepted, HandshakeError, Registered, accept, accept_as, accept_with, register, register_as,
    register_with,
};
pub use logs::{LogSink, LogStream, ReaderGone, local_log};
pub use peer::{BoxFuture, CancelSignal, Peer};
pub use sink::{BodySink, CallGone};

use shared::{Inner, Note, Pending, Shared};
use tokio::sync::oneshot;

pub use crate::session::{Compression, Config, Rate, Squeezed, Tally};
use crate::{
    code::CloseCode,
    session::Session,
    wire::{EventAck, NodeStatus, PodEvent, Request, Response, Status, StreamLogs},
};

/// The handle of a live connection; cheap to clone. The connection ends when it is closed or lost, not when
/// handles are dropped.
#[derive(Clone, Debug)]
pub struct Connection {
    shared: Arc<Shared>,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Makes a unary call and waits for its Response. A Response with a failure is given as the error.
    /// `request.timeout_ms` (0: the default of the op) is enforced here too.
    ///
    /// # Errors
    /// The peer's Status, or a local one: UNAVAILABLE/SESSION_LOST (with `not_started` when the frame was never
    /// written), DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNAVAILABLE/DRAINING (not_started).
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call at the peer.
    pub async fn call(&self, request: Request) -> Result<Response, Status> {
        let (answer, answered) = oneshot::channel();
        self.shared.leave(Note::Call(request.into(), answer));
        let mut waiting = Waiting {
            shared: &self.shared,
            answered,
        };
        match (&mut waiting.answered).await {
            Ok(response) => response.into_result(),
            Err(_) => Err(shared::lost()),
        }
    }

    /// Makes a call with a body in either direction (HttpRequest). What is given to the sink reaches the handler
    /// under credit; the answer gives the handler's head, its bytes and at last its Response. The deadline is that of
    /// the head.
    ///
    /// # Errors
    /// As [`Connection::call`], when nothing was begun; UNIMPLEMENTED when the features are not in force,
    /// RESOURCE_EXHAUSTED when as many such calls are open as may be.
    ///
    /// # Cancel safety
    /// Dropping the answer before its end, or the sink before [`BodySink::finish`], cancels the call at the peer.
    pub fn exchange(&self, request: Request) -> Result<(BodySink, Answer), Status> {
        let id = self.shared.with(|inner| {
            let id = inner.session.open_call(request, now())?;
            inner.pending.insert(id, Pending::Body(Box::default()));
            Ok::<_, Status>(id)
        })?;
        Ok((
            BodySink::of_caller(self.shared.clone(), id),
            Answer::new(self.shared.clone(), id),
        ))
    }

    /// Opens a log stream. Returns when the open acknowledgement (first chunk) came; that chunk is the first
    /// that [`LogStream::next`] gives.
    ///
    /// # Errors
    /// As [`Connection::call`].
    ///
    /// # Cancel safety
    /// Dropping the future, like dropping the stream, cancels it at the peer.
    pub async fn stream_logs(&self, open: StreamLogs) -> Result<LogStream, Status> {
        let id = self.shared.with(|inner| {
            let id = inner.session.open_logs(open, now())?;
            inner.pending.insert(id, Pending::Logs(Box::default()));
            Ok::<_, Status>(id)
        })?;
        let mut stream = LogStream::new(self.shared.clone(), id);
        stream.opened().await?;
        Ok(stream)
    }

    /// Pushes a pod event (plugin); the caller bounds how many are unacknowledged. False when the connection has
    /// ended.
    pub fn send_event(&self, event: PodEvent) -> bool {
        self.send(|session| session.send_event(event))
    }

    /// Acknowledges events (hub). False when the connection has ended.
    pub fn send_ack(&self, ack: EventAck) -> bool {
        self.send(|session| session.send_ack(ack))
    }

    /// Pushes the node's status (plugin). False when the connection has ended.
    pub fn send_node_status(&self, status: NodeStatus) -> bool {
        self.send(|session| session.send_node_status(status))
    }

    /// Says GoAway, ends log streams, lets open calls finish for `grace`, then closes with `code`.
    pub fn drain(&self, code: CloseCode, reason: &str, grace: Duration, retry_after: Duration) {
        self.send(|session| session.drain(code, reason, grace, retry_after, now()));
    }

    /// Closes now.
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.send(|session| session.close(code, reason));
    }

    fn send(&self, command: impl FnOnce(&mut Session)) -> bool {
        self.shared.with(|inner| {
            command(&mut inner.session);
        });
        self.shared.end.now().is_none()
    }

    /// Waits for the end. Cancel safe; may be called many times.
    pub async fn ended(&self) -> Ended {
        let ended = self.shared.end.wait_for(Option::is_some).await;
        ended.unwrap_or_else(|| Ended {
            code: CloseCode::ABNORMAL,
            reason: "the connection task has gone".into(),
            by_peer: false,
            retry_after: Duration::ZERO,
        })
    }

    /// Whether the connection still takes calls (not ended, not draining either way).
    pub fn is_open(&self) -> bool {
        self.shared.is_open()
    }

    /// When the last link message of the peer came.
    pub fn last_heard(&self) -> Instant {
        self.shared.look(|inner| inner.session.last_heard())
    }

    /// Whether a feature is in force.
    pub fn has_feature(&self, name: &str) -> bool {
        self.shared.look(|inner| inner.session.has_feature(name))
    }

    /// What was counted on the link.
    pub fn stats(&self) -> crate::session::Stats {
        self.shared.look(|inner| inner.session.stats())
    }
}

/// A caller that waits. Cancels the call when it goes before the answer.
struct Waiting<'a> {
    shared: &'a Shared,
    answered: oneshot::Receiver<Box<Response>>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.answered.is_terminated() {
            self.answered.close();
            self.shared.with(Inner::give_up);
        }
    }
}

/// The time that sessions are given: tokio's clock, so that tests can stop it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
