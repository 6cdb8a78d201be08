//! What compression of the links came to, for `/metrics`.

use std::sync::{Arc, atomic::Ordering};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use crate::connection::{Squeezed, Tally};

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    direction: &'static str,
}

type PerDirection = Family<Labels, Counter>;

/// Counts that the links keep, shown when they are asked for: a packet costs three additions, and no lookup.
#[derive(Debug)]
pub(super) struct SqueezeMeter {
    squeezed: Arc<Squeezed>,
    packets: PerDirection,
    plain: PerDirection,
    wire: PerDirection,
}

impl SqueezeMeter {
    pub(super) fn new(registry: &mut Registry, squeezed: Arc<Squeezed>) -> Self {
        let mut family = |name: &str, help: &str| {
            let family = PerDirection::default();
            registry.register(name, help, family.clone());
            family
        };
        Self {
            squeezed,
            packets: family("link_compressed_packets", "Compressed packets of the links"),
            plain: family(
                "link_compressed_plain_bytes",
                "What they are before compression, in bytes",
            ),
            wire: family(
                "link_compressed_wire_bytes",
                "What they are on the wire, in bytes",
            ),
        }
    }

    /// Brings what is shown up to date.
    pub(super) fn refresh(&self) {
        let show = |direction, tally: &Tally| {
            let labels = Labels { direction };
            for (family, value) in [
                (&self.packets, tally.packets()),
                (&self.plain, tally.plain_bytes()),
                (&self.wire, tally.wire_bytes()),
            ] {
                let counter = family.get_or_create(&labels);
                // Never back, when two ask at the same time.
                counter.inner().fetch_max(value, Ordering::Relaxed);
            }
        };
        show("sent", &self.squeezed.sent);
        show("received", &self.squeezed.received);
    }
}
