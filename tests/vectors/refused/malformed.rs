//! Messages that are no packet: the link ends with 1007 or 1009.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message as _;
use towline::wire::{Packet, Ping, frame::Body};

use super::Case;
use crate::messages::packet;

/// One zstd frame (RFC 8878 section 3.1.1): header, then one raw block.
fn zstd_frame(header: &[u8], content: &[u8]) -> Bytes {
    let mut out = BytesMut::from(&b"\x28\xb5\x2f\xfd"[..]);
    out.extend_from_slice(header);
    out.put_uint_le((content.len() as u64) << 3 | 1, 3);
    out.extend_from_slice(content);
    out.freeze()
}

/// The content size in one byte, no window: `Single_Segment_flag`.
fn stored(declared: usize, content: &[u8]) -> Bytes {
    zstd_frame(&[0x20, u8::try_from(declared).unwrap()], content)
}

fn squeezed(zstd: Bytes) -> Packet {
    Packet {
        frames: Vec::new(),
        zstd,
    }
}

fn bytes(packet: &Packet) -> Bytes {
    packet.encode_to_vec().into()
}

pub(super) fn cases() -> Vec<Case> {
    let ping = packet([(0, Body::Ping(Ping { id: 1 }))]);
    let zstd = |name, about, message: Bytes| Case {
        before: super::opened(&["flow_control", "events", "zstd"]),
        ..Case::at_plugin(name, about, message)
    };
    let good = stored(ping.len(), &ping);
    let nested = bytes(&squeezed(good.clone()));
    let beside = Packet {
        frames: Packet::decode(ping.clone()).unwrap().frames,
        ..squeezed(good)
    };
    // 64 MiB and 16 MiB: content size in four bytes; the window as 10 + 14 in the upper five bits.
    let bomb = zstd_frame(&[0xa0, 0, 0, 0, 4], &ping);
    let window = zstd_frame(&[0x80, 14 << 3, ping.len() as u8, 0, 0, 0], &ping);
    let unsized_frame = zstd_frame(&[0x00, 0x00], &ping);
    let mut cut = BytesMut::from(&stored(ping.len(), &ping)[..]);
    cut.truncate(cut.len() - 1);
    vec![
        zstd(
            "zstd_inside_zstd",
            "The inflated packet holds a zstd part itself.",
            bytes(&squeezed(stored(nested.len(), &nested))),
        )
        .closes(1007),
        zstd(
            "zstd_beside_frames",
            "A zstd part and frames in one packet.",
            bytes(&beside),
        )
        .closes(1007),
        zstd(
            "zstd_without_content_size",
            "The zstd frame does not declare how large it is inflated.",
            bytes(&squeezed(unsized_frame)),
        )
        .closes(1007),
        zstd(
            "zstd_over_the_limit",
            "The zstd frame declares 64 MiB, the limit is 16 MiB: refused before inflating.",
            bytes(&squeezed(bomb)),
        )
        .closes(1009),
        zstd(
            "zstd_window_too_large",
            "The zstd frame wants a window of 16 MiB; 8 MiB is the most.",
            bytes(&squeezed(window)),
        )
        .closes(1007),
        zstd(
            "zstd_longer_than_declared",
            "The zstd frame holds more than it declares.",
            bytes(&squeezed(stored(ping.len() - 1, &ping))),
        )
        .closes(1007),
        zstd(
            "zstd_cut_short",
            "The zstd frame ends too early.",
            bytes(&squeezed(cut.freeze())),
        )
        .closes(1007),
        plain(
            "truncated_varint",
            "The length of the first frame never ends.",
            b"\x0a\xff",
        )
        .closes(1007),
        plain(
            "endless_varint",
            "A varint of eleven bytes; ten is the most.",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        )
        .closes(1007),
        plain(
            "lying_length",
            "A frame says 127 bytes, and one follows.",
            b"\x0a\x7f\x08",
        )
        .closes(1007),
        plain(
            "lying_inner_length",
            "Inside a whole frame, its ping says 100 bytes, and two follow.",
            b"\x0a\x04\x22\x64\x08\x01",
        )
        .closes(1007),
        plain("wrong_wire_type", "Packet.frames as a varint.", b"\x08\x05").closes(1007),
        plain(
            "wrong_wire_type_inside",
            "Frame.stream as bytes.",
            b"\x0a\x03\x0a\x01\x02",
        )
        .closes(1007),
        plain("field_number_zero", "A field with number 0.", b"\x02\x00").closes(1007),
        plain(
            "text_that_is_not_utf8",
            "GoAway.reason holds the byte ff.",
            b"\x0a\x05\x42\x03\x12\x01\xff",
        )
        .closes(1007),
    ]
}

fn plain(name: &'static str, about: &'static str, message: &'static [u8]) -> Case {
    Case::at_plugin(name, about, Bytes::from_static(message))
}
