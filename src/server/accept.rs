//! The loop of a listener, whatever is spoken on it: one task a connection, so many at once, all of them ended at the end.

use std::{future::Future, pin::pin, sync::Arc};

use tokio::{sync::Semaphore, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    limits,
    transport::{Io, Listener},
};

/// Runs `connection` for each peer of `listener`, at most `max_connections` at once, until `shutdown` is done. For each peer
/// over that, `turn_away` is called, and what it gives is run unless there are too many of those too; then the peer is let
/// go unheard. At the end the token that connections were given is cancelled, they may finish for a few seconds, and what
/// is left is dropped: the answer is how many.
pub(crate) async fn accept<C, T>(
    mut listener: Listener,
    max_connections: usize,
    shutdown: impl Future<Output = ()> + Send,
    connection: impl Fn(Io, Arc<str>, CancellationToken) -> C + Send,
    turn_away: impl Fn(Io) -> T + Send,
) -> usize
where
    C: Future<Output = ()> + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let closing = CancellationToken::new();
    let slots = Arc::new(Semaphore::new(max_connections));
    let refusals = Arc::new(Semaphore::new(limits::HTTP_MAX_TURNED_AWAY));
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let (io, remote) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match Arc::clone(&slots).try_acquire_owned() {
            Ok(slot) => {
                let connection = connection(io, remote.into(), closing.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(slot);
                });
            }
            Err(_) => {
                let turned_away = turn_away(io);
                if let Ok(slot) = Arc::clone(&refusals).try_acquire_owned() {
                    connections.spawn(async move {
                        turned_away.await;
                        drop(slot);
                    });
                }
            }
        }
    }
    drop(listener);
    closing.cancel();
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(limits::HTTP_SHUTDOWN_GRACE, all).await.is_ok() {
        return 0;
    }
    let left = connections.len();
    connections.shutdown().await;
    left
}
