//! Log samples: what jobs write, made the same for every run.

use std::fmt::Write as _;

use anyhow::ensure;
use bytes::Bytes;

use crate::{
    limits,
    wire::{
        LogChunk, LogPosition, StreamId, codec::compress_packet, decode_packet, encode_frame, frame::Body,
    },
};

/// A kind of log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Lines with a time, a level, a module and words with numbers.
    Text,
    /// One JSON object a line.
    Json,
    /// Progress bars that overwrite themselves.
    Progress,
    /// What is compressed already: nothing can be saved.
    Random,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Text, Self::Json, Self::Progress, Self::Random];

    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text log",
            Self::Json => "JSON log",
            Self::Progress => "progress bars",
            Self::Random => "random bytes",
        }
    }

    /// So many bytes of it, always the same.
    pub fn bytes(self, size: usize) -> Vec<u8> {
        let mut rng = fastrand::Rng::with_seed(0x70_77_6c_6e);
        if self == Self::Random {
            return std::iter::repeat_with(|| rng.u8(..)).take(size).collect();
        }
        let mut text = String::with_capacity(size + 512);
        let mut millis = 0;
        while text.len() < size {
            millis += rng.u64(1..900);
            // Writing to a String cannot fail.
            let _ = match self {
                Self::Json => json_line(&mut text, &mut rng, millis),
                Self::Progress => progress(&mut text, &mut rng, millis),
                _ => text_line(&mut text, &mut rng, millis),
            };
        }
        let mut bytes = text.into_bytes();
        bytes.truncate(size);
        bytes
    }
}

const MODULES: [&str; 6] = [
    "trainer",
    "dataloader",
    "checkpoint",
    "comm.allreduce",
    "optimizer",
    "scheduler",
];
const LEVELS: [&str; 8] = ["INFO", "INFO", "INFO", "INFO", "DEBUG", "DEBUG", "WARN", "ERROR"];

fn clock(millis: u64) -> String {
    let (seconds, rest) = (millis / 1_000, millis % 1_000);
    format!(
        "2026-09-01T{:02}:{:02}:{:02}.{rest:03}Z",
        10 + seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60
    )
}

fn text_line(out: &mut String, rng: &mut fastrand::Rng, millis: u64) -> std::fmt::Result {
    let (level, module) = (
        LEVELS[rng.usize(..LEVELS.len())],
        MODULES[rng.usize(..MODULES.len())],
    );
    write!(out, "{} {level:<5} {module}: ", clock(millis))?;
    match rng.u8(..6) {
        0 => writeln!(
            out,
            "epoch {} step {}/20000 loss={:.5} lr={:.3e} grad_norm={:.4}",
            rng.u32(..40),
            rng.u32(..20_000),
            rng.f64() * 4.0,
            rng.f64() / 1_000.0,
            rng.f64() * 9.0
        ),
        1 => writeln!(
            out,
            "read {} samples in {} ms from /scratch/data/shard-{:05}.tar",
            rng.u32(..4_096),
            rng.u32(..700),
            rng.u32(..2_048)
        ),
        2 => writeln!(
            out,
            "rank {} waited {} us for {} bytes of node{:03}.cluster.example.org",
            rng.u32(..512),
            rng.u32(..90_000),
            rng.u32(..),
            rng.u32(..200)
        ),
        3 => writeln!(
            out,
            "saved /scratch/run-{:08x}/ckpt-{}.pt ({} MiB, sha256 {:016x}{:016x})",
            rng.u32(..),
            rng.u32(..99),
            rng.u32(..9_000),
            rng.u64(..),
            rng.u64(..)
        ),
        4 => writeln!(
            out,
            "request {:08x}-{:04x} took {} ms, {} retries, queue {}",
            rng.u32(..),
            rng.u16(..),
            rng.u32(..5_000),
            rng.u8(..4),
            rng.u16(..)
        ),
        _ => writeln!(
            out,
            "memory: {} MiB allocated, {} MiB reserved, {} retries of the allocator",
            rng.u32(..80_000),
            rng.u32(..80_000),
            rng.u8(..)
        ),
    }
}

fn json_line(out: &mut String, rng: &mut fastrand::Rng, millis: u64) -> std::fmt::Result {
    let (level, module) = (
        LEVELS[rng.usize(..LEVELS.len())],
        MODULES[rng.usize(..MODULES.len())],
    );
    writeln!(
        out,
        r#"{{"timestamp":"{}","level":"{level}","logger":"{module}","message":"step done","fields":{{"step":{},"loss":{:.6},"samples_per_s":{:.1},"rank":{},"trace_id":"{:016x}{:016x}"}}}}"#,
        clock(millis),
        rng.u32(..20_000),
        rng.f64() * 4.0,
        rng.f64() * 3_000.0,
        rng.u32(..512),
        rng.u64(..),
        rng.u64(..)
    )
}

fn progress(out: &mut String, rng: &mut fastrand::Rng, millis: u64) -> std::fmt::Result {
    let done = usize::try_from(millis / 450 % 1_000).unwrap_or_default();
    let bar = "█".repeat(done / 25) + &" ".repeat(40 - done / 25);
    write!(
        out,
        "\rEpoch {:>2}: {:>3}%|{bar}| {done}/1000 [{:02}:{:02}<{:02}:{:02}, {:.2}it/s, loss={:.4}]",
        millis / 450_000,
        done / 10,
        millis / 60_000 % 60,
        millis / 1_000 % 60,
        rng.u8(..60),
        rng.u8(..60),
        rng.f64() * 30.0,
        rng.f64() * 2.0
    )
}

/// Packets of one kind and size, each other bytes, plain and compressed at one level.
#[derive(Debug)]
pub struct Squeezed {
    level: i32,
    plain: Vec<Bytes>,
    /// What is sent: a packet that would not become smaller is sent plain.
    sent: Vec<Bytes>,
    next: usize,
}

/// So many packets are looked at in turn: one over and over would only show what caches can do.
const PACKETS: usize = 32;

impl Squeezed {
    /// Packets of one log chunk with `size` bytes.
    ///
    /// # Errors
    /// What is inflated is not what was compressed.
    pub fn new(kind: Kind, size: usize, level: i32) -> anyhow::Result<Self> {
        let log = Bytes::from(kind.bytes(size * PACKETS));
        let plain: Vec<Bytes> = (0..PACKETS)
            .map(|n| {
                let offset = (n * size) as u64;
                let chunk = LogChunk {
                    at: Some(LogPosition { epoch: 1, offset }),
                    next_offset: offset + size as u64,
                    data: log.slice(n * size..(n + 1) * size),
                    ..LogChunk::default()
                };
                let mut packet = Vec::new();
                encode_frame(&mut packet, StreamId(2), Body::LogChunk(chunk));
                Bytes::from(packet)
            })
            .collect();
        let sent: Vec<Bytes> = plain
            .iter()
            .map(|packet| compress_packet(packet, level).unwrap_or_else(|| packet.clone()))
            .collect();
        for (plain, sent) in plain.iter().zip(&sent) {
            let read = decode_packet(sent.clone(), limits::MAX_MESSAGE)?;
            ensure!(
                read == decode_packet(plain.clone(), limits::MAX_MESSAGE)?,
                "what was inflated at level {level} is not what was compressed"
            );
        }
        Ok(Self {
            level,
            plain,
            sent,
            next: 0,
        })
    }

    /// Bytes of all packets, plain and as sent.
    pub fn sizes(&self) -> (usize, usize) {
        let sum = |packets: &[Bytes]| packets.iter().map(Bytes::len).sum();
        (sum(&self.plain), sum(&self.sent))
    }

    fn turn(&mut self) -> usize {
        self.next = (self.next + 1) % PACKETS;
        self.next
    }

    /// Compresses the next packet; gives the size that is sent.
    pub fn compress(&mut self) -> usize {
        let at = self.turn();
        let plain = &self.plain[at];
        compress_packet(plain, self.level).map_or(plain.len(), |packet| packet.len())
    }

    /// Inflates the next packet and reads its frame.
    pub fn inflate(&mut self) -> bool {
        let at = self.turn();
        decode_packet(self.sent[at].clone(), limits::MAX_MESSAGE).is_ok_and(|frames| frames.len() == 1)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn samples_have_their_size_and_logs_shrink_where_they_can() {
        for kind in Kind::ALL {
            assert_eq!(kind.bytes(10_000).len(), 10_000, "{kind:?}");
            assert_eq!(kind.bytes(999), kind.bytes(999), "{kind:?}");
            let (plain, sent) = Squeezed::new(kind, 4 << 10, 1).unwrap().sizes();
            let ratio = plain as f64 / sent as f64;
            if kind == Kind::Random {
                assert_eq!(plain, sent, "sent as it is");
            } else {
                assert!(ratio > 1.5, "{kind:?}: {ratio}");
            }
        }
    }
}
