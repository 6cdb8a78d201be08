//! How the plugin gets a transport to its hub.

use std::{future::Future, path::Path, time::Duration};

use super::config::{PluginConfig, TOKEN_BOUND, is_token};
use crate::{code::Reconnect, transport::Transport};

/// Makes one transport to the hub for each call. [`super::Plugin::run`] uses its own over WebSocket; tests and other
/// carriers bring theirs to [`super::Plugin::run_with`].
pub trait Dialer: Send + Sync + 'static {
    /// What it makes.
    type Transport: Transport;

    /// Dials once.
    fn dial(&self) -> impl Future<Output = Result<Self::Transport, DialFailure>> + Send;
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
}

impl DialFailure {
    /// A failure that may pass by itself.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            retry_after: Duration::ZERO,
            reconnect: Reconnect::Backoff,
        }
    }

    /// The same, but trying again soon will not mend it.
    pub fn slow(mut self) -> Self {
        self.reconnect = Reconnect::Slow;
        self
    }
}

/// The token as it is now: files are read again for each dial, so that a token can be changed without a restart.
async fn token(config: &PluginConfig) -> Result<Option<String>, DialFailure> {
    match &config.token_file {
        Some(path) => read_token(path).await.map(Some),
        None => Ok(config.token.clone()),
    }
}

async fn read_token(path: &Path) -> Result<String, DialFailure> {
    let shown = path.display();
    let text = match tokio::fs::read_to_string(path).await {
        Ok(text) => text,
        Err(error) => {
            return Err(DialFailure::new(format!(
                "cannot read the token file {shown}: {error}"
            )));
        }
    };
    let token = text.trim();
    if is_token(token) {
        Ok(token.to_owned())
    } else {
        Err(DialFailure::new(format!(
            "the token file {shown} must hold {TOKEN_BOUND}"
        )))
    }
}
