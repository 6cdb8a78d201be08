//! interLink's calls and the API with a plugin on the link.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use towline::{
    code::{CloseCode, Code, reason},
    wire::PodRef,
};

use super::{
    client::{PATIENCE, Served, UID, create_body, logs_body, pod, served},
    fake::{Fake, Seen, wait_for},
};

const CONTAINERS: [&str; 6] = ["main", "quiet", "broken", "none", "rotated", "halves"];

/// A hub, its plugin, and the pod created and running.
async fn with_pod() -> (Served, Fake) {
    let hub = served().await;
    let mut plugin = Fake::join(&hub, "site-a").await;
    let created = hub.ask("POST", "/create", &[], create_body()).await;
    assert_eq!(created.status, 200, "{}", created.text());
    plugin.next_seen().await;
    plugin.running(PodRef::new(UID, "demo", "hello"), &CONTAINERS);
    wait_for(&hub, || {
        hub.hub
            .find_pod("demo", "hello")
            .is_some_and(|pod| pod.phase == "Running")
    })
    .await;
    (hub, plugin)
}

fn logs_of(container: &str) -> String {
    logs_body(|body| body["ContainerName"] = json!(container))
}

#[tokio::test]
async fn a_create_answers_the_job_to_every_method_and_once_more() {
    let hub = served().await;
    let mut plugin = Fake::join(&hub, "site-a").await;
    for (method, path) in [
        ("POST", "/create"),
        ("PUT", "/create"),
        ("GET", "/nodes/site-a/create"),
    ] {
        let headers = [
            ("interlink-http-session", "CreatePod#1"),
            ("content-type", "text/html"),
        ];
        let answer = hub.ask(method, path, &headers, create_body()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json(), json!({"PodUID": UID, "PodJID": "job-1"}));
    }
    assert_eq!(
        plugin.next_seen().await,
        Seen::Create {
            session: "CreatePod#1".to_owned()
        }
    );
    assert!(plugin.seen.try_recv().is_err(), "the plugin was asked once");
}

#[tokio::test]
async fn a_create_goes_on_when_its_client_goes_away() {
    let hub = served().await;
    let mut plugin = Fake::join(&hub, "site-a").await;
    plugin.open.send(false).unwrap();
    let body = create_body();
    let mut client = TcpStream::connect(&hub.addr).await.unwrap();
    let head = format!(
        "POST /create HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    client.write_all(head.as_bytes()).await.unwrap();
    assert!(matches!(plugin.next_seen().await, Seen::Create { .. }));
    drop(client);
    let (again, ()) = tokio::join!(hub.ask("POST", "/create", &[], body), async {
        plugin.open.send(true).unwrap();
    });
    assert_eq!((again.status, &again.json()["PodJID"]), (200, &json!("job-1")));
    assert!(plugin.seen.try_recv().is_err(), "the plugin was asked once");
}

#[tokio::test]
async fn a_refusal_is_passed_on_word_for_word_on_one_line() {
    let hub = served().await;
    let plugin = Fake::join(&hub, "site-a").await;
    plugin.refuse(
        Code::FailedPrecondition,
        reason::SUBMIT_REJECTED,
        "sbatch: error: QOS limit\nuse -q long",
    );
    let refused = hub.ask("POST", "/create", &[], create_body()).await;
    assert_eq!(
        (refused.status, refused.text()),
        (422, "sbatch: error: QOS limit use -q long\n")
    );
    plugin.refuse(Code::Internal, reason::PLUGIN_ERROR, "no space left on device");
    let failed = hub.ask("POST", "/create", &[], create_body()).await;
    assert_eq!((failed.status, failed.text()), (500, "no space left on device\n"));
}

#[tokio::test]
async fn a_pod_that_cannot_be_right_is_400() {
    let hub = served().await;
    let _plugin = Fake::join(&hub, "site-a").await;
    let mut request: Value = serde_json::from_str(&create_body()).unwrap();
    request["pod"]["metadata"]["uid"] = json!("../../etc");
    let answer = hub.ask("POST", "/create", &[], request.to_string()).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.text().contains("uid"), "{}", answer.text());
}

#[tokio::test]
async fn the_status_is_of_the_asked_pods_that_are_known() {
    let (hub, _plugin) = with_pod().await;
    let mut other = pod();
    other["metadata"]["uid"] = json!("00000000-0000-4000-8000-000000000000");
    let answer = hub
        .ask("GET", "/status", &[], json!([other, pod()]).to_string())
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let list = answer.json();
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
    assert_eq!((&list[0]["UID"], &list[0]["JID"]), (&json!(UID), &json!("job-1")));
    assert_eq!(
        list[0]["containers"].as_array().map(Vec::len),
        Some(1),
        "completed by the asked spec"
    );
    assert!(list[0]["containers"][0]["state"]["running"].is_object());
}

#[tokio::test]
async fn a_delete_is_200_and_carries_the_grace_of_kubectl() {
    let (hub, mut plugin) = with_pod().await;
    let mut pod = pod();
    pod["metadata"]["deletionGracePeriodSeconds"] = json!(5);
    let answer = hub.ask("DELETE", "/delete", &[], pod.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(plugin.next_seen().await, Seen::Delete { grace: Some(5) });
}

#[tokio::test]
async fn the_ping_says_what_the_plugin_has() {
    let hub = served().await;
    let _plugin = Fake::join(&hub, "site-a").await;
    for path in ["/pinglink", "/nodes/site-a/pinglink"] {
        let answer = hub.ask("POST", path, &[], "").await;
        assert_eq!(
            (answer.status, &answer.json()["resources"]["cpu"]),
            (200, &json!("8")),
            "{path}"
        );
    }
    assert_eq!(
        hub.ask("POST", "/nodes/site-b/pinglink", &[], "").await.status,
        503
    );
}

#[tokio::test]
async fn a_log_comes_byte_for_byte() {
    let (hub, _plugin) = with_pod().await;
    let answer = hub.ask("GET", "/getLogs", &[], logs_of("main")).await;
    assert_eq!(
        (answer.status, &answer.body[..]),
        (200, &b"one\ntwo\n\xff\xfe"[..])
    );
    assert_eq!(answer.header("transfer-encoding"), "chunked");
}

#[tokio::test]
async fn a_log_is_200_before_its_first_byte_and_is_cancelled_when_the_client_goes() {
    let (hub, mut plugin) = with_pod().await;
    let response = hub.open("GET", "/getLogs", &[], logs_of("quiet")).await;
    assert_eq!(response.status(), 200);
    drop(response);
    assert_eq!(plugin.next_seen().await, Seen::LogCancelled);
}

#[tokio::test]
async fn a_log_that_cannot_be_finished_is_aborted() {
    let (hub, _plugin) = with_pod().await;
    let response = hub.open("GET", "/getLogs", &[], logs_of("broken")).await;
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    let first = tokio::time::timeout(PATIENCE, body.frame())
        .await
        .expect("a frame")
        .unwrap()
        .unwrap();
    assert_eq!(first.into_data().unwrap(), "half of it", "what there was is sent");
    let ended = tokio::time::timeout(PATIENCE, body.frame())
        .await
        .expect("an end");
    assert!(matches!(ended, Some(Err(_))), "no last chunk");
}

#[tokio::test]
async fn missing_bytes_of_a_log_are_one_line_each_and_counted() {
    let (hub, _plugin) = with_pod().await;
    let answer = hub.ask("GET", "/getLogs", &[], logs_of("rotated")).await;
    let expected = "one\ntw\n[towline: at least 100 bytes of this log are missing here]\nsix\n\
                    [towline: at least 5 bytes of this log are missing here]\nend";
    assert_eq!((answer.status, answer.text()), (200, expected));
    let metrics = hub.get("/metrics").await;
    assert!(
        metrics.text().contains("\ntowline_log_gap_bytes_total 105\n"),
        "{}",
        metrics.text()
    );
}

#[tokio::test]
async fn a_followed_log_goes_on_with_the_instance_that_takes_over() {
    let (hub, first) = with_pod().await;
    first.open.send(false).unwrap();
    let body = logs_body(|body| {
        body["ContainerName"] = json!("halves");
        body["Opts"]["Follow"] = json!(true);
    });
    let mut body = hub.open("GET", "/getLogs", &[], body).await.into_body();
    let half = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(half, "the first half, ");
    let _second = Fake::join_as(&hub, "site-a", "instance-2").await;
    assert_eq!(first.link.ended().await.code, CloseCode::SUPERSEDED);
    let rest = tokio::time::timeout(PATIENCE, body.collect())
        .await
        .expect("the rest");
    assert_eq!(rest.unwrap().to_bytes(), "the second half");
}

#[tokio::test]
async fn a_log_that_cannot_be_opened_is_the_mapped_error() {
    let (hub, _plugin) = with_pod().await;
    let answer = hub.ask("GET", "/getLogs", &[], logs_of("none")).await;
    assert_eq!(
        (answer.status, answer.text()),
        (404, "container none has no log\n")
    );
}

const LOG: &str = "/api/v1/namespaces/demo/pods/hello/log";

#[tokio::test]
async fn the_api_tells_positions_so_that_a_reader_can_go_on() {
    let (hub, _plugin) = with_pod().await;
    let raw = hub.get(&format!("{LOG}?container=main&position=3:4")).await;
    assert_eq!((raw.status, raw.header("towline-log-position")), (200, "3:4"));
    assert_eq!(&raw.body[..], b"two\n\xff\xfe");

    let lines = hub.get(&format!("{LOG}?container=main&positions=true")).await;
    let lines: Vec<Value> = lines
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (end, chunks) = lines.split_last().unwrap();
    assert_eq!(
        *end,
        json!({"end": {"epoch": 3, "offset": 10, "eof": true, "reset": false}})
    );
    // How many chunks they are depends on which of them waited.
    let mut whole = Vec::new();
    for chunk in chunks {
        assert_eq!(
            (&chunk["epoch"], &chunk["gap_bytes"], chunk["offset"].as_u64()),
            (&json!(3), &json!(0), Some(whole.len() as u64))
        );
        whole.extend(
            BASE64_STANDARD
                .decode(chunk["data_b64"].as_str().unwrap())
                .unwrap(),
        );
        assert_eq!(chunk["next_offset"], whole.len());
    }
    assert_eq!(whole, b"one\ntwo\n\xff\xfe");

    let broken = hub.get(&format!("{LOG}?container=broken&positions=true")).await;
    let last: Value = serde_json::from_str(broken.text().lines().last().unwrap()).unwrap();
    assert_eq!(last["error"]["reason"], reason::CORRUPT);
}

#[tokio::test]
async fn an_unknown_container_is_404_and_names_the_known_ones() {
    let (hub, _plugin) = with_pod().await;
    let answer = hub.get(&format!("{LOG}?container=mian")).await;
    assert_eq!(answer.status, 404);
    assert!(
        answer.text().contains("main, quiet, broken, none"),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn the_api_shows_pods_and_plugins_and_deletes() {
    let (hub, mut plugin) = with_pod().await;
    let pods = hub.get("/api/v1/pods?plugin=site-a&namespace=demo").await.json();
    assert_eq!(
        (&pods["items"][0]["uid"], &pods["items"][0]["phase"]),
        (&json!(UID), &json!("Running"))
    );
    assert_eq!(
        hub.get("/api/v1/pods?plugin=site-b").await.json(),
        json!({"items": []})
    );
    assert_eq!(
        hub.get("/api/v1/namespaces/demo/pods/hello").await.json()["plugin"],
        "site-a"
    );
    let shown = hub.get("/api/v1/plugins/site-a").await.json();
    assert_eq!(
        (&shown["connected"], &shown["type"]),
        (&json!(true), &json!("fake"))
    );
    assert!(
        shown["remote"].as_str().unwrap().starts_with("127.0.0.1:"),
        "{shown}"
    );

    let path = "/api/v1/namespaces/demo/pods/hello?grace_seconds=2";
    let deleted = hub.ask("DELETE", path, &[], "").await;
    assert_eq!((deleted.status, &deleted.json()["uid"]), (200, &json!(UID)));
    assert_eq!(plugin.next_seen().await, Seen::Delete { grace: Some(2) });
}

#[tokio::test]
async fn a_connected_plugin_is_not_forgotten_but_an_offline_one_is() {
    let hub = served().await;
    let plugin = Fake::join(&hub, "site-a").await;
    let refused = hub.ask("DELETE", "/api/v1/plugins/site-a", &[], "").await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    plugin.link.close(CloseCode::NORMAL, "done");
    wait_for(&hub, || hub.hub.plugins().iter().all(|plugin| !plugin.connected)).await;
    assert_eq!(
        hub.ask("DELETE", "/api/v1/plugins/site-a", &[], "").await.status,
        200
    );
    assert_eq!(hub.get("/api/v1/plugins/site-a").await.status, 404);
}

#[tokio::test]
async fn a_watch_starts_with_what_is_there_and_goes_on() {
    let (hub, plugin) = with_pod().await;
    let response = hub
        .open("GET", "/api/v1/events?watch=true&kind=pod", &[], "")
        .await;
    let mut body = response.into_body();
    let mut next = async || {
        let frame = tokio::time::timeout(PATIENCE, body.frame())
            .await
            .expect("an event")
            .unwrap()
            .unwrap();
        serde_json::from_slice::<Value>(&frame.into_data().unwrap()).unwrap()
    };
    let first = next().await;
    assert_eq!(
        (&first["type"], &first["kind"], &first["object"]["uid"]),
        (&json!("ADDED"), &json!("pod"), &json!(UID))
    );
    hub.ask("DELETE", "/delete", &[], pod().to_string()).await;
    drop(plugin);
    let second = next().await;
    assert_eq!(second["kind"], "pod");
    assert_ne!(second["type"], "ADDED");
}

#[tokio::test]
async fn a_followed_log_does_not_hold_up_the_shutdown() {
    let (mut hub, mut plugin) = with_pod().await;
    let body = logs_body(|body| {
        body["ContainerName"] = json!("quiet");
        body["Opts"]["Follow"] = json!(true);
    });
    let response = hub.open("GET", "/getLogs", &[], body).await;
    hub.stop();
    assert!(
        response.into_body().collect().await.is_err(),
        "aborted, not ended"
    );
    assert_eq!(plugin.next_seen().await, Seen::LogCancelled);
    hub.stopped().await;
}
