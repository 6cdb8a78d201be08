//! One figure of `towline bench codec`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bench::Row;

/// One frame in one form, or packets of one kind of log at one level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CodecRow {
    /// The frame, or the log and the size of its messages.
    pub load: String,
    /// The form, or the level.
    pub peer: String,
    /// `encode`, `decode`, `compress`, `inflate`.
    pub op: String,
    /// Size on the wire in bytes; of a compressed packet the mean.
    pub bytes: f64,
    /// CPU time of one, in nanoseconds: the median of the rounds.
    pub cpu_ns: f64,
    /// The lowest and the highest round.
    pub cpu_ns_spread: [f64; 2],
    /// CPU time a byte of payload, in nanoseconds; of a log before compression.
    pub cpu_ns_per_byte: f64,
    /// Payload in MB that a second of CPU time is enough for.
    pub mb_per_s: f64,
    /// What compression makes of it: plain bytes to those on the wire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression_ratio: Option<f64>,
    /// On a line that carries fewer MB a second than this, compressing, sending and inflating takes less time than sending
    /// plain. None where nothing is saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pays_below_mb_per_s: Option<f64>,
    /// CPU time as a ratio to that of protobuf in the same rounds.
    #[serde(flatten)]
    pub ratios: BTreeMap<String, f64>,
}

/// The figures that both kinds of rows have.
pub(super) fn of(row: Row, payload: f64) -> CodecRow {
    let nanos = row.cpu_us * 1e3;
    CodecRow {
        load: row.load,
        peer: row.peer,
        op: String::new(),
        bytes: 0.0,
        cpu_ns: nanos,
        cpu_ns_spread: row.cpu_us_spread.map(|micros| micros * 1e3),
        cpu_ns_per_byte: nanos / payload,
        mb_per_s: payload * 1e3 / nanos,
        compression_ratio: None,
        pays_below_mb_per_s: None,
        ratios: row.ratios,
    }
}
