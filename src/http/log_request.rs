//! The body of `/getLogs`: kubectl's options as the virtual kubelet spells them. Go writes zero values for what
//! is not set, and null for nil.

use std::time::SystemTime;

use serde::{Deserialize, Deserializer};

use super::answer::Refusal;
use crate::{
    hub::{CallMeta, LogQuery},
    wire::{LogOptions, PodRef, Timestamp},
};

/// Go's zero time: no time.
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// interLink's LogStruct.
#[derive(Debug, Deserialize)]
pub(super) struct LogRequest {
    #[serde(rename = "Namespace")]
    namespace: String,
    #[serde(rename = "PodUID")]
    uid: String,
    #[serde(rename = "PodName", default, deserialize_with = "nullable")]
    name: String,
    #[serde(rename = "ContainerName", default, deserialize_with = "nullable")]
    container: String,
    #[serde(rename = "Opts", default, deserialize_with = "nullable")]
    options: Options,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Options {
    #[serde(deserialize_with = "nullable")]
    tail: i64,
    #[serde(deserialize_with = "nullable")]
    bytes: i64,
    #[serde(deserialize_with = "nullable")]
    timestamps: bool,
    #[serde(deserialize_with = "nullable")]
    follow: bool,
    #[serde(deserialize_with = "nullable")]
    previous: bool,
    #[serde(deserialize_with = "nullable")]
    since_seconds: i64,
    #[serde(deserialize_with = "nullable")]
    since_time: String,
}

fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl LogRequest {
    /// Checks the request and turns it into the hub's words; a span of seconds becomes a time now, so that a
    /// reopened stream means the same.
    pub(super) fn query(self, meta: CallMeta, now: SystemTime) -> Result<LogQuery, Refusal> {
        if !is_label(&self.namespace) {
            return Err(Refusal::invalid("invalid namespace: must be a DNS label"));
        }
        if !is_uid(&self.uid) {
            return Err(Refusal::invalid("invalid pod UID: must be a valid UUID"));
        }
        if !self.container.is_empty() && !is_label(&self.container) {
            return Err(Refusal::invalid("invalid container name: must be a DNS label"));
        }
        if !self.name.is_empty() && (self.name.len() > 253 || !self.name.split('.').all(is_label)) {
            return Err(Refusal::invalid("invalid pod name: must be a DNS subdomain"));
        }
        Ok(LogQuery {
            pod: PodRef::new(self.uid, self.namespace, self.name),
            container: self.container,
            options: self.options.checked(now)?,
            start: None,
            meta,
        })
    }
}

impl Options {
    fn checked(self, now: SystemTime) -> Result<LogOptions, Refusal> {
        let tail = unsigned("Tail", self.tail)?;
        let limit_bytes = unsigned("Bytes", self.bytes)?;
        let since_seconds = unsigned("SinceSeconds", self.since_seconds)?;
        let since_time = match self.since_time.as_str() {
            "" | ZERO_TIME => None,
            text => Some(
                text.parse::<Timestamp>()
                    .map_err(|_| Refusal::invalid("invalid SinceTime: must be an RFC 3339 time"))?,
            ),
        };
        if tail.is_some() && limit_bytes.is_some() {
            return Err(Refusal::invalid(
                "Both Tail and LimitBytes set. Set only one of them",
            ));
        }
        if since_seconds.is_some() && since_time.is_some() {
            return Err(Refusal::invalid(
                "Both SinceSeconds and SinceTime set. Set only one of them",
            ));
        }
        let since_time = match since_seconds {
            Some(seconds) => Some(seconds_before(now, seconds)),
            None => since_time,
        };
        Ok(LogOptions {
            tail,
            limit_bytes,
            timestamps: self.timestamps,
            follow: self.follow,
            previous: self.previous,
            since_time,
        })
    }
}

/// Zero is Go's "not set".
fn unsigned(name: &str, number: i64) -> Result<Option<u64>, Refusal> {
    let number = u64::try_from(number)
        .map_err(|_| Refusal::invalid(format!("invalid {name}: must not be negative")))?;
    Ok((number > 0).then_some(number))
}

/// A time so many seconds ago; the epoch when that is before it.
pub(super) fn seconds_before(now: SystemTime, seconds: u64) -> Timestamp {
    let then = now.checked_sub(std::time::Duration::from_secs(seconds));
    Timestamp::from(then.unwrap_or(SystemTime::UNIX_EPOCH))
}

/// An RFC 1123 label of at most 63 characters.
fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// A lower-case UUID of 36 characters.
pub(super) fn is_uid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    const UID: &str = "11718a45-258a-44e8-8feb-695057429fb5";

    fn ask(change: impl FnOnce(&mut Value)) -> Result<LogQuery, Refusal> {
        let mut body = json!({
            "Namespace": "vk", "PodUID": UID, "PodName": "a-pod", "ContainerName": "",
            "Opts": {"Tail": 0, "Bytes": 0, "Timestamps": false, "Follow": false, "Previous": false,
                "SinceSeconds": 0, "SinceTime": ZERO_TIME},
        });
        change(&mut body);
        let request: LogRequest = serde_json::from_value(body).unwrap();
        request.query(
            CallMeta::default(),
            SystemTime::UNIX_EPOCH + Duration::from_secs(1000),
        )
    }

    #[test]
    fn zero_values_mean_not_set() {
        assert_eq!(ask(|_| ()).unwrap().options, LogOptions::default());
        assert_eq!(
            ask(|body| body["Opts"] = Value::Null).unwrap().options,
            LogOptions::default()
        );
        assert_eq!(
            ask(|body| body["Opts"]["SinceTime"] = Value::Null)
                .unwrap()
                .options,
            LogOptions::default()
        );
    }

    #[test]
    fn a_span_of_seconds_becomes_a_time() {
        let query = ask(|body| body["Opts"]["SinceSeconds"] = json!(400)).unwrap();
        assert_eq!(query.options.since_time.unwrap().seconds, 600);
        let query = ask(|body| body["Opts"]["SinceSeconds"] = json!(i64::MAX)).unwrap();
        assert!(query.options.since_time.is_some());
    }

    #[test]
    fn what_cannot_be_right_is_named() {
        let said = |change: fn(&mut Value)| ask(change).unwrap_err().status.message;
        assert_eq!(
            said(|body| body["PodUID"] = json!("../../etc/passwd")),
            "invalid pod UID: must be a valid UUID"
        );
        assert_eq!(
            said(|body| body["Opts"] = json!({"Tail": 1, "Bytes": 2})),
            "Both Tail and LimitBytes set. Set only one of them"
        );
        assert!(
            said(|body| body["Opts"] = json!({"SinceSeconds": 1, "SinceTime": "2026-01-01T00:00:00Z"}))
                .starts_with("Both SinceSeconds and SinceTime set")
        );
        assert!(said(|body| body["Opts"]["Tail"] = json!(-1)).contains("Tail"));
        assert!(said(|body| body["Namespace"] = json!("a/b")).contains("namespace"));
        assert!(said(|body| body["ContainerName"] = json!("..")).contains("container"));
    }
}
