//! What each row holds, and how it is written: a JSON head and a tail of bytes.

use std::{collections::BTreeMap, path::PathBuf, time::SystemTime};

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Recovered, key::Key, seal::Seal};
use crate::wire::{NodeStatus, PodRef, PodState};

/// A pod as the state table has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PodRow {
    pub(crate) uid: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) plugin: String,
    pub(crate) job_id: String,
    pub(crate) answered: bool,
    pub(crate) deleting: bool,
    /// Which way confirmed that.
    #[serde(default)]
    pub(crate) deleted_over_http: bool,
    /// When its delete was asked for.
    #[serde(with = "since_epoch")]
    pub(crate) delete_asked: Option<SystemTime>,
    pub(crate) lost: Option<String>,
    #[serde(with = "since_epoch")]
    pub(crate) created_at: Option<SystemTime>,
    #[serde(with = "since_epoch")]
    pub(crate) observed_at: Option<SystemTime>,
    #[serde(with = "since_epoch")]
    pub(crate) terminal_at: Option<SystemTime>,
    /// Names and images of the containers.
    pub(crate) names: Vec<(String, String)>,
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    #[serde(skip)]
    pub(crate) state: Option<PodState>,
}

/// A plugin as the registry has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PluginRow {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) software: String,
    pub(crate) instance: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) jobs_epoch: u64,
    #[serde(with = "since_epoch")]
    pub(crate) last_seen: Option<SystemTime>,
    #[serde(skip)]
    pub(crate) node: NodeStatus,
    /// A row of its own.
    #[serde(skip)]
    pub(crate) mark: MarkRow,
}

/// What was applied of a plugin's outbox: rewritten with every event, so in a small row of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MarkRow {
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    /// All its pods were read since that outbox began.
    pub(crate) synced: bool,
}

/// A create in hand.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct CreateRow {
    pub(crate) uid: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) plugin: String,
    pub(crate) names: Vec<(String, String)>,
    pub(crate) session: String,
    pub(crate) traceparent: Option<String>,
    /// interLink's RetrievedPodData; holds secrets.
    #[serde(skip)]
    pub(crate) payload: Bytes,
}

/// A delete that waits for its plugin.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct DeleteRow {
    pub(crate) uid: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) plugin: String,
    pub(crate) grace_seconds: Option<u64>,
    /// The v1.Pod.
    #[serde(skip)]
    pub(crate) pod_json: Bytes,
}

/// Without the payload.
impl std::fmt::Debug for CreateRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CreateRow({} at {})", self.uid, self.plugin)
    }
}

/// Without the pod.
impl std::fmt::Debug for DeleteRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeleteRow({} at {})", self.uid, self.plugin)
    }
}

impl PodRow {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        join(
            self,
            &self.state.as_ref().map(PodState::to_bytes).unwrap_or_default(),
        )
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (mut row, tail) = split::<Self>(bytes)?;
        if !tail.is_empty() {
            row.state = Some(PodState::from_bytes(tail)?);
        }
        Some(row)
    }
}

impl PluginRow {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        join(self, &self.node.to_bytes())
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (mut row, tail) = split::<Self>(bytes)?;
        row.node = NodeStatus::from_bytes(tail)?;
        Some(row)
    }
}

impl MarkRow {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(17);
        bytes.extend_from_slice(&self.epoch.to_le_bytes());
        bytes.extend_from_slice(&self.seq.to_le_bytes());
        bytes.push(u8::from(self.synced));
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (epoch, rest) = bytes.split_first_chunk::<8>()?;
        let (seq, rest) = rest.split_first_chunk::<8>()?;
        let synced = match rest {
            [0] => false,
            [1] => true,
            _ => return None,
        };
        Some(Self {
            epoch: u64::from_le_bytes(*epoch),
            seq: u64::from_le_bytes(*seq),
            synced,
        })
    }
}

impl CreateRow {
    /// Whose pod.
    pub(crate) fn pod(&self) -> PodRef {
        PodRef::new(&self.uid, &self.namespace, &self.name)
    }

    pub(super) fn to_bytes(&self, seal: &Seal) -> Vec<u8> {
        join(self, &seal.seal(&format!("create/{}", self.uid), &self.payload))
    }

    fn from_bytes(bytes: &[u8], seal: &Seal) -> Option<Self> {
        let (mut row, tail) = split::<Self>(bytes)?;
        row.payload = seal.open_bytes(&format!("create/{}", row.uid), tail)?.into();
        Some(row)
    }
}

impl DeleteRow {
    /// Whose pod.
    pub(crate) fn pod(&self) -> PodRef {
        PodRef::new(&self.uid, &self.namespace, &self.name)
    }

    pub(super) fn key(&self) -> Key {
        Key::Delete {
            plugin: self.plugin.clone(),
            uid: self.uid.clone(),
        }
    }

    pub(super) fn to_bytes(&self, seal: &Seal) -> Vec<u8> {
        join(self, &seal.seal(&format!("delete/{}", self.uid), &self.pod_json))
    }

    /// Without its key a delete is still a delete: only the pod's JSON is missing then.
    fn from_bytes(bytes: &[u8], seal: &Seal) -> Option<Self> {
        let (mut row, tail) = split::<Self>(bytes)?;
        row.pod_json = seal
            .open_bytes(&format!("delete/{}", row.uid), tail)
            .unwrap_or_default()
            .into();
        Some(row)
    }
}

/// Sorts the rows of a database; gives the number that the next tombstone takes too.
pub(super) fn read_all(rows: Vec<(Key, Vec<u8>)>, seal: &Seal, damaged: Option<PathBuf>) -> (Recovered, u64) {
    let mut found = Recovered {
        damaged,
        ..Recovered::default()
    };
    let mut tombstones = Vec::new();
    let mut marks = BTreeMap::new();
    for (key, bytes) in rows {
        let read = match &key {
            Key::Pod(_) => PodRow::from_bytes(&bytes).map(|row| found.pods.push(row)),
            Key::Plugin(_) => PluginRow::from_bytes(&bytes).map(|row| found.plugins.push(row)),
            Key::Create(_) => CreateRow::from_bytes(&bytes, seal).map(|row| found.creates.push(row)),
            Key::Delete { .. } => DeleteRow::from_bytes(&bytes, seal).map(|row| found.deletes.push(row)),
            Key::Tombstone(uid) => <[u8; 8]>::try_from(bytes.as_slice())
                .ok()
                .map(|order| tombstones.push((u64::from_be_bytes(order), uid.clone()))),
            Key::Mark(name) => MarkRow::from_bytes(&bytes).map(|mark| {
                marks.insert(name.clone(), mark);
            }),
        };
        if read.is_none() {
            tracing::error!(row = ?key, "a row of the hub's state cannot be read and is left out; was the key file changed?");
        }
    }
    for plugin in &mut found.plugins {
        plugin.mark = marks.get(&plugin.name).copied().unwrap_or_default();
    }
    tombstones.sort_unstable();
    let next = tombstones.last().map_or(0, |(order, _)| order + 1);
    found.tombstones = tombstones.into_iter().map(|(_, uid)| uid).collect();
    (found, next)
}

fn join(head: &impl Serialize, tail: &[u8]) -> Vec<u8> {
    // Text, numbers and lists always make JSON.
    let head = serde_json::to_vec(head).unwrap_or_default();
    let mut bytes = Vec::with_capacity(4 + head.len() + tail.len());
    bytes.extend_from_slice(&u32::try_from(head.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(&head);
    bytes.extend_from_slice(tail);
    bytes
}

pub(super) fn split<T: DeserializeOwned>(bytes: &[u8]) -> Option<(T, &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (head, tail) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
    Some((serde_json::from_slice(head).ok()?, tail))
}

/// Seconds and nanoseconds since 1970; plugins may tell times before it, which are taken as that.
mod since_epoch {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(at: &Option<SystemTime>, to: S) -> Result<S::Ok, S::Error> {
        at.map(|at| at.duration_since(UNIX_EPOCH).unwrap_or_default())
            .serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SystemTime>, D::Error> {
        let since = Option::<Duration>::deserialize(from)?;
        Ok(since.and_then(|since| UNIX_EPOCH.checked_add(since)))
    }
}
