//! Log requests of the virtual kubelet.

use serde::{Deserialize, Serialize};

use super::{Body, is_label, is_uid, lenient, parse_time};
use crate::wire::{LogOptions, PodRef, Timestamp};

/// GET /getLogs: whose log, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LogStruct {
    /// Namespace.
    #[serde(deserialize_with = "lenient::null")]
    pub namespace: String,
    /// Uid.
    #[serde(rename = "PodUID", deserialize_with = "lenient::null")]
    pub pod_uid: String,
    /// Name.
    #[serde(deserialize_with = "lenient::null")]
    pub pod_name: String,
    /// Container; empty for the only one, or the first.
    #[serde(deserialize_with = "lenient::null")]
    pub container_name: String,
    /// How.
    #[serde(deserialize_with = "lenient::null")]
    pub opts: LogOpts,
}

/// How to read a log. Zero means not asked for, everywhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LogOpts {
    /// Lines from the end.
    #[serde(deserialize_with = "lenient::null")]
    pub tail: i64,
    /// Bytes at most; `LimitBytes` elsewhere.
    #[serde(rename = "Bytes", deserialize_with = "lenient::null")]
    pub limit_bytes: i64,
    /// A time before every line.
    #[serde(deserialize_with = "lenient::null")]
    pub timestamps: bool,
    /// Go on as the log grows.
    #[serde(deserialize_with = "lenient::null")]
    pub follow: bool,
    /// The run before.
    #[serde(deserialize_with = "lenient::null")]
    pub previous: bool,
    /// Not older than this.
    #[serde(deserialize_with = "lenient::null")]
    pub since_seconds: i64,
    /// Not before this, RFC 3339; Go's zero time and empty mean not asked for.
    #[serde(deserialize_with = "lenient::null")]
    pub since_time: String,
}

/// Why a log request is refused. The first five texts are interLink's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadLogs {
    /// Not a DNS label.
    #[error("invalid namespace: must be a valid DNS label")]
    Namespace,
    /// Not a lower-case UUID.
    #[error("invalid pod UID: must be a valid UUID")]
    PodUid,
    /// Not a DNS label.
    #[error("invalid container name: must be a valid DNS label")]
    ContainerName,
    /// Both were asked for.
    #[error("Both Tail and LimitBytes set. Set only one of them")]
    TailAndLimit,
    /// Both were asked for.
    #[error("Both SinceSeconds and SinceTime set. Set only one of them")]
    TwoSince,
    /// A count is negative.
    #[error("invalid {0}: must not be negative")]
    Negative(&'static str),
    /// Not a time.
    #[error("invalid SinceTime: must be RFC 3339, for example 2026-01-02T15:04:05Z")]
    SinceTime,
}

impl Body for LogStruct {}

impl LogStruct {
    /// Checks names and options.
    ///
    /// # Errors
    /// The first thing that is wrong, in interLink's order.
    pub fn validate(&self) -> Result<(), BadLogs> {
        if !is_label(&self.namespace) {
            return Err(BadLogs::Namespace);
        }
        if !is_uid(&self.pod_uid) {
            return Err(BadLogs::PodUid);
        }
        if !self.container_name.is_empty() && !is_label(&self.container_name) {
            return Err(BadLogs::ContainerName);
        }
        self.opts.validate()
    }

    /// Whose log.
    pub fn pod_ref(&self) -> PodRef {
        PodRef::new(&self.pod_uid, &self.namespace, &self.pod_name)
    }

    /// The options as they travel on the link; `now` turns SinceSeconds into a time.
    ///
    /// # Errors
    /// As [`LogStruct::validate`], which is made first.
    pub fn to_options(&self, now: Timestamp) -> Result<LogOptions, BadLogs> {
        self.validate()?;
        Ok(self.opts.to_options(now))
    }
}

impl LogOpts {
    /// Checks the options alone.
    ///
    /// # Errors
    /// The first thing that is wrong, in interLink's order.
    pub fn validate(&self) -> Result<(), BadLogs> {
        let since = self.since()?;
        if self.tail != 0 && self.limit_bytes != 0 {
            return Err(BadLogs::TailAndLimit);
        }
        if self.since_seconds != 0 && since.is_some() {
            return Err(BadLogs::TwoSince);
        }
        let counts = [
            ("Tail", self.tail),
            ("Bytes", self.limit_bytes),
            ("SinceSeconds", self.since_seconds),
        ];
        match counts.iter().find(|(_, count)| *count < 0) {
            Some((name, _)) => Err(BadLogs::Negative(name)),
            None => Ok(()),
        }
    }

    /// SinceTime, if it was asked for.
    fn since(&self) -> Result<Option<Timestamp>, BadLogs> {
        match (self.since_time.as_str(), parse_time(&self.since_time)) {
            (_, Some(time)) => Ok(Some(time)),
            (text, None) if text.is_empty() || text.starts_with("0001-01-01T00:00:00") => Ok(None),
            _ => Err(BadLogs::SinceTime),
        }
    }

    fn to_options(&self, now: Timestamp) -> LogOptions {
        let asked = |count: i64| u64::try_from(count).ok().filter(|count| *count > 0);
        let since_seconds = (self.since_seconds > 0).then(|| Timestamp {
            seconds: now.seconds.saturating_sub(self.since_seconds),
            nanos: now.nanos,
        });
        LogOptions {
            tail: asked(self.tail),
            limit_bytes: asked(self.limit_bytes),
            timestamps: self.timestamps,
            follow: self.follow,
            previous: self.previous,
            since_time: since_seconds.or_else(|| self.since().ok().flatten()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;
    use crate::interlink::parse;

    const NOW: Timestamp = Timestamp {
        seconds: 1_000_000,
        nanos: 7,
    };

    fn body(opts: Value) -> LogStruct {
        let mut body: Value =
            serde_json::from_slice(include_bytes!("../../tests/payloads/logs.json")).unwrap();
        for (key, value) in opts.as_object().unwrap() {
            if body.get(key).is_some() {
                body[key] = value.clone();
            } else {
                body["Opts"][key] = value.clone();
            }
        }
        parse(&serde_json::to_vec(&body).unwrap()).unwrap()
    }

    #[test]
    fn zeros_mean_not_asked_for() {
        assert_eq!(body(json!({})).to_options(NOW), Ok(LogOptions::default()));
    }

    #[test]
    fn what_was_asked_for_is_passed_on() {
        let options = body(json!({"Tail": 100, "Follow": true, "Timestamps": true, "SinceSeconds": 60}));
        let options = options.to_options(NOW).unwrap();
        assert_eq!(options.tail, Some(100));
        assert!(options.follow && options.timestamps && !options.previous);
        assert_eq!(
            options.since_time,
            Some(Timestamp {
                seconds: 999_940,
                nanos: 7
            })
        );
    }

    #[test]
    fn each_refusal_has_interlinks_text() {
        let cases = [
            (
                json!({"Namespace": "a.b"}),
                "invalid namespace: must be a valid DNS label",
            ),
            (
                json!({"PodUID": "../../etc/passwd"}),
                "invalid pod UID: must be a valid UUID",
            ),
            (
                json!({"ContainerName": "a/b"}),
                "invalid container name: must be a valid DNS label",
            ),
            (
                json!({"Tail": 1, "Bytes": 1}),
                "Both Tail and LimitBytes set. Set only one of them",
            ),
            (
                json!({"SinceSeconds": 1, "SinceTime": "2026-01-01T00:00:00Z"}),
                "Both SinceSeconds and SinceTime set. Set only one of them",
            ),
            (json!({"Tail": -1}), "invalid Tail: must not be negative"),
        ];
        for (change, text) in cases {
            assert_eq!(body(change).to_options(NOW).unwrap_err().to_string(), text);
        }
        assert_eq!(
            body(json!({"SinceTime": "noon"})).validate(),
            Err(BadLogs::SinceTime)
        );
    }

    #[test]
    fn a_container_may_be_left_open() {
        assert_eq!(body(json!({"ContainerName": ""})).validate(), Ok(()));
    }

    #[test]
    fn a_since_beyond_all_time_does_not_panic() {
        assert!(body(json!({"SinceSeconds": i64::MAX})).to_options(NOW).is_ok());
    }
}
