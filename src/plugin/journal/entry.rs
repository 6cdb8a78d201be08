//! One fact of the journal, and its bytes: kind, length, fields. Numbers are little-endian.

use std::num::NonZeroU64;

use bytes::{Buf, BufMut, Bytes};

use super::mark::Mark;
use crate::wire::{PodEvent, PodState, Presence, Timestamp};

/// One fact.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Entry {
    /// Which records of pods these are. Another number: none of the former is valid any more.
    JobsEpoch(u64),
    /// The outbox begins afresh.
    Epoch(NonZeroU64),
    /// Where the outbox stands; only in a snapshot.
    Position { next_seq: u64, acked_seq: u64 },
    /// The latest state of a pod, not yet acknowledged.
    Event(Kept),
    /// What was told last of a pod; only in a snapshot, as events say it themselves.
    Told { uid: String, seq: u64, mark: Mark },
    /// The hub has everything up to here.
    Ack(u64),
    /// The pod is about to be submitted.
    Submitting(String),
    /// The pod was submitted.
    Job { uid: String, job_id: String },
    /// The pod was refused or deleted.
    Forgotten(String),
}

/// An event, as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kept {
    pub(crate) seq: u64,
    pub(crate) uid: String,
    pub(crate) mark: Mark,
    /// The plugin does not have the pod any more: nothing will follow.
    pub(crate) last: bool,
    kind: i32,
    at: Option<Timestamp>,
    state: Bytes,
}

impl Kept {
    /// None when the event names no pod.
    pub(crate) fn new(event: &PodEvent) -> Option<Self> {
        let state = event.state.as_ref()?;
        Some(Self {
            seq: event.seq,
            uid: state.pod.as_ref()?.uid.clone(),
            mark: Mark::of(state),
            last: state.presence() == Presence::Absent,
            kind: event.r#type,
            at: event.at,
            state: state.to_bytes().into(),
        })
    }

    /// The event again. None when its state cannot be read.
    pub(crate) fn event(&self, epoch: NonZeroU64) -> Option<PodEvent> {
        Some(PodEvent {
            epoch: epoch.get(),
            seq: self.seq,
            r#type: self.kind,
            state: Some(PodState::from_bytes(&self.state)?),
            at: self.at,
        })
    }
}

const JOBS_EPOCH: u8 = 1;
const EPOCH: u8 = 2;
const POSITION: u8 = 3;
const EVENT: u8 = 4;
const TOLD: u8 = 5;
const ACK: u8 = 6;
const SUBMITTING: u8 = 7;
const JOB: u8 = 8;
const FORGOTTEN: u8 = 9;

impl Entry {
    /// Appends its bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::JobsEpoch(epoch) => {
                out.put_u8(JOBS_EPOCH);
                out.put_u64_le(*epoch);
            }
            Self::Epoch(epoch) => {
                out.put_u8(EPOCH);
                out.put_u64_le(epoch.get());
            }
            Self::Position { next_seq, acked_seq } => {
                out.put_u8(POSITION);
                out.put_u64_le(*next_seq);
                out.put_u64_le(*acked_seq);
            }
            Self::Event(kept) => {
                out.put_u8(EVENT);
                out.put_u64_le(kept.seq);
                put_bytes(out, kept.uid.as_bytes());
                out.put_u64_le(kept.mark.0);
                out.put_u8(kept.last.into());
                out.put_i32_le(kept.kind);
                out.put_u8(kept.at.is_some().into());
                let at = kept.at.unwrap_or_default();
                out.put_i64_le(at.seconds);
                out.put_i32_le(at.nanos);
                put_bytes(out, &kept.state);
            }
            Self::Told { uid, seq, mark } => {
                out.put_u8(TOLD);
                put_bytes(out, uid.as_bytes());
                out.put_u64_le(*seq);
                out.put_u64_le(mark.0);
            }
            Self::Ack(seq) => {
                out.put_u8(ACK);
                out.put_u64_le(*seq);
            }
            Self::Submitting(uid) => {
                out.put_u8(SUBMITTING);
                put_bytes(out, uid.as_bytes());
            }
            Self::Job { uid, job_id } => {
                out.put_u8(JOB);
                put_bytes(out, uid.as_bytes());
                put_bytes(out, job_id.as_bytes());
            }
            Self::Forgotten(uid) => {
                out.put_u8(FORGOTTEN);
                put_bytes(out, uid.as_bytes());
            }
        }
    }

    /// Reads all entries of a frame. None when they are not such: the frame's checksum was good, so this is damage
    /// of another kind.
    pub(crate) fn decode_all(mut bytes: Bytes) -> Option<Vec<Self>> {
        let mut entries = Vec::new();
        while bytes.has_remaining() {
            entries.push(Self::decode(&mut bytes)?);
        }
        Some(entries)
    }

    fn decode(from: &mut Bytes) -> Option<Self> {
        Some(match from.try_get_u8().ok()? {
            JOBS_EPOCH => Self::JobsEpoch(from.try_get_u64_le().ok()?),
            EPOCH => Self::Epoch(NonZeroU64::new(from.try_get_u64_le().ok()?)?),
            POSITION => Self::Position {
                next_seq: from.try_get_u64_le().ok()?,
                acked_seq: from.try_get_u64_le().ok()?,
            },
            EVENT => Self::Event(Kept {
                seq: from.try_get_u64_le().ok()?,
                uid: get_text(from)?,
                mark: Mark(from.try_get_u64_le().ok()?),
                last: from.try_get_u8().ok()? != 0,
                kind: from.try_get_i32_le().ok()?,
                at: {
                    let said = from.try_get_u8().ok()? != 0;
                    let seconds = from.try_get_i64_le().ok()?;
                    let nanos = from.try_get_i32_le().ok()?;
                    said.then_some(Timestamp { seconds, nanos })
                },
                state: get_bytes(from)?,
            }),
            TOLD => Self::Told {
                uid: get_text(from)?,
                seq: from.try_get_u64_le().ok()?,
                mark: Mark(from.try_get_u64_le().ok()?),
            },
            ACK => Self::Ack(from.try_get_u64_le().ok()?),
            SUBMITTING => Self::Submitting(get_text(from)?),
            JOB => Self::Job {
                uid: get_text(from)?,
                job_id: get_text(from)?,
            },
            FORGOTTEN => Self::Forgotten(get_text(from)?),
            _ => return None,
        })
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    // A message is bounded far below 4 GiB.
    out.put_u32_le(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

fn get_bytes(from: &mut Bytes) -> Option<Bytes> {
    let len = usize::try_from(from.try_get_u32_le().ok()?).ok()?;
    (len <= from.len()).then(|| from.split_to(len))
}

fn get_text(from: &mut Bytes) -> Option<String> {
    String::from_utf8(get_bytes(from)?.into()).ok()
}
