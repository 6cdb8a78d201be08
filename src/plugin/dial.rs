//! How the plugin gets a transport to its hub.

use std::{
    future::Future,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    NoLink,
    config::{PluginConfig, TOKEN_BOUND, is_token},
};
use crate::{
    code::{Code, Reconnect},
    transport::{self, ConnectError, Dial, DialError, Dialled, Transport},
};

/// Makes one transport to the hub for each call. [`super::Plugin::run`] uses its own over WebSocket or gRPC; tests and other
/// carriers bring theirs to [`super::Plugin::run_with`].
pub trait Dialer: Send + Sync + 'static {
    /// What it makes.
    type Transport: Transport;

    /// Dials once.
    fn dial(&self) -> impl Future<Output = Result<Self::Transport, DialFailure>> + Send;

    /// Waits until a dial makes sense, however long that takes. At once, unless the dialer knows better.
    fn ready(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// Why no transport came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DialFailure {
    /// What failed and what to do, for people.
    pub message: String,
    /// The hub's wish not to be dialled sooner; zero when it had none.
    pub retry_after: Duration,
    /// How to come back: [`Reconnect::Slow`] when trying again soon will not mend it.
    pub reconnect: Reconnect,
    /// What kind of trouble it is.
    pub cause: NoLink,
}

impl DialFailure {
    /// A failure that may pass by itself.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            retry_after: Duration::ZERO,
            reconnect: Reconnect::Backoff,
            cause: NoLink::Unreachable,
        }
    }

    fn because(self, cause: NoLink) -> Self {
        Self { cause, ..self }
    }

    /// The same, but trying again soon will not mend it.
    pub fn slow(mut self) -> Self {
        self.reconnect = Reconnect::Slow;
        self
    }
}

/// Dials the hub of a [`PluginConfig`], over WebSocket or gRPC as its address says.
#[derive(Debug)]
pub(super) struct HubDialer {
    dial: Dial,
    token_file: Option<PathBuf>,
}

impl HubDialer {
    pub(super) fn new(config: &PluginConfig) -> Self {
        let mut dial = Dial::new(config.hub.as_str(), config.codec.name());
        dial.bearer = config.token.clone();
        dial.tls = config.tls.clone();
        dial.timeout = config.dial_timeout;
        Self {
            dial,
            token_file: config.token_file.clone(),
        }
    }
}

impl Dialer for HubDialer {
    type Transport = Dialled;

    async fn dial(&self) -> Result<Self::Transport, DialFailure> {
        let mut dial = self.dial.clone();
        // Read again for each dial, so that a token can be changed without a restart.
        if let Some(path) = &self.token_file {
            dial.bearer = Some(read_token(path).await?);
        }
        Ok(transport::dial_link(&dial).await?)
    }
}

impl From<DialError> for DialFailure {
    fn from(error: DialError) -> Self {
        let failure = Self::new(error_chain(&error)).because(cause(&error));
        match error {
            // A hub that says so will say so again: 4500 and 4503 over HTTP.
            DialError::Refused {
                status: 401 | 403, ..
            }
            | DialError::RefusedCall {
                code: Code::Unauthenticated | Code::PermissionDenied,
                ..
            } => failure.slow(),
            DialError::Refused { retry_after, .. } => Self {
                retry_after: retry_after.unwrap_or_default(),
                ..failure
            },
            _ => failure,
        }
    }
}

/// What a person is to look at.
fn cause(error: &DialError) -> NoLink {
    match error {
        DialError::Token
        | DialError::Connect(ConnectError::Settings(_))
        | DialError::Refused {
            status: 401 | 403 | 407,
            ..
        }
        | DialError::RefusedCall {
            code: Code::Unauthenticated | Code::PermissionDenied,
            ..
        } => NoLink::Credentials,
        // What knows no such path, method or upgrade, or answers with a page.
        DialError::Refused {
            status: 200..=400 | 404 | 405 | 410 | 426 | 501,
            ..
        }
        | DialError::RefusedCall {
            code: Code::Unimplemented,
            ..
        }
        | DialError::NotGrpc { .. }
        | DialError::NotWebSocket { .. } => NoLink::Unsupported,
        DialError::Connect(ConnectError::Tls { .. })
        | DialError::Refused {
            status: 401..=499, ..
        }
        | DialError::Timeout { .. } => NoLink::Handshake,
        _ => NoLink::Unreachable,
    }
}

/// The error and its causes in one line.
pub(super) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

async fn read_token(path: &Path) -> Result<String, DialFailure> {
    let shown = path.display();
    let text = match tokio::fs::read_to_string(path).await {
        Ok(text) => text,
        Err(error) => {
            let text = format!("cannot read the token file {shown}: {error}");
            return Err(DialFailure::new(text).because(NoLink::Credentials));
        }
    };
    let token = text.trim();
    if is_token(token) {
        Ok(token.to_owned())
    } else {
        let text = format!("the token file {shown} must hold {TOKEN_BOUND}");
        Err(DialFailure::new(text).because(NoLink::Credentials))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn a_token_file_is_trimmed_and_a_bad_one_is_named_without_its_text() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        let missing = read_token(&file).await.unwrap_err();
        assert!(
            missing.message.contains("cannot read the token file"),
            "{missing}"
        );
        std::fs::write(&file, "secret\n").unwrap();
        assert_eq!(read_token(&file).await.unwrap(), "secret");
        for bad in ["", "\n", "se cret", "secret\nsecret"] {
            std::fs::write(&file, bad).unwrap();
            let failure = read_token(&file).await.unwrap_err();
            assert!(failure.message.contains("must hold"), "{failure}");
            assert!(!failure.message.contains("secret"), "{failure}");
        }
    }

    #[test]
    fn each_trouble_is_told_from_the_others() {
        let refused = |status| DialError::Refused {
            url: "ws://hub/ws".to_owned(),
            status,
            retry_after: None,
            body: String::new(),
        };
        for (status, expected) in [
            (200, NoLink::Unsupported),
            (302, NoLink::Unsupported),
            (400, NoLink::Unsupported),
            (401, NoLink::Credentials),
            (403, NoLink::Credentials),
            (404, NoLink::Unsupported),
            (421, NoLink::Handshake),
            (426, NoLink::Unsupported),
            (502, NoLink::Unreachable),
            (503, NoLink::Unreachable),
        ] {
            assert_eq!(cause(&refused(status)), expected, "{status}");
        }
        let stranger = DialError::NotWebSocket {
            url: "ws://hub/ws".to_owned(),
            problem: "it did not take subprotocol".to_owned(),
        };
        assert_eq!(cause(&stranger), NoLink::Unsupported);
        assert_eq!(cause(&DialError::Token), NoLink::Credentials);
        for (code, expected) in [
            (Code::Unauthenticated, NoLink::Credentials),
            (Code::PermissionDenied, NoLink::Credentials),
            (Code::Unimplemented, NoLink::Unsupported),
            (Code::Unavailable, NoLink::Unreachable),
        ] {
            let refused = DialError::RefusedCall {
                url: "grpc://hub:1".to_owned(),
                code,
                message: String::new(),
            };
            assert_eq!(cause(&refused), expected, "{code}");
            let slow = DialFailure::from(refused).reconnect == Reconnect::Slow;
            assert_eq!(slow, expected == NoLink::Credentials, "{code}");
        }
    }

    #[test]
    fn a_refused_credential_is_tried_again_slowly_and_a_busy_hub_when_it_asks() {
        let refused = |status, seconds: Option<u64>| {
            DialFailure::from(DialError::Refused {
                url: "ws://hub/ws".to_owned(),
                status,
                retry_after: seconds.map(Duration::from_secs),
                body: String::new(),
            })
        };
        assert_eq!(refused(401, None).reconnect, Reconnect::Slow);
        assert_eq!(refused(403, None).reconnect, Reconnect::Slow);
        let busy = refused(503, Some(7));
        assert_eq!(
            (busy.reconnect, busy.retry_after),
            (Reconnect::Backoff, Duration::from_secs(7))
        );
    }
}
