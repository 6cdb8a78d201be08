//! An answer as lines of JSON, as they come.

use bytes::{Buf as _, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Incoming};
use serde_json::Value;
use tokio::time::timeout;

use crate::limits::HTTP_SILENCE as SILENCE;

/// Longest line: far over a log piece in base64 and over the largest pod.
const MAX_LINE: usize = 32 << 20;

/// The lines of an answer.
#[derive(Debug)]
pub(crate) struct Lines<B = Incoming> {
    body: B,
    buffer: BytesMut,
    /// Bytes of the buffer that are known to hold no line end.
    searched: usize,
    /// A blank line came: the way to the hub was good for a while.
    kept_alive: bool,
}

/// Why no further line came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinesError {
    /// The connection broke, also in the middle of a line.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// What came is no line of JSON.
    #[error("not a line of JSON: {0}")]
    Bad(String),
}

impl<B> Lines<B>
where
    B: Body + Unpin,
    B::Error: std::fmt::Display,
{
    /// The lines of a body.
    pub(super) fn new(body: B) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
            searched: 0,
            kept_alive: false,
        }
    }

    /// Whether the hub was heard in a silence: then the connection was good, though it brought no line.
    pub(crate) fn kept_alive(&self) -> bool {
        self.kept_alive
    }

    /// The next line; `None` when the answer ended in good order. Half a line at the end is an error: what it meant
    /// was not received. So is a long silence: a hub that is there and has nothing to say sends blank lines.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Result<Option<Value>, LinesError> {
        loop {
            if let Some(at) = self.buffer[self.searched..]
                .iter()
                .position(|&byte| byte == b'\n')
            {
                let line = self.buffer.split_to(self.searched + at + 1);
                self.searched = 0;
                if line.trim_ascii().is_empty() {
                    self.kept_alive = true;
                    continue;
                }
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|error| LinesError::Bad(error.to_string()));
            }
            self.searched = self.buffer.len();
            if self.searched > MAX_LINE {
                return Err(LinesError::Bad(format!("no line end in {MAX_LINE} bytes")));
            }
            let silent = || LinesError::Broken(format!("nothing was heard for {} s", SILENCE.as_secs()));
            match timeout(SILENCE, self.body.frame()).await.map_err(|_| silent())? {
                Some(Ok(frame)) => {
                    if let Ok(mut piece) = frame.into_data() {
                        while piece.has_remaining() {
                            let chunk = piece.chunk();
                            let size = chunk.len();
                            self.buffer.extend_from_slice(chunk);
                            piece.advance(size);
                        }
                    }
                }
                Some(Err(error)) => return Err(LinesError::Broken(error.to_string())),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(LinesError::Broken("in the middle of a line".to_owned())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;

    async fn read(pieces: &[&'static str]) -> (Vec<Value>, Option<LinesError>) {
        let frames: Vec<_> = pieces
            .iter()
            .map(|&piece| Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(piece.as_bytes()))))
            .collect();
        let mut lines = Lines::new(StreamBody::new(futures::stream::iter(frames)));
        let mut all = Vec::new();
        loop {
            match lines.next().await {
                Ok(Some(value)) => all.push(value),
                Ok(None) => return (all, None),
                Err(error) => return (all, Some(error)),
            }
        }
    }

    #[tokio::test]
    async fn lines_do_not_depend_on_how_they_are_split() {
        let (values, error) = read(&["{\"a\"", ":1}\n\n[2", "]\n3", "\n"]).await;
        assert_eq!(
            values,
            [
                serde_json::json!({"a": 1}),
                serde_json::json!([2]),
                serde_json::json!(3)
            ]
        );
        assert!(error.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_a_lost_connection_but_blank_lines_are_no_silence() {
        let started = tokio::time::Instant::now();
        let frames = futures::stream::unfold(0, |sent| async move {
            if sent == 9 {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(crate::limits::HTTP_HEARTBEAT).await;
            Some((
                Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"\n"))),
                sent + 1,
            ))
        });
        let mut lines = Lines::new(StreamBody::new(Box::pin(frames)));
        assert!(!lines.kept_alive());
        let error = lines.next().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the connection broke: nothing was heard for 60 s"
        );
        assert!(lines.kept_alive());
        assert_eq!(started.elapsed(), 9 * crate::limits::HTTP_HEARTBEAT + SILENCE);
    }

    #[tokio::test]
    async fn half_a_line_is_not_taken_for_a_whole_one() {
        let (values, error) = read(&["1\n", "23"]).await;
        assert_eq!(values, [serde_json::json!(1)]);
        assert!(matches!(error, Some(LinesError::Broken(_))));
        assert!(matches!(read(&["{\n"]).await.1, Some(LinesError::Bad(_))));
    }
}
