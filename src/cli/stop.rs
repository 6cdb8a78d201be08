//! SIGTERM and SIGINT: the first asks for an end in good order, the second forces it.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::exit::Exit;

/// Starts to listen. The token is cancelled at the first signal; at the second the process ends at once.
///
/// # Errors
/// When the signals cannot be taken.
pub(crate) fn on_signals() -> io::Result<CancellationToken> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            if stop.is_cancelled() {
                eprintln!("towline: second signal, ending now");
                std::process::exit(Exit::Failed as i32);
            }
            stop.cancel();
        }
    });
    Ok(token)
}
