//! interLink's own bodies, and what is answered to what is wrong; the handler is a fake.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use towline::sidecar::SidecarConfig;

use crate::{
    client::{ask, logs_body, open, pod, retrieved, uid},
    fake::{Fake, Served},
};

fn sample(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/payloads/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

async fn served() -> Served {
    Served::start(Fake::default(), None, SidecarConfig::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_create_of_an_api_server_reaches_the_handler_word_for_word() {
    let served = served().await;
    let names = ["current_object", "gpu", "microservice", "projected"];
    for (n, name) in names.iter().enumerate() {
        let sent = sample(&format!("create_req.{name}"));
        let body: Value = serde_json::from_slice(&sent).unwrap();
        let meta = &body["pod"]["metadata"];
        let session = "InterLink-Http-Session: CreatePod#12345\r\n";
        let answer = open(&served.address, "POST", "/create", session, &sent).whole();
        let job = format!("job of {}", meta["name"].as_str().unwrap());
        assert_eq!(answer.code, 200, "{name}: {}", answer.text());
        assert_eq!(answer.json(), json!({"PodUID": meta["uid"], "PodJID": job}));
        assert!(
            answer.head.contains("interlink-http-session: createpod#12345"),
            "{}",
            answer.head
        );
        let create = served.fake.creates.lock().unwrap()[n].clone();
        assert_eq!(
            (create.payload.as_ref(), create.attempt),
            (&sent[..], 1),
            "{name}"
        );
        assert_eq!(create.metadata["interlink-http-session"], "CreatePod#12345");
    }
    // Asked again, in the form before interLink 0.5: the same answer, and no second job.
    let again = [b"[".as_slice(), &sample("create_req.gpu"), b"]"].concat();
    let answer = open(&served.address, "POST", "/create", "", &again).whole();
    assert_eq!(answer.code, 200, "{}", answer.text());
    assert_eq!(served.fake.creates.lock().unwrap().len(), names.len());
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_of_the_asked_pods_that_are_known_and_complete_by_their_spec() {
    let served = served().await;
    let known = pod(&uid(1), "true");
    assert_eq!(
        ask(&served.address, "POST", "/create", &retrieved(&known)).code,
        200
    );
    let mut wider = known.clone();
    wider["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "kept-back", "image": "x"}));
    let asked = json!([pod(&uid(9), "true"), wider]);
    let answer = ask(&served.address, "GET", "/status", &asked);
    assert_eq!(answer.code, 200, "{}", answer.text());
    let statuses = answer.json();
    assert_eq!(statuses.as_array().unwrap().len(), 1, "{statuses}");
    assert_eq!(statuses[0]["UID"], uid(1).as_str());
    assert_eq!(statuses[0]["JID"], "job of talker");
    let names: Vec<&str> = statuses[0]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|container| container["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["main", "kept-back"]);
    let sample: Value = serde_json::from_slice(&sample("status_req")).unwrap();
    assert_eq!(ask(&served.address, "GET", "/status", &sample).json(), json!([]));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_tells_the_node_and_a_plugin_that_takes_no_pods_is_not_healthy() {
    let served = served().await;
    let healthy = json!({"status": "ok", "resources": {"cpu": "4", "memory": "8Gi", "pods": "10"}});
    for empty in [json!([]), Value::Null] {
        let answer = ask(&served.address, "GET", "/status", &empty);
        assert_eq!((answer.code, answer.json()), (200, healthy.clone()));
    }
    *served.fake.not_ready.lock().unwrap() = Some("the disk is full".to_owned());
    let answer = ask(&served.address, "GET", "/status", &json!([]));
    assert_eq!((answer.code, answer.text().as_str()), (503, "the disk is full\n"));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_is_passed_on_with_its_pod_and_grace() {
    let served = served().await;
    let sent = sample("delete_req");
    let answer = open(&served.address, "POST", "/delete", "", &sent).whole();
    assert_eq!((answer.code, answer.text().as_str()), (200, "Pod deleted\n"));
    let delete = served.fake.deletes.lock().unwrap().pop().unwrap();
    let pod: Value = serde_json::from_slice(&sent).unwrap();
    assert_eq!(delete.pod_json.as_ref(), &sent[..]);
    assert_eq!(
        json!(delete.grace_seconds),
        pod["metadata"]["deletionGracePeriodSeconds"]
    );
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_in_one_line_with_its_place_and_never_with_its_value() {
    let served = served().await;
    let refused = {
        let mut pod = pod(&uid(1), "true");
        pod["metadata"]["name"] = json!("refused");
        retrieved(&pod).to_string().into_bytes()
    };
    let none = {
        let mut body = logs_body(&uid(1), &json!({}));
        body["ContainerName"] = json!("none");
        body.to_string().into_bytes()
    };
    let cases: [(&str, &str, Vec<u8>, u16, &str); 12] = [
        ("POST", "/create", refused, 400, "no queue for it"),
        ("POST", "/create", b"{\"pod\": \"hunter2\"}".to_vec(), 400, "pod"),
        ("POST", "/create", b"{\"pod\": ".to_vec(), 400, "line 1"),
        (
            "POST",
            "/create",
            sample("vk_create_req.microservice"),
            400,
            "PodCreateRequests",
        ),
        ("POST", "/create", b"[{}, {}]".to_vec(), 400, "2 items"),
        ("GET", "/create", b"{}".to_vec(), 405, "use POST"),
        ("POST", "/delete", b"hunter2".to_vec(), 400, "line 1"),
        ("GET", "/status", b"{\"hunter2\": 1}".to_vec(), 400, "array"),
        ("GET", "/getLogs", none, 404, "it has not started"),
        (
            "GET",
            "/getLogs",
            sample("logs_req.invalid_tail_and_bytes"),
            400,
            "Both Tail and LimitBytes set. Set only one of them",
        ),
        (
            "GET",
            "/getLogs",
            sample("logs_req.invalid_uid"),
            400,
            "invalid pod UID: must be a valid UUID",
        ),
        ("GET", "/metrics", Vec::new(), 404, "/getLogs"),
    ];
    for (method, path, body, code, says) in cases {
        let answer = open(&served.address, method, path, "", &body).whole();
        let text = answer.text();
        assert_eq!(answer.code, code, "{method} {path}: {text}");
        assert!(
            text.contains(says) && !text.contains("hunter2"),
            "{method} {path}: {text}"
        );
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    let wrong = open(&served.address, "PUT", "/delete", "", b"").whole();
    assert!(wrong.head.contains("allow: post, delete"), "{}", wrong.head);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_may_is_let_in_and_no_body_is_without_bound() {
    let dir = tempfile::tempdir().unwrap();
    let token_file = dir.path().join("token");
    let config = SidecarConfig {
        token_file: Some(token_file.clone()),
        allowed_hosts: Some(Vec::new()),
        max_body: 100,
        ..SidecarConfig::default()
    };
    let served = Served::start(Fake::default(), None, config).await;
    let ping = |headers: &str| open(&served.address, "GET", "/status", headers, b"[]").whole();
    let good = "Authorization: Bearer s3cret\r\n";
    assert_eq!(ping(good).code, 503, "there is no token yet");
    std::fs::write(&token_file, "s3cret\n").unwrap();
    assert_eq!(ping(good).code, 200);
    assert_eq!(ping("").code, 401);
    assert_eq!(ping("Authorization: Bearer other\r\n").code, 403);
    assert_eq!(ping(&format!("Origin: http://page.example\r\n{good}")).code, 403);
    assert_eq!(ping(&format!("Host: page.example\r\n{good}")).code, 421);
    let large = vec![b' '; 101];
    assert_eq!(
        open(&served.address, "GET", "/status", good, &large).whole().code,
        413
    );
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_log_is_held_up_by_its_reader_and_ends_when_the_reader_goes_or_the_plugin_stops() {
    let served = served().await;
    let follow = logs_body(&uid(1), &json!({"Follow": true})).to_string();
    let mut reader = open(&served.address, "GET", "/getLogs", "", follow.as_bytes());
    assert_eq!(reader.code, 200);
    assert_eq!(reader.bytes(1 << 20)[..3], *b"xxx");
    drop(reader);
    served.fake.log_ended.0.acquire().await.unwrap().forget();
    // Sockets take a few MiB; a log that is not held up would have gone on for ever.
    assert!(served.fake.chunks.load(Ordering::SeqCst) * (64 << 10) < 64 << 20);

    let mut reader = open(&served.address, "GET", "/getLogs", "", follow.as_bytes());
    reader.bytes(1);
    let reading = tokio::task::spawn_blocking(move || reader.ends_cut_off());
    let ended = served.fake.log_ended.clone();
    served.stop().await;
    ended.0.acquire().await.unwrap().forget();
    assert!(reading.await.unwrap(), "it must not look complete");
}

#[tokio::test(flavor = "multi_thread")]
async fn creates_of_one_pod_that_come_at_once_are_one() {
    let fake = Fake {
        gate: Some(Semaphore::new(0)),
        ..Fake::default()
    };
    let served = Served::start(fake, None, SidecarConfig::default()).await;
    let body = retrieved(&pod(&uid(1), "true"));
    let tries: Vec<_> = (0..8)
        .map(|_| {
            let (address, body) = (served.address.clone(), body.clone());
            tokio::task::spawn_blocking(move || ask(&address, "POST", "/create", &body))
        })
        .collect();
    served.fake.gate.as_ref().unwrap().add_permits(1);
    for one in tries {
        let answer = one.await.unwrap();
        assert_eq!(
            answer.json(),
            json!({"PodUID": uid(1), "PodJID": "job of talker"})
        );
    }
    assert_eq!(served.fake.creates.lock().unwrap().len(), 1);
    served.stop().await;
}
