//! Short ways to read what a handler is asked.

use bytes::Bytes;
use serde::Deserialize;

use super::{Create, LogRequest, LogSink};
use crate::{
    limits,
    wire::{LogChunk, LogPosition, LogsEnd, Status},
};

/// The part of a container's spec that nearly every plugin needs; the rest is in [`Create::payload`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its image; may be empty.
    #[serde(default)]
    pub image: String,
    /// Its command; empty means that of the image.
    #[serde(default)]
    pub command: Vec<String>,
    /// The arguments of the command.
    #[serde(default)]
    pub args: Vec<String>,
}

impl Container {
    /// Its command with its arguments as a process of this machine that is killed when it is dropped.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when it has no command: then only an image runtime could tell it.
    pub fn process(&self) -> Result<tokio::process::Command, Status> {
        let Some((program, words)) = self.command.split_first() else {
            let text = format!(
                "container {:?} has no command, and this plugin runs no images",
                self.name
            );
            return Err(Status::bad_pod(text));
        };
        let mut process = tokio::process::Command::new(program);
        process.args(words).args(&self.args).kill_on_drop(true);
        Ok(process)
    }
}

impl Create {
    /// The main containers of the pod, at least one.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when there is none, or one is not as Kubernetes has them. Nothing of it is quoted.
    pub fn containers(&self) -> Result<Vec<Container>, Status> {
        #[derive(Deserialize)]
        struct Retrieved {
            pod: Pod,
        }
        #[derive(Deserialize)]
        struct Pod {
            spec: Spec,
        }
        #[derive(Deserialize)]
        struct Spec {
            containers: Vec<Container>,
        }
        match serde_json::from_slice::<Retrieved>(&self.payload) {
            Ok(body) if body.pod.spec.containers.is_empty() => {
                Err(Status::bad_pod("the pod has no container"))
            }
            Ok(body) => Ok(body.pod.spec.containers),
            Err(error) => Err(Status::bad_pod(format!(
                "pod.spec.containers cannot be read: line {} column {}",
                error.line(),
                error.column()
            ))),
        }
    }
}

impl LogRequest {
    /// Answers with a log that is there as a whole, as `epoch` 1: from `start` or the asked-for tail on, up to the
    /// asked-for number of bytes. It knows no times, so `since_time` and `timestamps` have no effect, and it does
    /// not follow.
    ///
    /// # Errors
    /// CANCELLED when the reader has gone.
    pub async fn answer(self, log: impl Into<Bytes> + Send, mut sink: LogSink) -> Result<LogsEnd, Status> {
        let log = log.into();
        let (from, to, reset) = self.range(&log);
        let eof = to == log.len();
        let mut rest = log.slice(from..to);
        let mut at = LogPosition {
            epoch: 1,
            offset: from as u64,
        };
        // The first chunk is sent even if it is empty: it acknowledges the open.
        let mut first = true;
        while first || !rest.is_empty() {
            let data = rest.split_to(rest.len().min(limits::LOG_CHUNK));
            let next = LogPosition {
                epoch: 1,
                offset: at.offset + data.len() as u64,
            };
            let reset = reset && first;
            let chunk = LogChunk {
                at: Some(at),
                next_offset: next.offset,
                data,
                reset,
                ..LogChunk::default()
            };
            sink.send(chunk).await?;
            (at, first) = (next, false);
        }
        Ok(LogsEnd {
            next: Some(at),
            eof,
            reset,
        })
    }

    /// Which bytes of a whole log are asked for, and whether `start` could not be honoured.
    fn range(&self, log: &[u8]) -> (usize, usize, bool) {
        let offset = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        let (from, reset) = match &self.start {
            Some(start) if start.epoch == 1 && offset(start.offset) <= log.len() => {
                (offset(start.offset), false)
            }
            // Position 0 of a log that had not begun.
            Some(start) => (0, start.epoch != 0),
            None => (self.options.tail.map_or(0, |lines| tail(log, lines)), false),
        };
        let limit = self.options.limit_bytes.map_or(usize::MAX, offset);
        (from, from.saturating_add(limit).min(log.len()), reset)
    }
}

/// Where the last `lines` lines begin; a last line without an end counts.
fn tail(log: &[u8], lines: u64) -> usize {
    let Some(lines) = usize::try_from(lines).ok().filter(|&lines| lines > 0) else {
        return if lines == 0 { log.len() } else { 0 };
    };
    let body = log.strip_suffix(b"\n").unwrap_or(log);
    let newlines = body.iter().enumerate().rev().filter(|&(_, &byte)| byte == b'\n');
    newlines.map(|(at, _)| at + 1).nth(lines - 1).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::wire::{LogOptions, PodRef};

    fn range(
        log: &str,
        start: Option<(u64, u64)>,
        tail: Option<u64>,
        limit_bytes: Option<u64>,
    ) -> (String, bool) {
        let request = LogRequest {
            pod: PodRef::default(),
            container: String::new(),
            options: LogOptions {
                tail,
                limit_bytes,
                ..LogOptions::default()
            },
            start: start.map(|(epoch, offset)| LogPosition { epoch, offset }),
        };
        let (from, to, reset) = request.range(log.as_bytes());
        (log[from..to].to_owned(), reset)
    }

    #[test]
    fn a_whole_log_is_cut_as_kubectl_asks() {
        let log = "a\nb\nc";
        let cut = |start, tail, limit| range(log, start, tail, limit);
        assert_eq!(cut(None, None, None), (log.to_owned(), false));
        assert_eq!(cut(None, Some(0), None).0, "");
        assert_eq!(cut(None, Some(1), None).0, "c");
        assert_eq!(cut(None, Some(2), Some(3)).0, "b\nc");
        assert_eq!(cut(None, Some(u64::MAX), Some(1)).0, "a");
        assert_eq!(range("a\nb\n", None, Some(1), None).0, "b\n");
        assert_eq!(range("", None, Some(1), None).0, "");
    }

    #[test]
    fn a_start_wins_over_a_tail_and_one_that_is_gone_begins_anew() {
        assert_eq!(range("abc", Some((1, 2)), Some(0), None), ("c".to_owned(), false));
        assert_eq!(range("abc", Some((1, 4)), None, None), ("abc".to_owned(), true));
        assert_eq!(range("abc", Some((2, 0)), None, None), ("abc".to_owned(), true));
        assert_eq!(range("abc", Some((0, 0)), None, None), ("abc".to_owned(), false));
    }

    #[test]
    fn containers_are_read_and_nothing_of_a_bad_pod_is_quoted() {
        let create = |payload: &'static str| Create {
            pod: PodRef::default(),
            payload: Bytes::from_static(payload.as_bytes()),
            attempt: 1,
            metadata: Default::default(),
            resumed: false,
        };
        let good = create(r#"{"pod":{"spec":{"containers":[{"name":"a","command":["sh"],"args":["-c"]}]}}}"#);
        let containers = good.containers().unwrap();
        assert_eq!(containers[0].command, ["sh"]);
        assert!(containers[0].process().is_ok());
        for bad in [
            r#"{"pod":{"spec":{"containers":[]}}}"#,
            r#"{"pod":"hunter2"}"#,
            r#"{"po"#,
        ] {
            let status = create(bad).containers().unwrap_err();
            assert_eq!(status.reason, "BAD_POD");
            assert!(!status.message.contains("hunter2"));
        }
    }
}
