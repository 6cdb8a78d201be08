//! Packets as the contract alone reads them, without the generated code.

use std::{collections::BTreeMap, fmt::Write as _};

use bytes::Bytes;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::Value;
use towline::wire::frame::Body;

use crate::messages::packet;

/// The compiled `.proto` files.
pub(crate) struct Contract(DescriptorPool);

impl Contract {
    pub(crate) fn read() -> Self {
        let files = protox::compile(["proto/towline/v1/link.proto"], ["proto"]).unwrap();
        Self(DescriptorPool::from_file_descriptor_set(files).unwrap())
    }

    /// The packet in protobuf's JSON mapping, keys in order; null when the bytes are no packet.
    pub(crate) fn json(&self, packet: &Bytes) -> Option<Value> {
        let kind = self.0.get_message_by_name("towline.v1.Packet").unwrap();
        let message = DynamicMessage::decode(kind, packet.clone()).ok()?;
        Some(sorted(serde_json::to_value(&message).unwrap()))
    }

    /// One frame in protobuf's JSON mapping.
    pub(crate) fn frame(&self, stream: u32, body: Body) -> Value {
        let mut whole = self.json(&packet([(stream, body)])).unwrap();
        whole["frames"][0].take()
    }
}

/// Objects with their keys in order, so that files do not change without reason.
pub(crate) fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let ordered: BTreeMap<_, _> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(ordered.into_iter().collect())
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

pub(crate) fn unhex(text: &str) -> Bytes {
    assert!(text.len().is_multiple_of(2), "half a byte");
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}
