//! What needs no plugin: who is let in, what is refused and how, the shape of the answers.

use serde_json::{Value, json};
use towline::{
    http::{HttpConfig, Surface},
    hub::HubConfig,
};

use super::client::{Served, UID, logs_body, pod, served};

pub(crate) const CALLS: [&str; 6] = [
    "/create",
    "/delete",
    "/status",
    "/getLogs",
    "/pinglink",
    "/updateCache",
];

#[tokio::test]
async fn a_link_is_taken_with_the_binary_subprotocol() {
    let hub = served().await;
    let answer = hub.dial(&[]).await;
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("sec-websocket-protocol"), "towline.v1.proto");
    // The example of RFC 6455 section 1.3.
    assert_eq!(
        answer.header("sec-websocket-accept"),
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
    let several = hub
        .dial(&[("sec-websocket-protocol", "other, towline.v1.proto")])
        .await;
    assert_eq!(several.status, 101);
}

#[tokio::test]
async fn an_upgrade_without_a_known_subprotocol_is_400_and_names_them() {
    let hub = served().await;
    for offered in ["", "graphql-ws", "towline.v1.protobuf"] {
        let answer = hub.dial(&[("sec-websocket-protocol", offered)]).await;
        assert_eq!(answer.status, 400, "{offered}");
        for name in ["towline.v1.proto ", "towline.v1.json "] {
            assert!(answer.text().contains(name), "{}", answer.text());
        }
    }
}

#[tokio::test]
async fn of_two_subprotocols_the_binary_one_is_taken() {
    let hub = served().await;
    for (offered, taken) in [
        ("towline.v1.json", "towline.v1.json"),
        ("towline.v1.json, towline.v1.proto", "towline.v1.proto"),
        ("towline.v2.json, towline.v1.json", "towline.v1.json"),
    ] {
        let answer = hub.dial(&[("sec-websocket-protocol", offered)]).await;
        assert_eq!(
            (answer.status, answer.header("sec-websocket-protocol")),
            (101, taken)
        );
    }
}

#[tokio::test]
async fn what_is_not_an_upgrade_is_told_so() {
    let hub = served().await;
    let plain = hub.get("/ws").await;
    assert_eq!((plain.status, plain.header("upgrade")), (426, "websocket"));
    assert_eq!(
        hub.ask("POST", "/ws", &[("upgrade", "websocket")], "")
            .await
            .status,
        426
    );
    let old = hub.dial(&[("sec-websocket-version", "8")]).await;
    assert_eq!((old.status, old.header("sec-websocket-version")), (400, "13"));
    assert_eq!(hub.dial(&[("sec-websocket-key", "short")]).await.status, 400);
    let cut = hub.dial(&[("connection", "keep-alive")]).await;
    assert_eq!(cut.status, 400);
    assert!(cut.text().contains("proxy"), "{}", cut.text());
}

#[tokio::test]
async fn the_session_header_is_echoed_or_made() {
    let hub = served().await;
    for path in ["/pinglink", "/create", "/api/v1/version"] {
        let given = hub
            .ask("POST", path, &[("InterLink-Http-Session", "CreatePod#12345")], "")
            .await;
        assert_eq!(
            given.header("interlink-http-session"),
            "CreatePod#12345",
            "{path}"
        );
        let made = hub.ask("POST", path, &[], "").await;
        let session = made.header("interlink-http-session");
        assert!(
            session.starts_with("Request-") && session.len() == 8 + 36,
            "{session}"
        );
    }
}

#[tokio::test]
async fn bad_json_is_400_with_its_place_and_without_its_values() {
    let hub = served().await;
    for path in ["/create", "/delete", "/status", "/getLogs"] {
        for prefix in ["", "/nodes/slurm1"] {
            let path = format!("{prefix}{path}");
            let answer = hub.ask("GET", &path, &[], r#"{"a": "hunter2" "b"}"#).await;
            assert_eq!(answer.status, 400, "{path}");
            let text = answer.text();
            assert!(
                text.starts_with("bad JSON") && text.contains("line 1, column"),
                "{path}: {text}"
            );
            assert!(
                !text.contains("hunter2") && text.trim_end().lines().count() == 1,
                "{path}: {text}"
            );
            assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
            let empty = hub.ask("POST", &path, &[], "").await;
            assert!(
                empty.status == 400 && empty.text().contains("empty"),
                "{path}: {}",
                empty.text()
            );
        }
    }
}

#[tokio::test]
async fn a_body_of_another_shape_is_told_in_words_of_json() {
    let hub = served().await;
    for path in ["/create", "/delete", "/getLogs", "/nodes/slurm1/create"] {
        for (body, found) in [
            (r#"["hunter2"]"#, "a list"),
            (r#""hunter2""#, "string"),
            ("null", "null"),
        ] {
            let answer = hub.ask("POST", path, &[], body).await;
            assert_eq!(answer.status, 400, "{path} {body}");
            let said = format!("expected an object, found {found} at the top");
            assert!(answer.text().contains(&said), "{path} {body}: {}", answer.text());
            assert!(
                !answer.text().contains("line 0"),
                "{path} {body}: {}",
                answer.text()
            );
        }
    }
    let inner = hub.ask("POST", "/create", &[], r#"{"pod": null}"#).await;
    assert!(
        inner.text().contains("expected an object, found null at pod"),
        "{}",
        inner.text()
    );
}

#[tokio::test]
async fn a_list_of_no_pods_may_be_null_as_go_writes_it() {
    let hub = served().await;
    for body in ["null", "[]"] {
        let answer = hub.ask("GET", "/status", &[], body).await;
        assert_eq!((answer.status, answer.text()), (200, "[]"));
    }
}

#[tokio::test]
async fn log_requests_are_checked_as_interlink_does() {
    let hub = served().await;
    let both = logs_body(|body| body["Opts"] = json!({"Tail": 10, "Bytes": 1024}));
    let bad_uid = logs_body(|body| body["PodUID"] = json!("../../etc/passwd"));
    let spans =
        logs_body(|body| body["Opts"] = json!({"SinceSeconds": 1, "SinceTime": "2026-01-01T00:00:00Z"}));
    for (body, said) in [
        (both, "Both Tail and LimitBytes set. Set only one of them"),
        (bad_uid, "invalid pod UID: must be a valid UUID"),
        (spans, "Both SinceSeconds and SinceTime set. Set only one of them"),
    ] {
        let answer = hub.ask("GET", "/getLogs", &[], body).await;
        assert_eq!((answer.status, answer.text().trim_end()), (400, said));
    }
}

#[tokio::test]
async fn the_cache_takes_a_pod_or_a_uid() {
    let hub = served().await;
    for body in [pod().to_string(), UID.to_owned(), format!("\"{UID}\"\n")] {
        let answer = hub.ask("POST", "/updateCache", &[], body).await;
        assert_eq!((answer.status, answer.text()), (200, "Updated cache"));
    }
    for body in ["", "{}", "../x", "[]"] {
        assert_eq!(
            hub.ask("POST", "/updateCache", &[], body).await.status,
            400,
            "{body}"
        );
    }
}

#[tokio::test]
async fn without_a_plugin_the_ping_is_503_with_a_short_reason() {
    let hub = served().await;
    for path in ["/pinglink", "/nodes/slurm1/pinglink"] {
        let answer = hub.ask("POST", path, &[], "").await;
        assert_eq!(answer.status, 503);
        assert!(
            answer.json()["reason"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        );
    }
    let status = hub.ask("GET", "/status", &[], "[]").await;
    assert_eq!((status.status, status.text()), (200, "[]"));
}

#[tokio::test]
async fn the_api_lists_and_says_what_it_does_not_know() {
    let hub = served().await;
    for path in [
        "/api/v1/plugins",
        "/api/v1/pods",
        "/api/v1/pods?namespace=a&plugin=b",
        "/api/v1/events",
    ] {
        let answer = hub.get(path).await;
        assert_eq!(
            (answer.status, answer.json()),
            (200, json!({"items": []})),
            "{path}"
        );
    }
    let version = hub.get("/api/v1/version").await.json();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    for path in [
        "/api/v1/plugins/a",
        "/api/v1/namespaces/a/pods/b",
        "/api/v1/namespaces/a/pods/b/log",
        "/api/v1/x",
    ] {
        let answer = hub.get(path).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]["code"]),
            (404, &json!("NOT_FOUND")),
            "{path}"
        );
    }
    let method = hub.ask("POST", "/api/v1/pods", &[], "").await;
    assert_eq!(method.status, 405);
    assert!(method.header("allow").contains("GET"));
}

#[tokio::test]
async fn unknown_query_keys_are_named() {
    let hub = served().await;
    for path in [
        "/api/v1/version",
        "/api/v1/plugins",
        "/api/v1/pods",
        "/api/v1/events",
        "/api/v1/namespaces/a/pods/b/log",
    ] {
        let answer = hub.get(&format!("{path}?namespcae=x")).await;
        assert_eq!(answer.status, 400, "{path}");
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains("namespcae"), "{path}: {message}");
    }
    for query in [
        "tail=x",
        "position=1",
        "position=1:x",
        "follow=maybe",
        "since_time=now",
        "since_seconds=1&since_time=2026-01-01T00:00:00Z",
    ] {
        let answer = hub.get(&format!("/api/v1/namespaces/a/pods/b/log?{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
    }
}

#[tokio::test]
async fn every_path_of_the_document_is_served_with_its_method() {
    let hub = served().await;
    let document = hub.get("/api/v1/openapi.json").await.json();
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| ["get", "post", "delete"].contains(&key.as_str()))
        {
            let path = path
                .replace("{plugin}", "p")
                .replace("{name}", "n")
                .replace("{namespace}", "ns");
            let answer = hub.ask(&method.to_uppercase(), &path, &[], "").await;
            let unserved = answer.text().contains("no such path") || answer.status == 405;
            assert!(!unserved, "{method} {path}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn metrics_and_readiness_are_for_machines() {
    let hub = served().await;
    let metrics = hub.get("/metrics").await;
    assert!(
        metrics
            .header("content-type")
            .starts_with("application/openmetrics-text; version=1.0.0")
    );
    assert!(metrics.text().ends_with("# EOF\n"), "{}", metrics.text());
    let ready = hub.get("/readyz").await;
    let failing = ready.json()["failing"].as_array().unwrap().len();
    assert_eq!(ready.status, if failing == 0 { 200 } else { 503 });
}

#[tokio::test]
async fn a_listener_serves_its_part_only() {
    let parts = [
        (Surface::REST, "/pinglink", ["/ws", "/api/v1/pods", "/metrics"]),
        (Surface::LINK, "/ws", ["/pinglink", "/api/v1/pods", "/metrics"]),
        (
            Surface::ADMIN,
            "/api/v1/pods",
            ["/ws", "/pinglink", "/nodes/a/pinglink"],
        ),
    ];
    for (surface, there, elsewhere) in parts {
        let hub = Served::with(HubConfig::default(), HttpConfig::default(), surface).await;
        assert_ne!(hub.get(there).await.status, 404, "{surface:?}");
        assert_eq!(hub.get("/healthz").await.status, 200, "{surface:?}");
        for path in elsewhere {
            assert_eq!(hub.get(path).await.status, 404, "{surface:?} {path}");
        }
    }
}

#[tokio::test]
async fn a_watch_ends_with_a_reason_at_shutdown_and_serve_returns() {
    let mut hub = served().await;
    let response = hub.open("GET", "/api/v1/events?watch=true", &[], "").await;
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    hub.stop();
    let body = http_body_util::BodyExt::collect(response.into_body())
        .await
        .unwrap()
        .to_bytes();
    let last: Value = serde_json::from_slice(body.trim_ascii()).unwrap();
    assert_eq!(last["error"]["reason"], "DRAINING");
    hub.stopped().await;
}
