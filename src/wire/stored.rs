//! Messages at rest: what the hub and the plugin write down of the link's own types.

use prost::Message;

use super::{NodeStatus, PodState};

macro_rules! stored {
    ($($message:ty),+) => {$(
        impl $message {
            /// As it is written down: plain protobuf.
            pub fn to_bytes(&self) -> Vec<u8> {
                self.encode_to_vec()
            }

            /// Reads what [`Self::to_bytes`] wrote; none when it is something else.
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                Self::decode(bytes).ok()
            }
        }
    )+};
}

stored!(PodState, NodeStatus);
