//! The worked exchange of docs/PROTOCOL.md is what the code writes.

use bytes::Bytes;
use towline::wire::{
    CreatePod, LogOptions, NodeStatus, Ping, PodEvent, PodEventType, PodRef, PodState, Pong, Presence,
    Register, Request, Role, StreamId, StreamLogs, Welcome, decode_packet, encode_frame, frame::Body,
    request::Op, response,
};

#[path = "fakes/say.rs"]
#[allow(dead_code)] // most of it is for other tests
mod say;

/// Who sends, what it is for people, and the frame.
type Step = (&'static str, &'static str, u32, Body);

fn pod() -> PodRef {
    PodRef::new("3f0c9d0e-8f0b-4c53-9e1b-5d2f9a4b7c11", "lab", "hello")
}

fn exchange() -> Vec<Step> {
    let register = Register {
        role: Role::Plugin.into(),
        plugin: "site-a".into(),
        instance: "i1".into(),
        r#type: "process".into(),
        features: vec!["flow_control".into(), "events".into()],
        outbox: Some(say::fresh_outbox(7)),
        node_status: Some(NodeStatus {
            ready: true,
            cpu: "4".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let welcome = Welcome {
        session: "s1".into(),
        features: vec!["flow_control".into(), "events".into()],
        ping_ms: 20_000,
        idle_ms: 60_000,
        applied: Some(Default::default()),
        ..Default::default()
    };
    let create = Request {
        op_key: "c1".into(),
        attempt: 1,
        timeout_ms: 110_000,
        sensitive: true,
        op: Some(Op::CreatePod(CreatePod {
            pod: Some(pod()),
            payload: "{}".into(),
        })),
        ..Default::default()
    };
    let event = PodEvent {
        epoch: 7,
        seq: 1,
        r#type: PodEventType::Created.into(),
        state: Some(PodState {
            pod: Some(pod()),
            job_id: "428817".into(),
            seq: 1,
            presence: Presence::Present.into(),
            ..Default::default()
        }),
        at: None,
    };
    let ack = towline::wire::EventAck { epoch: 7, seq: 1 };
    let open = StreamLogs {
        pod: Some(pod()),
        container: "main".into(),
        options: Some(LogOptions {
            follow: true,
            ..Default::default()
        }),
        credit: 262_144,
        timeout_ms: 30_000,
        ..Default::default()
    };
    let ended = say::good(response::Result::LogsEnd(say::logs_end(1, 6)));
    vec![
        ("P", "Register", 0, Body::Register(register.into())),
        ("H", "Welcome", 0, Body::Welcome(welcome.into())),
        ("H", "Request: CreatePod", 2, Body::Request(create.into())),
        (
            "P",
            "Response: CreateResult",
            2,
            Body::Response(say::created("428817", false).into()),
        ),
        ("P", "PodEvent: CREATED, seq 1", 0, Body::PodEvent(event.into())),
        ("H", "EventAck", 0, Body::EventAck(ack)),
        (
            "H",
            "StreamLogs: follow, credit 262144",
            4,
            Body::StreamLogs(open.into()),
        ),
        (
            "P",
            "LogChunk: empty, the open acknowledgement",
            4,
            Body::LogChunk(say::chunk(1, 0, "")),
        ),
        (
            "P",
            "LogChunk: \"hello\\n\"",
            4,
            Body::LogChunk(say::chunk(1, 0, "hello\n")),
        ),
        ("P", "Response: LogsEnd, eof", 4, Body::Response(ended.into())),
        ("H", "Ping", 0, Body::Ping(Ping { id: 1 })),
        ("P", "Pong", 0, Body::Pong(Pong { id: 1 })),
    ]
}

/// The exchange as the document prints it: a line for people, then the message in hex.
fn printed() -> String {
    let mut text = String::new();
    for (from, what, stream, body) in exchange() {
        let mut packet = Vec::new();
        encode_frame(&mut packet, StreamId(stream), body);
        text.push_str(&format!(
            "{from}  stream {stream}  {what} ({} bytes)\n",
            packet.len()
        ));
        for line in packet.chunks(32) {
            let hex: String = line.iter().map(|byte| format!("{byte:02x}")).collect();
            text.push_str(&format!("   {hex}\n"));
        }
    }
    text
}

#[test]
fn the_documents_hex_is_what_the_code_writes() {
    let document = include_str!("../docs/PROTOCOL.md");
    let printed = printed();
    assert!(
        document.contains(&printed),
        "docs/PROTOCOL.md, worked exchange, must read:\n{printed}"
    );
}

#[test]
fn every_message_of_the_exchange_decodes_to_its_frame() {
    for (_, what, stream, body) in exchange() {
        let mut packet = Vec::new();
        encode_frame(&mut packet, StreamId(stream), body.clone());
        let frames =
            decode_packet(Bytes::from(packet), 1 << 20).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(frames.len(), 1);
        assert_eq!((frames[0].stream, frames[0].body.as_ref()), (stream, Some(&body)));
    }
}

#[test]
fn every_word_and_number_of_the_code_is_in_the_document() {
    let document = include_str!("../docs/PROTOCOL.md");
    let code = include_str!("../src/code.rs");
    let words = code
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub const ")?.split_once(": &str = \""));
    let words: Vec<&str> = words.map(|(_, word)| word.trim_end_matches("\";")).collect();
    let closes = code
        .lines()
        .filter_map(|line| line.split_once(": Self = Self(")?.1.strip_suffix(");"));
    let closes: Vec<&str> = closes.collect();
    assert!(
        words.len() > 15 && closes.len() > 10,
        "src/code.rs is not read as it is written"
    );
    for word in words {
        assert!(document.contains(word), "reason word {word} is missing");
    }
    for close in closes {
        assert!(
            document.contains(&format!("| {close} | ")),
            "close code {close} is missing"
        );
    }
    for number in (0..=16).filter(|number| *number != 6) {
        let name = towline::code::Code::from_number(number).name();
        assert!(
            document.contains(&format!("| {name} | {number} |")),
            "status code {name} is missing"
        );
    }
}
