//! What only the JSON path has: text by hand.

use std::{future::poll_fn, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use towline::{
    hub::{Identity, LogQuery},
    transport::{
        Message, Transport,
        memory::{Memory, pair},
    },
    wire::{LogOptions, PodRef, Subprotocol},
};

use crate::fake::{Site, connect_as, create, hub, pod, registration, until};

/// A plugin that is typed by hand.
struct Typed(Memory);

impl Typed {
    fn new(hub: &Arc<towline::hub::Hub>) -> Self {
        let (ours, theirs) = pair(16 << 20);
        let identity = Identity {
            plugin: None,
            remote: "test".into(),
            way: towline::hub::Way::Link,
        };
        tokio::spawn(hub.clone().serve_link_as(theirs, identity, Subprotocol::Json));
        Self(ours)
    }

    /// Registered, with the features named, and past the hub's first read.
    async fn registered(hub: &Arc<towline::hub::Hub>, features: Value) -> (Self, Value) {
        let mut typed = Self::new(hub);
        typed
            .say(
                &json!({"v": 1, "kind": "register", "plugin": "p", "instance": "i", "features": features,
                "node_status": {"ready": true}}),
            )
            .await;
        let welcome = typed.hear().await;
        let read = typed.hear().await;
        assert_eq!(
            (&read["op"], &read["path"], &read["body"]["all"]),
            (&json!("GET"), &json!("/status"), &json!(true))
        );
        typed
            .say(&json!({"v": 1, "kind": "response", "id": read["id"], "status": 200, "body": []}))
            .await;
        (typed, welcome)
    }

    async fn send(&mut self, message: Message) {
        poll_fn(|cx| self.0.poll_ready(cx)).await.unwrap();
        self.0.start_send(message).unwrap();
        poll_fn(|cx| self.0.poll_flush(cx)).await.unwrap();
    }

    async fn say(&mut self, message: &Value) {
        self.send(Message::Text(message.to_string().into())).await;
    }

    async fn next(&mut self) -> Message {
        loop {
            match timeout(Duration::from_secs(300), poll_fn(|cx| self.0.poll_recv(cx))).await {
                Ok(Some(Ok(Message::Ping(_)))) => {}
                Ok(Some(Ok(message))) => return message,
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next message, pings left out.
    async fn hear(&mut self) -> Value {
        loop {
            let Message::Text(text) = self.next().await else {
                panic!("not text");
            };
            let heard: Value = serde_json::from_slice(&text).unwrap();
            if heard["kind"] != "ping" {
                return heard;
            }
        }
    }

    async fn closed(&mut self) -> (u16, String) {
        loop {
            if let Message::Close(code, reason) = self.next().await {
                return (code, reason);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_plugin_without_any_feature_is_typed_by_hand() {
    let hub = hub();
    let (mut typed, welcome) = Typed::registered(&hub, json!([])).await;
    assert_eq!(
        (&welcome["kind"], &welcome["features"]),
        (&json!("welcome"), &json!([]))
    );
    let creating = create(&hub);
    let asked = typed.hear().await;
    assert_eq!(asked["headers"]["interlink-http-session"], "CreatePod#1");
    assert_eq!(asked["body"]["pod"]["metadata"]["uid"], crate::fake::UID);
    typed
        .say(
            &json!({"v": 1, "kind": "response", "id": asked["id"], "status": 201,
            "body": {"PodUID": crate::fake::UID, "PodJID": "42"}, "error": null}),
        )
        .await;
    assert_eq!(creating.await.unwrap().unwrap().pod_jid, "42");
    let polled = typed.hear().await;
    assert_eq!(polled["path"], "/status");
    typed
        .say(
            &json!({"v": 1, "kind": "response", "id": polled["id"], "status": 200, "body": [{"name": "demo",
            "UID": crate::fake::UID, "namespace": "default", "JID": "42", "containers": [{"name": "main",
                "state": {"running": {"startedAt": "2026-09-01T10:00:00Z"}}}]}]}),
        )
        .await;
    until("running", || hub.pods()[0].phase == "Running").await;
    let statuses = hub.status(Some("p"), &[pod()]).await.unwrap();
    assert!(statuses[0].containers[0].state.running.is_some());
}

#[tokio::test(start_paused = true)]
async fn another_version_of_the_envelope_is_refused_with_a_reason() {
    let mut typed = Typed::new(&hub());
    typed
        .say(&json!({"v": 2, "kind": "register", "plugin": "p"}))
        .await;
    let told = typed.hear().await;
    assert_eq!((&told["kind"], &told["code"]), (&json!("goaway"), &json!(4502)));
    assert!(told["retry_after_ms"].as_u64().unwrap() >= 300_000);
    let (code, reason) = typed.closed().await;
    assert!(code == 4502 && reason.contains("v is 2"), "{code} {reason}");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_wrong_closes_with_the_code_of_the_binary_link_and_names_the_field() {
    let register = || json!({"v": 1, "kind": "register", "plugin": "p", "instance": "i"}).to_string();
    for (first, code, text) in [
        (Message::Binary(register().into()), 1003, "text messages"),
        (Message::Text("{\"v\":1".into()), 1007, "too early"),
        (
            Message::Text(r#"{"v":1,"kind":"register","plugin":7}"#.into()),
            1007,
            "plugin",
        ),
        (
            Message::Text(r#"{"v":1,"kind":"ping","id":"1"}"#.into()),
            4504,
            "Register",
        ),
        (
            Message::Text(r#"{"v":1,"kind":"register","plugin":"No Label"}"#.into()),
            4504,
            "RFC 1123",
        ),
    ] {
        let mut typed = Typed::new(&hub());
        typed.send(first).await;
        let (closed, reason) = typed.closed().await;
        assert!(
            closed == code && reason.contains(text),
            "{closed} {reason}, expected {code} {text}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_json_cannot_carry_is_never_in_force() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut with = registration("one");
    with.features = ["zstd", "http", "events", "flow_control"]
        .map(str::to_owned)
        .to_vec();
    let link = connect_as(&hub, &site, with).await;
    assert_eq!(link.welcome.features, ["flow_control", "events"]);
}

#[tokio::test(start_paused = true)]
async fn an_op_that_the_hub_does_not_know_is_answered_and_unknown_kinds_are_not() {
    let hub = hub();
    let (mut typed, _) = Typed::registered(&hub, json!(["events"])).await;
    typed
        .say(&json!({"v": 1, "kind": "weather", "id": "1", "body": "rain"}))
        .await;
    typed
        .say(&json!({"v": 1, "kind": "request", "id": "1", "op": "GET", "path": "/weather", "body": null}))
        .await;
    let answer = typed.hear().await;
    assert_eq!(
        (&answer["kind"], &answer["id"], &answer["status"]),
        (&json!("response"), &json!("1"), &json!(501))
    );
    assert_eq!(answer["error"]["reason"], "NO_SUCH_OP");
}

#[tokio::test(start_paused = true)]
async fn a_bad_answer_fails_its_call_and_the_link_goes_on() {
    let hub = hub();
    let (mut typed, _) = Typed::registered(&hub, json!(["events"])).await;
    let creating = create(&hub);
    // What a plugin fails with is tried once more.
    for attempt in 1..=2 {
        let asked = typed.hear().await;
        assert_eq!(asked["attempt"], attempt);
        typed
            .say(&json!({"v": 1, "kind": "response", "id": asked["id"], "status": 200, "body": "ok"}))
            .await;
    }
    let told = creating.await.unwrap().unwrap_err().message;
    assert!(told.contains("POST /create") && told.contains("body"), "{told}");
    let creating = create(&hub);
    let asked = typed.hear().await;
    typed
        .say(&json!({"v": 1, "kind": "response", "id": asked["id"], "status": 200, "body": {"PodJID": "7"}}))
        .await;
    assert_eq!(creating.await.unwrap().unwrap().pod_jid, "7");
}

#[tokio::test(start_paused = true)]
async fn a_link_that_stands_ends_with_the_same_codes() {
    for (message, code, text) in [
        (Message::Binary("{}".into()), 1003, "text messages"),
        (Message::Text("nonsense".into()), 1007, "not JSON"),
        (
            Message::Text(r#"{"v":3,"kind":"pong","id":"1"}"#.into()),
            4502,
            "v is 3",
        ),
        (
            Message::Text(r#"{"v":1,"kind":"register","plugin":"p"}"#.into()),
            4504,
            "handshake is over",
        ),
        (
            Message::Text(
                r#"{"v":1,"id":"4","kind":"request","op":"GET","path":"/status","body":[]}"#.into(),
            ),
            4504,
            "other parity",
        ),
    ] {
        let (mut typed, _) = Typed::registered(&hub(), json!([])).await;
        typed.send(message).await;
        let (closed, reason) = typed.closed().await;
        assert!(
            closed == code && reason.contains(text),
            "{closed} {reason}, expected {code} {text}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn credit_counts_the_bytes_of_a_log_and_not_their_text() {
    let hub = hub();
    let (mut typed, _) = Typed::registered(&hub, json!(["events", "flow_control"])).await;
    let query = || LogQuery {
        pod: PodRef::new(crate::fake::UID, "default", "demo"),
        container: "main".into(),
        options: LogOptions {
            follow: true,
            ..LogOptions::default()
        },
        start: None,
        meta: crate::fake::meta(),
    };
    let opening = tokio::spawn({
        let hub = hub.clone();
        async move {
            loop {
                // Refused while the hub still applies the first read.
                if let Ok(viewer) = hub.logs(Some("p"), query()).await {
                    return viewer;
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
    });
    let open = typed.hear().await;
    let (id, credit) = (open["id"].clone(), open["credit"].as_u64().unwrap());
    let chunk = |offset: u64, data: &str| json!({"v": 1, "id": id, "kind": "logChunk", "epoch": 1, "offset": offset, "data": data});
    typed.say(&chunk(0, "")).await;
    let mut viewer = opening.await.unwrap();
    assert!(viewer.next().await.unwrap().unwrap().data.is_empty());

    // In text each of these bytes takes six: the credit would be gone at once.
    let piece = "\u{1}".repeat(30_000);
    let cost = 30_000 + 64;
    let mut offset = 0;
    for _ in 0..(credit - 64) / cost {
        typed.say(&chunk(offset, &piece)).await;
        offset += 30_000;
    }
    let mut read = 0;
    while read < offset {
        read += viewer.next().await.unwrap().unwrap().data.len() as u64;
    }
    let granted = typed.hear().await;
    assert_eq!((&granted["kind"], &granted["id"]), (&json!("credit"), &id));
    assert!(granted["bytes"].as_u64().unwrap() > cost, "{granted}");

    // More than any credit: the stream ends, and the plugin is told.
    for _ in 0..100 {
        typed.say(&chunk(offset, &piece)).await;
        offset += 30_000;
    }
    while typed.hear().await["kind"] != "cancelStream" {}
    assert!(hub.ping(Some("p")).is_ok(), "the link stands");
}
