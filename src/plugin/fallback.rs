//! What is told of a link that does not come while something else serves meanwhile: each trouble once when it begins, and
//! once when it has ended.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

use super::lost::{Lost, printable};

/// Why there is no link, in one word: what a person does about it differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoLink {
    /// Nobody answers there, or not now.
    Unreachable,
    /// Somebody answers, and the handshake of TLS, WebSocket or the link fails.
    Handshake,
    /// What answers has no link: another server, another path, or another subprotocol.
    Unsupported,
    /// A token or key file of this side is missing or refused.
    Credentials,
    /// There was a link, and it has ended.
    Lost,
}

impl fmt::Display for NoLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "unreachable",
            Self::Handshake => "handshake",
            Self::Unsupported => "unsupported",
            Self::Credentials => "credentials",
            Self::Lost => "lost",
        })
    }
}

/// The trouble that there is, if any.
#[derive(Debug, Default)]
pub(super) struct Fallback(Mutex<Option<(NoLink, Instant)>>);

impl Fallback {
    /// There is no link: told when that is news.
    pub(super) fn begins(&self, lost: &Lost, hub: &str, meanwhile: &str, next_try_in: &str) {
        let (cause, why) = (lost.cause, printable(&lost.why));
        let mut trouble = self.lock();
        let since = trouble.map_or_else(Instant::now, |(_, since)| since);
        match trouble.replace((cause, since)) {
            Some((before, _)) if before == cause => {
                tracing::debug!(%hub, %cause, %why, %next_try_in, "still no link to the hub");
            }
            Some((before, _)) => tracing::warn!(
                %hub, %cause, %before, %why, in_force = meanwhile, %next_try_in,
                "still no link to the hub, for another reason"
            ),
            None => tracing::warn!(
                %hub, %cause, %why, in_force = meanwhile, %next_try_in,
                "no link to the hub: falling back"
            ),
        }
    }

    /// The link is up.
    pub(super) fn ends(&self, hub: &str, meanwhile: &str) {
        if let Some((cause, since)) = self.lock().take() {
            let after = format!("{:.1}s", since.elapsed().as_secs_f64());
            tracing::info!(
                %hub, %cause, %after, in_force = format!("the link, and {meanwhile}"),
                "the link to the hub is up: the fallback has ended"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<(NoLink, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
