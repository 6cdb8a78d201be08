//! Text that is not what it should be.

use bytes::Bytes;
use proptest::prelude::*;
use towline::{
    code::{Code, reason},
    envelope::Json,
    limits,
    wire::{Codec as _, CodecError, Data, HttpRequest, Request, StreamId, frame::Body, request::Op},
};

use crate::speak::{create, read, read_alone, waiting_for};

fn refused(text: &str) -> String {
    match read_alone(text) {
        Err(CodecError::Envelope(why)) => why,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn every_refusal_names_the_field() {
    for (text, what, place) in [
        ("", "empty", "top"),
        ("[]", "object", "top"),
        (r#"{"v":1,"kind":"ping","id":"1""#, "too early", ""),
        (r#"{"kind":"ping","id":"1"}"#, "missing field `v`", "v"),
        (r#"{"v":"1","kind":"ping","id":"1"}"#, "number 1", "v"),
        (r#"{"v":1,"id":"1"}"#, "missing field `kind`", "kind"),
        (r#"{"v":1,"kind":7}"#, "string", "kind"),
        (r#"{"v":1,"kind":"ping"}"#, "missing field `id`", "id"),
        (r#"{"v":1,"kind":"ping","id":"-1"}"#, "decimal", "id"),
        (
            r#"{"v":1,"kind":"credit","id":"4294967296","bytes":1}"#,
            "stream id",
            "id",
        ),
        (r#"{"v":1,"kind":"credit","id":"2","bytes":-1}"#, "u64", "bytes"),
        (r#"{"v":1,"kind":"credit","id":"2"}"#, "missing field `bytes`", ""),
        (
            r#"{"v":1,"kind":"response","id":"2","body":{}}"#,
            "missing field `status`",
            "status",
        ),
        (
            r#"{"v":1,"kind":"response","id":"2","status":"200"}"#,
            "u16",
            "status",
        ),
        (
            r#"{"v":1,"kind":"response","id":"2","error":{"code":"OOPS"}}"#,
            "name",
            "error.code",
        ),
        (
            r#"{"v":1,"kind":"response","id":"2","error":{"reason":5}}"#,
            "string",
            "error.reason",
        ),
        (r#"{"v":1,"kind":"register","plugin":["a"]}"#, "string", "plugin"),
        (
            r#"{"v":1,"kind":"register","role":"KING"}"#,
            "PLUGIN or OBSERVER",
            "role",
        ),
        (
            r#"{"v":1,"kind":"event","epoch":1,"seq":1}"#,
            "missing field `pod`",
            "",
        ),
        (
            r#"{"v":1,"kind":"event","epoch":1,"seq":1,"pod":{"containers":3}}"#,
            "sequence",
            "pod.containers",
        ),
        (
            r#"{"v":1,"kind":"event","epoch":1,"seq":1,"pod":{},"at":"noon"}"#,
            "RFC 3339",
            "at",
        ),
        (
            r#"{"v":1,"kind":"logChunk","id":"2","offset":0}"#,
            "missing field `epoch`",
            "",
        ),
        (
            r#"{"v":1,"kind":"logChunk","id":"2","epoch":1,"offset":0,"data_b64":"%"}"#,
            "base64",
            "data_b64",
        ),
        (
            r#"{"v":1,"kind":"logChunk","id":"2","epoch":1,"offset":0,"data":"a","data_b64":"YQ=="}"#,
            "not both",
            "data_b64",
        ),
        (
            r#"{"v":1,"kind":"request","id":"2","op":"POST","path":"/create"}"#,
            "missing field `body`",
            "body",
        ),
        (
            r#"{"v":1,"kind":"request","id":"2","op":"GET","path":"/status","body":[{}]}"#,
            "missing field `metadata`",
            "body[0]",
        ),
        (
            r#"{"v":1,"kind":"request","id":"2","path":"/status"}"#,
            "missing field `op`",
            "",
        ),
        (
            r#"{"v":1,"kind":"ping","kind":"pong","id":"1"}"#,
            "duplicate field `kind`",
            "",
        ),
    ] {
        let why = refused(text);
        assert!(why.contains(what) && why.contains(place), "{text}: {why}");
    }
}

#[test]
fn another_version_is_told_from_text_that_is_broken() {
    for v in ["2", "0", "1.5", "99999999999999999999"] {
        match read_alone(&format!(r#"{{"v":{v},"kind":"register"}}"#)) {
            Err(CodecError::Version(why)) => assert!(why.contains("speaks v 1"), "{why}"),
            other => panic!("v {v}: {other:?}"),
        }
    }
}

#[test]
fn unknown_kinds_and_keys_are_ignored() {
    let frame = read_alone(r#"{"v":1,"kind":"telepathy","id":"77","body":{"a":1}}"#).unwrap();
    assert_eq!((frame.stream, frame.body), (0, None));
    assert!(
        read_alone(r#"{"v":1,"kind":"ping","id":3,"mood":"fine"}"#).is_ok(),
        "an id may be a number"
    );
}

#[test]
fn what_nests_too_deep_or_is_too_long_is_refused_before_it_is_built() {
    let deep = format!(
        r#"{{"v":1,"kind":"x","body":{}{}}}"#,
        "[".repeat(40),
        "]".repeat(40)
    );
    assert!(refused(&deep).contains("deeper than 32"));
    let endless = format!(r#"{{"v":1,"kind":"x","body":{}"#, "[".repeat(1 << 20));
    assert!(refused(&endless).contains("deeper than 32"));
    let many = format!(
        r#"{{"v":1,"kind":"x","body":[{}]}}"#,
        vec!["{}"; limits::JSON_VALUES].join(",")
    );
    assert!(refused(&many).contains("values"));
    let long = Json::default()
        .decode(Bytes::from(vec![b' '; 1_001]), 1_000)
        .unwrap_err();
    assert_eq!(
        long,
        CodecError::TooLarge {
            size: 1_001,
            limit: 1_000
        }
    );
    assert!(matches!(
        read(&mut Json::default(), b"{\"v\":1,\"kind\":\"\xff\"}"),
        Err(CodecError::Envelope(_))
    ));
}

#[test]
fn a_call_that_has_no_form_here_is_refused_before_it_is_sent() {
    let codec = Json::default();
    let bad = codec
        .size(StreamId(2), &Body::Request(create("no json").into()))
        .unwrap_err();
    assert_eq!(
        (bad.kind(), bad.reason.as_str()),
        (Code::InvalidArgument, reason::BAD_POD)
    );
    assert!(bad.message.contains("payload"), "{bad}");
    let deep = format!("{}{}", "[".repeat(32), "]".repeat(32));
    assert!(
        codec
            .size(StreamId(2), &Body::Request(create(&deep).into()))
            .is_err()
    );
    let http = Request {
        op: Some(Op::HttpRequest(HttpRequest::default())),
        ..Request::default()
    };
    for body in [Body::Request(http.into()), Body::Data(Data::default())] {
        assert_eq!(
            codec.size(StreamId(2), &body).unwrap_err().kind(),
            Code::Unimplemented
        );
    }
    for feature in ["zstd", "http"] {
        assert!(!codec.carries(feature));
    }
}

#[test]
fn the_answer_to_a_call_that_was_forgotten_has_no_result() {
    let mut codec = waiting_for(create("{}"));
    codec.forget(StreamId(2));
    let text = br#"{"v":1,"id":"2","kind":"response","status":200,"body":{"PodJID":"7"}}"#;
    let late = read(&mut codec, text).unwrap();
    assert!(matches!(late.body, Some(Body::Response(response)) if response.result.is_none()));
}

/// Pieces that a broken or hostile writer puts together.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just(r#""v":1"#),
        Just(r#""kind":"response""#),
        Just(r#""kind":"register""#),
        Just(r#""kind":"event""#),
        Just(r#""kind":"logChunk""#),
        Just(r#""kind":"request""#),
        Just(r#""id":"2""#),
        Just(r#""id":2e9"#),
        Just(r#""status":200"#),
        Just(r#""body":[{}]"#),
        Just(r#""body":{"PodJID":null}"#),
        Just(r#""pod":{}"#),
        Just(r#""op":"GET""#),
        Just(r#""path":"/status""#),
        Just(r#""epoch":1"#),
        Just(r#""offset":18446744073709551615"#),
        Just(r#""seq":1"#),
        Just(r#""data":"\ud83d\ude00""#),
        Just(r#""error":[]"#),
        Just(r#""body":"\u0000""#),
        Just("{"),
        Just("}"),
        Just("["),
        Just("\\"),
        Just("\""),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| format!("{{{}}}", pieces.join(",")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn nothing_panics_whatever_comes(text in pieces(), bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let mut codec = waiting_for(create("{}"));
        let _ = read(&mut codec, text.as_bytes());
        let _ = read(&mut codec, &bytes);
    }
}
