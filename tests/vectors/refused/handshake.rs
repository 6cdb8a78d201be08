//! Register and Welcome in the wrong place.

use bytes::Bytes;
use towline::wire::{GoAway, Limits, Ping, Register, frame::Body};

use super::{Case, opened};
use crate::messages::{packet, register, whole_welcome};

pub(super) fn cases() -> Vec<Case> {
    let ping = || packet([(0, Body::Ping(Ping { id: 1 }))]);
    let registered = || packet([(0, Body::Register(register().into()))]);
    let before_register = |name, about, message: Bytes| Case {
        before: Vec::new(),
        ..Case::at_hub(name, about, message)
    };
    let small = Register {
        limits: Some(Limits {
            max_message_bytes: 65_536,
            ..Limits::default()
        }),
        ..register()
    };
    let refused = GoAway {
        code: 4504,
        retry_after_ms: 300_000,
        ..GoAway::default()
    };
    vec![
        before_register(
            "frame_before_register",
            "The first frame is not Register.",
            ping(),
        )
        .closes(4504),
        before_register(
            "register_on_a_stream",
            "Register is for stream 0.",
            packet([(1, Body::Register(register().into()))]),
        )
        .closes(4504),
        before_register(
            "register_with_a_small_limit",
            "A peer must take messages of at least 131,072 bytes; refused by GoAway, then the close.",
            packet([(0, Body::Register(small.into()))]),
        )
        .writes(0, Body::GoAway(refused))
        .closes(4504),
        Case {
            before: opened(&[]).into_iter().take(1).collect(),
            ..Case::at_hub(
                "frame_before_welcome",
                "The hub has not answered Register, and the plugin goes on.",
                ping(),
            )
        }
        .closes(4504),
        Case::at_hub("register_twice", "The handshake is over.", registered()).closes(4504),
        Case::at_plugin(
            "welcome_twice",
            "The handshake is over.",
            packet([(
                0,
                Body::Welcome(whole_welcome(&["flow_control", "events"]).into()),
            )]),
        )
        .closes(4504),
    ]
}
