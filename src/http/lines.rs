//! Lines of JSON as a response body, kept alive: a blank line whenever there was nothing to say for a while.
//!
//! Without it a reader cannot tell a quiet hub from a network that has died: TCP says nothing then.

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use futures::{Stream, StreamExt, stream};
use tokio::time::timeout;

use super::logs::typed;
use crate::limits;

/// What is said when there is nothing to say. Readers of NDJSON pass over it.
const BLANK: Bytes = Bytes::from_static(b"\n");

/// A value as one line of NDJSON.
pub(super) fn line(value: &impl serde::Serialize) -> Bytes {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

/// The lines as a response.
pub(super) fn response(lines: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let lines = kept_alive(lines).map(Ok::<_, std::convert::Infallible>);
    typed(Body::from_stream(lines), "application/x-ndjson")
}

/// The same lines, with blank ones in long silences.
fn kept_alive(lines: impl Stream<Item = Bytes> + Send + 'static) -> impl Stream<Item = Bytes> + Send {
    stream::unfold(lines.boxed(), |mut lines| async move {
        let next = match timeout(limits::HTTP_HEARTBEAT, lines.next()).await {
            Ok(next) => next?,
            Err(_) => BLANK,
        };
        Some((next, lines))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_long_silence_is_filled_with_blank_lines_and_the_lines_are_not_touched() {
        let said = stream::iter([0, 50, 5]).then(|quiet| async move {
            sleep(Duration::from_secs(quiet)).await;
            line(&quiet)
        });
        let start = Instant::now();
        let heard: Vec<(u64, Bytes)> = kept_alive(said)
            .map(|line| (start.elapsed().as_secs(), line))
            .collect()
            .await;
        let expected: [(u64, &str); 5] = [(0, "0\n"), (20, "\n"), (40, "\n"), (50, "50\n"), (55, "5\n")];
        assert_eq!(
            heard,
            expected.map(|(at, text)| (at, Bytes::from_static(text.as_bytes())))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_has_ended_says_nothing_more() {
        let response = response(stream::iter([line(&1)]));
        assert_eq!(response.headers()["content-type"], "application/x-ndjson");
        let body = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
        assert_eq!(&body[..], b"1\n");
    }
}
