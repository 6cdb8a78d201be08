//! From a transport to a connection: Register and Welcome.

use std::{fmt, future::poll_fn, sync::Arc, time::Duration};

use super::{Connection, Peer, driver::Driver, ending::broken, form, now, shared::Shared};
use crate::{
    code::CloseCode,
    envelope, limits,
    session::{Config, Event, Session, State},
    transport::{Message, Transport, TransportError},
    wire::{Register, Subprotocol, Welcome},
};

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The peer refused or closed.
    #[error("refused with {code}: {reason}")]
    Refused {
        /// Its close code.
        code: CloseCode,
        /// Why, in its words.
        reason: String,
        /// Its wish for the next dial; zero when it had none.
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

/// An accepted transport whose Register has come.
pub struct Accepted<T> {
    transport: T,
    session: Session,
    /// What the peer registered with.
    pub register: Register,
}

/// A dialled transport whose Welcome has come, before its task runs.
pub struct Registered<T> {
    transport: T,
    session: Session,
    /// The hub's answer.
    pub welcome: Welcome,
}

impl<T> fmt::Debug for Accepted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted")
            .field("register", &self.register)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Registered<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registered")
            .field("welcome", &self.welcome)
            .finish_non_exhaustive()
    }
}

/// Reads Register from an accepted transport, at most [`limits::REGISTER_TIMEOUT`].
///
/// # Errors
/// When no good Register came; the transport was then closed with the fitting code.
pub async fn accept<T: Transport>(transport: T) -> Result<Accepted<T>, HandshakeError> {
    accept_with(transport, Config::accepting()).await
}

/// [`accept`] with other bounds and timers.
///
/// # Errors
/// As [`accept`].
pub async fn accept_with<T: Transport>(transport: T, config: Config) -> Result<Accepted<T>, HandshakeError> {
    accept_as(transport, config, Subprotocol::Proto).await
}

/// [`accept_with`] of a transport on which this subprotocol was agreed.
///
/// # Errors
/// As [`accept`].
pub async fn accept_as<T: Transport>(
    transport: T,
    config: Config,
    subprotocol: Subprotocol,
) -> Result<Accepted<T>, HandshakeError> {
    let timeout = config.register_timeout;
    let mut link = Half {
        transport,
        session: Session::accept(config, now()).with_codec(envelope::codec(subprotocol)),
    };
    match link.until_event(timeout).await? {
        Event::Register(register) => Ok(Accepted {
            transport: link.transport,
            session: link.session,
            register: *register,
        }),
        _ => Err(HandshakeError::Protocol("Register was expected".into())),
    }
}

impl<T: Transport> Accepted<T> {
    /// Answers Welcome and starts the connection task. `welcome.features` is what is in force; limits and timers
    /// are filled in.
    pub fn welcome(mut self, welcome: Welcome, peer: Arc<dyn Peer>) -> Connection {
        self.session.welcome(welcome, now());
        start(self.transport, self.session, peer)
    }

    /// Refuses: GoAway and close. Takes at most two seconds.
    pub async fn refuse(mut self, code: CloseCode, reason: &str, retry_after: Duration) {
        self.session.refuse(code, reason, retry_after);
        let mut link = Half {
            transport: self.transport,
            session: self.session,
        };
        link.close(code, reason).await;
    }
}

/// Sends Register over a dialled transport and waits for Welcome.
///
/// # Errors
/// When the hub refused or did not answer in time.
pub async fn register<T: Transport>(
    transport: T,
    register: Register,
) -> Result<Registered<T>, HandshakeError> {
    register_with(transport, register, Config::dialling()).await
}

/// [`register`] with other bounds and timers.
///
/// # Errors
/// As [`register`].
pub async fn register_with<T: Transport>(
    transport: T,
    register: Register,
    config: Config,
) -> Result<Registered<T>, HandshakeError> {
    register_as(transport, register, config, Subprotocol::Proto).await
}

/// [`register_with`] over a transport on which this subprotocol was agreed.
///
/// # Errors
/// As [`register`].
pub async fn register_as<T: Transport>(
    transport: T,
    register: Register,
    config: Config,
    subprotocol: Subprotocol,
) -> Result<Registered<T>, HandshakeError> {
    let timeout = config.register_timeout;
    let mut link = Half {
        transport,
        session: Session::dial(config, register, now()).with_codec(envelope::codec(subprotocol)),
    };
    match link.until_event(timeout).await? {
        Event::Welcome(welcome) => Ok(Registered {
            transport: link.transport,
            session: link.session,
            welcome: *welcome,
        }),
        Event::GoAway {
            code,
            reason,
            retry_after,
        } => {
            link.close(CloseCode::NORMAL, "").await;
            Err(HandshakeError::Refused {
                code,
                reason,
                retry_after,
            })
        }
        _ => Err(HandshakeError::Protocol("Welcome was expected".into())),
    }
}

impl<T: Transport> Registered<T> {
    /// Starts the connection task.
    pub fn start(self, peer: Arc<dyn Peer>) -> Connection {
        start(self.transport, self.session, peer)
    }
}

fn start<T: Transport>(transport: T, session: Session, peer: Arc<dyn Peer>) -> Connection {
    let shared = Arc::new(Shared::new(session));
    tokio::spawn(Driver::new(transport, shared.clone(), peer).run());
    Connection { shared }
}

/// A transport and its session before anything runs at the same time.
struct Half<T> {
    transport: T,
    session: Session,
}

impl<T: Transport> Half<T> {
    /// Runs until the session tells something.
    async fn until_event(&mut self, timeout: Duration) -> Result<Event, HandshakeError> {
        let outcome = tokio::time::timeout(timeout, self.exchange()).await;
        let (code, reason, error) = match outcome {
            Ok(Ok(Event::Closed { code, reason })) => {
                let error = HandshakeError::Protocol(reason);
                (code, error.to_string(), error)
            }
            Ok(Err(HandshakeError::Transport(error))) if self.is_to_tell(&error) => {
                let ended = broken(&error);
                self.session.close(ended.code, &ended.reason);
                (ended.code, ended.reason, error.into())
            }
            Ok(other) => return other,
            Err(_) => {
                self.session.close(CloseCode::IDLE, "no answer in time");
                let error = HandshakeError::Timeout(timeout);
                (CloseCode::IDLE, error.to_string(), error)
            }
        };
        self.close(code, &reason).await;
        Err(error)
    }

    async fn exchange(&mut self) -> Result<Event, HandshakeError> {
        self.write().await?;
        loop {
            // One event at a time: what follows stays queued for the driver.
            if let Some(event) = self.session.poll_event() {
                return Ok(event);
            }
            match poll_fn(|cx| self.transport.poll_recv(cx)).await {
                None => {
                    return Err(refused(
                        CloseCode::ABNORMAL.0,
                        "the peer ended the connection".into(),
                    ));
                }
                Some(Err(error)) => return Err(error.into()),
                Some(Ok(message @ (Message::Binary(_) | Message::Text(_)))) => {
                    form::take(&mut self.session, message, now());
                }
                Some(Ok(Message::Close(code, reason))) => return Err(refused(code, reason)),
                Some(Ok(Message::Ping(_))) => {
                    self.session.handle_transport_ping(now());
                    self.write().await?;
                }
                Some(Ok(Message::Pong(_))) => {}
            }
        }
    }

    async fn write(&mut self) -> Result<(), TransportError> {
        while let Some(message) = form::next(&mut self.session) {
            poll_fn(|cx| self.transport.poll_ready(cx)).await?;
            self.transport.start_send(message)?;
        }
        poll_fn(|cx| self.transport.poll_flush(cx)).await
    }

    /// Whether the peer broke a rule of a transport that does not tell it so.
    fn is_to_tell(&self, error: &TransportError) -> bool {
        let broke = !matches!(error, TransportError::Io(_));
        broke && self.transport.closes_by_go_away()
    }

    /// Closes as well as it goes.
    async fn close(&mut self, code: CloseCode, reason: &str) {
        debug_assert!(self.session.state() == State::Closed || code == CloseCode::NORMAL);
        let reason = limits::cut(reason, limits::MAX_CLOSE_REASON).to_owned();
        if self.transport.closes_by_go_away() {
            self.session.farewell(code, &reason);
        }
        let close = async {
            self.write().await?;
            poll_fn(|cx| self.transport.poll_ready(cx)).await?;
            self.transport.start_send(Message::Close(code.0, reason))?;
            poll_fn(|cx| self.transport.poll_flush(cx)).await?;
            while let Some(Ok(_)) = poll_fn(|cx| self.transport.poll_recv(cx)).await {}
            Ok::<_, TransportError>(())
        };
        // The peer gets a moment to take it; then the transport is dropped.
        let _ = tokio::time::timeout(Duration::from_secs(2), close).await;
    }
}

fn refused(code: u16, reason: String) -> HandshakeError {
    HandshakeError::Refused {
        code: CloseCode(code),
        reason,
        retry_after: Duration::ZERO,
    }
}
