//! The life of a simulated process: after its end it can still compute, but nothing that it does reaches the world.

use tokio_util::sync::CancellationToken;

/// Clones share one life.
#[derive(Debug, Clone, Default)]
pub(crate) struct Life(CancellationToken);

impl Life {
    /// The process is killed.
    pub(crate) fn end(&self) {
        self.0.cancel();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Goes through while it lives; never comes back when it does not.
    pub(crate) async fn gate(&self) {
        if self.is_over() {
            std::future::pending::<()>().await;
        }
    }

    /// Sleeps as a living process does.
    pub(crate) async fn sleep(&self, time: std::time::Duration) {
        tokio::time::sleep(time).await;
        self.gate().await;
    }

    /// Waits for its end.
    pub(crate) async fn over(&self) {
        self.0.cancelled().await;
    }
}
