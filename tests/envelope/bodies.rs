//! What authors write by hand: REST bodies, in the words of docs/JSON.md.

use serde_json::{Value, json};
use towline::{
    code::{Code, reason},
    envelope::Json,
    wire::{
        CreatePod, GetStatus, PodState, Presence, Response, Status, container_state::State, frame::Body,
        request::Op, response,
    },
};

use crate::speak::{UID, create, get_status, pod, read, read_alone, shown, waiting_for, write};

fn answered(codec: &mut Json, rest: &str) -> Response {
    let text = format!(r#"{{"v":1,"id":"2","kind":"response",{rest}}}"#);
    match read(codec, text.as_bytes()).unwrap().body {
        Some(Body::Response(response)) => *response,
        other => panic!("{other:?}"),
    }
}

fn failed(codec: &mut Json, rest: &str) -> Status {
    answered(codec, rest).status.expect("a failure")
}

#[test]
fn a_create_is_the_envelope_of_issue_527_with_the_payload_byte_for_byte() {
    let payload = r#"{ "pod": {"metadata":{}},  "n": 1.50 }"#;
    let mut request = create(payload);
    request
        .metadata
        .insert("interlink-http-session".into(), "CreatePod#1".into());
    let text = write(&mut Json::default(), 42, Body::Request(request.into()));
    assert!(text.windows(payload.len()).any(|part| part == payload.as_bytes()));
    let mut written = shown(&text);
    written.as_object_mut().unwrap().remove("body");
    assert_eq!(
        written,
        json!({"v": 1, "id": "42", "kind": "request", "op": "POST", "path": "/create",
            "headers": {"interlink-http-session": "CreatePod#1"}, "deadline_ms": 110_000, "op_key": "c1", "attempt": 1,
            "sensitive": true, "pod": {"uid": UID, "namespace": "lab", "name": "hello"}})
    );
}

#[test]
fn the_pod_of_a_call_is_found_in_the_body_when_nothing_else_names_it() {
    let text = format!(
        r#"{{"v":1,"id":"2","kind":"request","op":"post","path":"/create","headers":{{"InterLink-Http-Session":"s"}},
        "body":{{"pod":{{"metadata":{{"name":"hello","namespace":"lab","uid":"{UID}"}}}}}},"deadline_ms":5}}"#
    );
    let Some(Body::Request(request)) = read_alone(&text).unwrap().body else {
        panic!("a request");
    };
    assert_eq!(request.metadata["interlink-http-session"], "s");
    assert!(matches!(request.op, Some(Op::CreatePod(CreatePod { pod: Some(found), .. })) if found == pod()));
}

#[test]
fn an_op_that_is_not_known_is_a_request_without_op() {
    for (op, path) in [("POST", "/exec"), ("PATCH", "/create"), ("GET", "/")] {
        let text = format!(r#"{{"v":1,"id":"1","kind":"request","op":"{op}","path":"{path}","body":null}}"#);
        let frame = read_alone(&text).unwrap();
        assert!(
            matches!(frame.body, Some(Body::Request(request)) if request.op.is_none()),
            "{path}"
        );
        assert_eq!(frame.stream, 1);
    }
}

#[test]
fn a_status_item_without_presence_is_a_pod_that_is_there() {
    let mut codec = waiting_for(get_status(GetStatus {
        all: true,
        ..GetStatus::default()
    }));
    let item = json!([{"name": "hello", "UID": UID, "namespace": "lab", "JID": "7", "containers": [{"name": "main",
        "state": {"running": {"startedAt": "2026-09-01T10:00:00Z"}}, "ready": true, "restartCount": 0}]},
        {"UID": "gone", "presence": "ABSENT"}, {"UID": "later", "presence": "HALF"}]);
    let response = answered(
        &mut codec,
        &format!(r#""status":200,"body":{item},"error":null,"as_of":9"#),
    );
    let Some(response::Result::GetStatus(page)) = response.result else {
        panic!("{response:?}");
    };
    let presences: Vec<Presence> = page.pods.iter().map(PodState::presence).collect();
    assert_eq!(
        presences,
        [Presence::Present, Presence::Absent, Presence::Unspecified]
    );
    assert_eq!((page.as_of, page.pods[0].job_id.as_str()), (9, "7"));
    assert!(matches!(
        page.pods[0].containers[0].state,
        Some(State::Running(_))
    ));
}

#[test]
fn an_event_carries_a_status_of_rest_and_its_seq() {
    let text = format!(
        r#"{{"v":1,"kind":"event","epoch":7,"seq":3,"type":"FINISHED","pod":{{"name":"hello","UID":"{UID}","namespace":"lab"}}}}"#
    );
    let Some(Body::PodEvent(event)) = read_alone(&text).unwrap().body else {
        panic!("an event");
    };
    let state = event.state.clone().unwrap();
    assert_eq!(
        (event.epoch, event.seq, state.seq, state.pod),
        (7, 3, 3, Some(pod()))
    );
    assert_eq!(state.presence, i32::from(Presence::Present));
    assert_eq!(event.r#type().as_str_name(), "POD_EVENT_TYPE_FINISHED");
}

#[test]
fn a_chunk_needs_no_next_offset_and_bytes_that_are_no_text_come_in_base64() {
    let chunk = |rest: &str| match read_alone(&format!(r#"{{"v":1,"id":"4","kind":"logChunk",{rest}}}"#)) {
        Ok(frame) => match frame.body {
            Some(Body::LogChunk(chunk)) => chunk,
            other => panic!("{other:?}"),
        },
        Err(error) => panic!("{error}"),
    };
    let text = chunk(r#""epoch":1,"offset":6,"data":"grüße""#);
    assert_eq!(
        (text.next_offset, text.data.len()),
        (13, 7),
        "bytes, not characters"
    );
    assert_eq!(
        &chunk(r#""epoch":1,"offset":0,"data_b64":"/wA=""#).data[..],
        [0xff, 0]
    );
    assert_eq!(chunk(r#""epoch":0,"offset":0"#).data.len(), 0);
}

#[test]
fn a_failure_is_told_by_the_http_status_the_body_or_the_error() {
    let mut codec = Json::default();
    for (rest, code, word, message) in [
        (r#""status":404,"body":null,"error":null"#, Code::NotFound, "", ""),
        (
            r#""status":500,"body":"disk full""#,
            Code::Internal,
            reason::PLUGIN_ERROR,
            "disk full",
        ),
        (
            r#""status":422,"body":{"detail":"no such queue"}"#,
            Code::FailedPrecondition,
            reason::SUBMIT_REJECTED,
            "no such queue",
        ),
        (
            r#""status":504,"body":"sbatch: timeout""#,
            Code::DeadlineExceeded,
            "",
            "sbatch: timeout",
        ),
        (
            r#""status":503,"error":"the cluster is down""#,
            Code::Unavailable,
            "",
            "the cluster is down",
        ),
        (
            r#""status":200,"error":{"code":9,"reason":"BAD_POD","message":"m"}"#,
            Code::FailedPrecondition,
            "BAD_POD",
            "m",
        ),
        (
            r#""status":422,"error":{"code":"NOT_FOUND"}"#,
            Code::NotFound,
            "",
            "",
        ),
        (
            r#""error":{"message":"m"}"#,
            Code::Internal,
            reason::PLUGIN_ERROR,
            "m",
        ),
    ] {
        let status = failed(&mut codec, rest);
        assert_eq!(
            (status.kind(), status.reason.as_str(), status.message.as_str()),
            (code, word, message),
            "{rest}"
        );
    }
    let told = failed(
        &mut codec,
        r#""status":503,"error":{"code":14,"reason":"NOT_READY","message":"m","not_started":true,"retry_after_ms":500}"#,
    );
    assert!(told.not_started && told.retry_after_ms == 500);
}

#[test]
fn an_answer_that_is_not_what_rest_has_fails_its_call_alone_and_names_the_field() {
    let states = r#""status":200,"body":[{"UID":"a"},{"UID":"b","containers":[{"restartCount":"often"}]}]"#;
    let status = get_status(GetStatus::default());
    for (codec, rest, place) in [
        (
            waiting_for(create("{}")),
            r#""status":200,"body":"created""#,
            "body",
        ),
        (
            waiting_for(create("{}")),
            r#""status":200,"body":{"PodJID":7}"#,
            "body.PodJID",
        ),
        (
            waiting_for(status.clone()),
            states,
            "body[1].containers[0].restartCount",
        ),
        (waiting_for(status), r#""status":200,"body":{"pods":[]}"#, "body"),
    ] {
        let mut codec = codec;
        let status = failed(&mut codec, rest);
        assert_eq!(
            (status.kind(), status.reason.as_str()),
            (Code::Internal, reason::PLUGIN_ERROR)
        );
        assert!(
            status.message.contains(&format!(" at {place}")),
            "{}",
            status.message
        );
        assert!(
            !status.message.contains("often"),
            "a value is repeated: {}",
            status.message
        );
    }
}

#[test]
fn any_2xx_answer_to_a_delete_is_good_and_a_null_list_has_no_pods() {
    let delete = || {
        let mut request = create("");
        request.op = Some(Op::DeletePod(towline::wire::DeletePod {
            pod: Some(pod()),
            ..Default::default()
        }));
        request
    };
    for body in ["null", "\"Pod deleted\"", "{}", "[1]"] {
        let response = answered(
            &mut waiting_for(delete()),
            &format!(r#""status":201,"body":{body}"#),
        );
        assert!(
            matches!(response.result, Some(response::Result::DeletePod(deleted)) if deleted.existed),
            "{body}"
        );
    }
    let text = write(&mut Json::default(), 2, Body::Request(delete().into()));
    let named = json!({"metadata": {"name": "hello", "namespace": "lab", "uid": UID}});
    assert_eq!(shown(&text)["body"], named, "a delete without its pod names it");
    let response = answered(
        &mut waiting_for(get_status(GetStatus::default())),
        r#""status":200,"body":null"#,
    );
    assert!(matches!(response.result, Some(response::Result::GetStatus(page)) if page.pods.is_empty()));
}

#[test]
fn a_register_of_few_words_is_read_and_null_is_nothing() {
    let text = r#"{"v":1,"kind":"hello","plugin":"p","instance":"i","labels":null,"outbox":null,"later":[1],
        "node_status":{"ready":true,"accelerators":[],"taints":null}}"#;
    let Some(Body::Register(register)) = read_alone(text).unwrap().body else {
        panic!("a register");
    };
    let node = register.node_status.clone().unwrap();
    assert_eq!((register.plugin.as_str(), node.ready), ("p", true));
    assert!(node.accelerators.is_some_and(|list| list.items.is_empty()) && node.taints.is_none());
    let again = shown(&write(&mut Json::default(), 0, Body::Register(register)));
    let expected: Value = json!({"v": 1, "kind": "register", "plugin": "p", "instance": "i", "features": [], "role": null,
        "node_status": {"ready": true, "accelerators": []}});
    assert_eq!(again, expected);
}
