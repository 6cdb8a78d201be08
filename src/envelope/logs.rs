//! Log streams: opening, chunks.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::read::{Bad, null, time};
use crate::{
    interlink::format_time,
    wire::{LogChunk, LogOptions, LogPosition, PodRef, StreamLogs},
};

#[derive(Serialize)]
pub(super) struct OpenOut<'a> {
    pod: Option<&'a PodRef>,
    container: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<OptionsOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<LogPosition>,
    credit: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<&'a str, &'a str>,
    timeout_ms: u64,
}

#[derive(Serialize)]
struct OptionsOut {
    #[serde(skip_serializing_if = "Option::is_none")]
    tail: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_bytes: Option<u64>,
    timestamps: bool,
    follow: bool,
    previous: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    since_time: Option<String>,
}

impl<'a> From<&'a StreamLogs> for OpenOut<'a> {
    fn from(open: &'a StreamLogs) -> Self {
        let options = open.options.as_ref().map(|options| OptionsOut {
            tail: options.tail,
            limit_bytes: options.limit_bytes,
            timestamps: options.timestamps,
            follow: options.follow,
            previous: options.previous,
            since_time: options.since_time.as_ref().map(format_time),
        });
        Self {
            pod: open.pod.as_ref(),
            container: &open.container,
            options,
            start: open.start,
            credit: open.credit,
            metadata: (open.metadata.iter())
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .collect(),
            timeout_ms: open.timeout_ms,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct OpenIn {
    pod: Option<PodRef>,
    #[serde(default, deserialize_with = "null")]
    container: String,
    options: Option<OptionsIn>,
    start: Option<LogPosition>,
    #[serde(default, deserialize_with = "null")]
    credit: u64,
    #[serde(default, deserialize_with = "null")]
    metadata: HashMap<String, String>,
    #[serde(default, deserialize_with = "null")]
    timeout_ms: u64,
}

#[derive(Deserialize)]
struct OptionsIn {
    tail: Option<u64>,
    limit_bytes: Option<u64>,
    #[serde(default, deserialize_with = "null")]
    timestamps: bool,
    #[serde(default, deserialize_with = "null")]
    follow: bool,
    #[serde(default, deserialize_with = "null")]
    previous: bool,
    since_time: Option<String>,
}

impl OpenIn {
    pub(super) fn into_open(self) -> Result<StreamLogs, Bad> {
        let options = match self.options {
            None => None,
            Some(read) => Some(LogOptions {
                tail: read.tail,
                limit_bytes: read.limit_bytes,
                timestamps: read.timestamps,
                follow: read.follow,
                previous: read.previous,
                since_time: time(read.since_time.as_deref(), "options.since_time")?,
            }),
        };
        let lower = |(key, value): (String, String)| (key.to_ascii_lowercase(), value);
        Ok(StreamLogs {
            pod: self.pod,
            container: self.container,
            options,
            start: self.start,
            credit: self.credit,
            metadata: self.metadata.into_iter().map(lower).collect(),
            timeout_ms: self.timeout_ms,
        })
    }
}

#[derive(Serialize)]
pub(super) struct ChunkOut<'a> {
    epoch: u64,
    offset: u64,
    next_offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_b64: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "is_zero")]
    gap_bytes: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    reset: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl<'a> From<&'a LogChunk> for ChunkOut<'a> {
    fn from(chunk: &'a LogChunk) -> Self {
        let at = chunk.at.unwrap_or_default();
        let data = readable(&chunk.data);
        Self {
            epoch: at.epoch,
            offset: at.offset,
            next_offset: chunk.next_offset,
            data,
            data_b64: data.is_none().then(|| STANDARD.encode(&chunk.data).into()),
            gap_bytes: chunk.gap_bytes,
            reset: chunk.reset,
        }
    }
}

/// The bytes as text: when they are, and when it does not take more room than base64 (a control character is
/// written with six, so a largest chunk of them would be over the least message limit).
fn readable(data: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(data).ok()?;
    let extra = |byte: &u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 1,
        0..0x20 => 5,
        _ => 0,
    };
    let extra: usize = data.iter().map(extra).sum();
    // Short pieces stay readable, whatever they hold.
    (extra <= data.len() / 3 || data.len() <= 4 << 10).then_some(text)
}

#[derive(Deserialize)]
pub(super) struct ChunkIn {
    epoch: u64,
    offset: u64,
    next_offset: Option<u64>,
    data: Option<String>,
    data_b64: Option<String>,
    #[serde(default, deserialize_with = "null")]
    gap_bytes: u64,
    #[serde(default, deserialize_with = "null")]
    reset: bool,
}

impl ChunkIn {
    pub(super) fn into_chunk(self) -> Result<LogChunk, Bad> {
        let data = match (self.data, self.data_b64) {
            (Some(_), Some(_)) => return Err(Bad::at("data_b64", "one of data and data_b64, not both")),
            (Some(text), None) => Bytes::from(text),
            (None, Some(text)) => match STANDARD.decode(text) {
                Ok(bytes) => Bytes::from(bytes),
                Err(_) => return Err(Bad::at("data_b64", "not base64 (RFC 4648, with padding)")),
            },
            (None, None) => Bytes::new(),
        };
        let behind = self.offset.saturating_add(data.len() as u64);
        Ok(LogChunk {
            at: Some(LogPosition {
                epoch: self.epoch,
                offset: self.offset,
            }),
            next_offset: self.next_offset.unwrap_or(behind),
            data,
            gap_bytes: self.gap_bytes,
            reset: self.reset,
        })
    }
}
