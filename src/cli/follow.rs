//! Reading a container's log over the hub's API, over lost connections and restarts of the hub.
//!
//! Every piece comes with its position; after a loss the next request starts where the last whole piece ended, so no
//! byte is lost and none comes twice.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::Value;

use super::{
    client::{Client, ClientError, LinesError, Query, pod_path},
    delay::Delay,
};

/// kubectl's options.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogOptions {
    /// Container; the hub chooses when absent.
    pub(crate) container: Option<String>,
    /// Go on while the container runs.
    pub(crate) follow: bool,
    /// Only the last lines.
    pub(crate) tail: Option<u64>,
    /// Only newer than so many seconds.
    pub(crate) since_seconds: Option<u64>,
    /// Only newer than this time, RFC 3339.
    pub(crate) since_time: Option<String>,
    /// The time before each line.
    pub(crate) timestamps: bool,
    /// At most so many bytes.
    pub(crate) limit_bytes: Option<u64>,
    /// The run before.
    pub(crate) previous: bool,
}

/// Who gets a log: its bytes, and what there is to say about it.
pub(crate) trait Reader {
    /// Takes bytes; an error ends the reading.
    fn bytes(&mut self, bytes: &[u8]) -> std::io::Result<()>;
    /// Something for people.
    fn say(&mut self, text: &str);
}

/// Why a log could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowError {
    /// The hub refused, or stayed away too long.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The reader takes no more.
    #[error("cannot write the log")]
    Reader(#[from] std::io::Error),
    /// The answer makes no sense.
    #[error("the hub's answer cannot be understood: {0}")]
    Answer(String),
}

/// A piece of a log.
#[derive(Debug, Deserialize)]
struct Piece {
    epoch: u64,
    next_offset: u64,
    #[serde(default)]
    gap_bytes: u64,
    data_b64: String,
}

/// How a stream ended.
#[derive(Debug, Deserialize)]
struct End {
    epoch: u64,
    offset: u64,
    eof: bool,
    #[serde(default)]
    reset: bool,
}

/// Where the reading stands.
#[derive(Debug, Default)]
struct Progress {
    /// Epoch and offset of the next byte, once one is known.
    position: Option<(u64, u64)>,
    delivered: u64,
}

impl Progress {
    fn query(&self, options: &LogOptions) -> Query {
        let query = Query::default()
            .with("positions", true)
            .maybe("container", options.container.as_ref())
            .maybe("follow", options.follow.then_some(true))
            .maybe("timestamps", options.timestamps.then_some(true))
            .maybe(
                "limit_bytes",
                options
                    .limit_bytes
                    .map(|limit| limit.saturating_sub(self.delivered)),
            );
        match self.position {
            Some((epoch, offset)) => query.with("position", format!("{epoch}:{offset}")),
            None => query
                .maybe("tail", options.tail)
                .maybe("since_seconds", options.since_seconds)
                .maybe("since_time", options.since_time.as_ref())
                .maybe("previous", options.previous.then_some(true)),
        }
    }

    /// Takes one line of the answer.
    fn take(
        &mut self,
        line: Value,
        options: &LogOptions,
        reader: &mut impl Reader,
    ) -> Result<Step, FollowError> {
        let answer = |error: serde_json::Error| FollowError::Answer(error.to_string());
        if let Some(error) = line.get("error") {
            let message = error["message"]
                .as_str()
                .unwrap_or("the log broke off")
                .to_owned();
            let passing = matches!(
                error["code"].as_str(),
                Some("UNAVAILABLE" | "DEADLINE_EXCEEDED" | "CANCELLED")
            );
            let reason = error["reason"].as_str().unwrap_or_default().to_owned();
            return Ok(Step::Broken(ClientError::Refused {
                http: if passing { 503 } else { 500 },
                reason,
                message,
            }));
        }
        if let Some(end) = line.get("end") {
            let end = End::deserialize(end).map_err(answer)?;
            if end.reset {
                reader.say(
                    "the log could not be continued where it was: the container was restarted meanwhile",
                );
            }
            self.position = Some((end.epoch, end.offset));
            return Ok(Step::End { eof: end.eof });
        }
        let piece = Piece::deserialize(&line).map_err(answer)?;
        // Before the first byte, the epoch is that of a run that had not begun.
        if self.delivered > 0 && self.position.is_some_and(|(epoch, _)| epoch != piece.epoch) {
            reader.say("the container was restarted: its new log follows");
        }
        if piece.gap_bytes > 0 {
            reader.say(&format!(
                "{} bytes are missing here: they were rotated away",
                piece.gap_bytes
            ));
        }
        let data = STANDARD
            .decode(&piece.data_b64)
            .map_err(|error| FollowError::Answer(error.to_string()))?;
        reader.bytes(&data)?;
        self.position = Some((piece.epoch, piece.next_offset));
        self.delivered += data.len() as u64;
        Ok(
            if options.limit_bytes.is_some_and(|limit| self.delivered >= limit) {
                Step::End { eof: true }
            } else {
                Step::Went
            },
        )
    }
}

/// What one line meant.
#[derive(Debug)]
enum Step {
    Went,
    End { eof: bool },
    Broken(ClientError),
}

/// Reads a log to its end: of what there is, or with `follow` of the container.
///
/// # Errors
/// When the hub refuses, or stays away for longer than [`Delay`] allows.
pub(crate) async fn read(
    client: &Client,
    namespace: &str,
    pod: &str,
    options: &LogOptions,
    reader: &mut impl Reader,
) -> Result<(), FollowError> {
    let path = format!("{}/log", pod_path(namespace, pod));
    let mut progress = Progress::default();
    let mut delay = Delay::new();
    loop {
        let before = progress.position;
        let mut kept_alive = false;
        let broken = match client.lines(&path, &progress.query(options)).await {
            Ok(mut lines) => loop {
                let next = lines.next().await;
                kept_alive = lines.kept_alive();
                match next {
                    Ok(Some(line)) => match progress.take(line, options, reader)? {
                        Step::Went => {}
                        Step::End { .. } if !options.follow => return Ok(()),
                        Step::End { eof: true } => return Ok(()),
                        Step::End { eof: false } => break None,
                        Step::Broken(error) => break Some(error),
                    },
                    Ok(None) => break Some(client.lost("the answer ended before the log did")),
                    Err(LinesError::Broken(why)) => break Some(client.lost(why)),
                    Err(LinesError::Bad(why)) => return Err(FollowError::Answer(why)),
                }
            },
            Err(error) => Some(error),
        };
        // A connection that was good starts the patience anew, also when a quiet log brought nothing over it.
        if progress.position != before || kept_alive {
            delay = Delay::new();
        }
        if !delay.goes_on() && broken.is_none() {
            return Ok(());
        }
        if let Some(error) = broken {
            // A restarted hub knows no pod until its plugins are back.
            let passing = error.is_passing() || (error.is_not_found() && delay.is_early());
            if progress.position.is_none() || !passing || !delay.goes_on() {
                return Err(error.into());
            }
            if delay.is_first() {
                reader.say(&format!("{error}; trying to go on"));
            }
        }
        delay.wait().await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[derive(Default)]
    struct Kept {
        bytes: Vec<u8>,
        said: Vec<String>,
    }

    impl Reader for Kept {
        fn bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
            self.bytes.extend_from_slice(bytes);
            Ok(())
        }
        fn say(&mut self, text: &str) {
            self.said.push(text.to_owned());
        }
    }

    fn piece(epoch: u64, offset: u64, text: &str) -> Value {
        json!({"epoch": epoch, "offset": offset, "next_offset": offset + text.len() as u64, "gap_bytes": 0,
            "data_b64": STANDARD.encode(text)})
    }

    #[test]
    fn the_next_request_starts_where_the_last_whole_piece_ended() {
        let options = LogOptions {
            follow: true,
            tail: Some(3),
            limit_bytes: Some(10),
            container: Some("c".into()),
            ..Default::default()
        };
        let (mut progress, mut kept) = (Progress::default(), Kept::default());
        let first = progress.query(&options).to_string();
        assert_eq!(
            first,
            "?positions=true&container=c&follow=true&limit_bytes=10&tail=3"
        );
        assert!(matches!(
            progress
                .take(piece(7, 100, "abc\n"), &options, &mut kept)
                .unwrap(),
            Step::Went
        ));
        assert_eq!(
            progress.query(&options).to_string(),
            "?positions=true&container=c&follow=true&limit_bytes=6&position=7%3A104"
        );
        assert!(matches!(
            progress
                .take(piece(7, 104, "defghi"), &options, &mut kept)
                .unwrap(),
            Step::End { eof: true }
        ));
        assert_eq!(kept.bytes, b"abc\ndefghi");
        assert!(kept.said.is_empty());
    }

    #[test]
    fn gaps_and_restarts_are_told_and_never_papered_over() {
        let (mut progress, mut kept) = (Progress::default(), Kept::default());
        let options = LogOptions::default();
        progress.take(piece(1, 0, "a"), &options, &mut kept).unwrap();
        let mut late = piece(2, 50, "b");
        late["gap_bytes"] = json!(50);
        progress.take(late, &options, &mut kept).unwrap();
        assert_eq!(kept.said.len(), 2);
        assert!(kept.said[1].starts_with("50 bytes are missing"));
    }

    #[test]
    fn how_it_ended_decides_what_comes_next() {
        let (mut progress, mut kept) = (Progress::default(), Kept::default());
        let mut take = |line| progress.take(line, &LogOptions::default(), &mut kept).unwrap();
        let end = |eof| json!({"end": {"epoch": 1, "offset": 5, "eof": eof, "reset": false}});
        assert!(matches!(take(end(true)), Step::End { eof: true }));
        assert!(matches!(take(end(false)), Step::End { eof: false }));
        let error = |code| json!({"error": {"code": code, "reason": "", "message": "m"}});
        assert!(matches!(take(error("UNAVAILABLE")), Step::Broken(error) if error.is_passing()));
        assert!(matches!(take(error("DATA_LOSS")), Step::Broken(error) if !error.is_passing()));
    }
}
