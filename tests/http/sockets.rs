//! The same calls over a Unix socket and over TLS.

use serde_json::{Value, json};
use towline::{
    http::{HttpConfig, Surface, Token},
    transport::{Listener, ServerTls, TlsConfig},
    wire::PodRef,
};

use super::{
    client::{Served, UID, create_body, logs_body, pod, served},
    fake::{Fake, Seen, wait_for},
};

/// All six calls of a virtual kubelet on one connection kind, with `joined` the hub's listener for the link.
async fn six_calls(rest: &Served, joined: &Served, headers: &[(&str, &str)]) {
    let mut plugin = Fake::join(joined, "site-a").await;
    let session = "CreatePod#77";
    let headers = [headers, &[("InterLink-Http-Session", session)]].concat();
    for prefix in ["", "/nodes/site-a"] {
        let ask = async |method: &str, call: &str, body: String| {
            let answer = rest.ask(method, &format!("{prefix}{call}"), &headers, body).await;
            assert_eq!(answer.status, 200, "{prefix}{call}: {}", answer.text());
            assert_eq!(answer.header("interlink-http-session"), session);
            answer
        };
        let ping = ask("POST", "/pinglink", String::new()).await.json();
        assert_eq!(ping["resources"]["cpu"], "8");
        let created = ask("POST", "/create", create_body()).await.json();
        assert_eq!(created, json!({"PodUID": UID, "PodJID": "job-1"}));
        if prefix.is_empty() {
            let seen = Seen::Create {
                session: session.to_owned(),
            };
            assert_eq!(plugin.next_seen().await, seen, "the session reaches the plugin");
            plugin.running(PodRef::new(UID, "demo", "hello"), &["main"]);
            let runs = || {
                rest.hub
                    .find_pod("demo", "hello")
                    .is_some_and(|pod| pod.phase == "Running")
            };
            wait_for(rest, runs).await;
        }
        let states: Value = ask("GET", "/status", json!([pod()]).to_string()).await.json();
        assert_eq!(states[0]["UID"], UID);
        let log = ask("GET", "/getLogs", logs_body(|_| {})).await;
        assert_eq!(&log.body[..], b"one\ntwo\n\xff\xfe");
        assert_eq!(
            ask("POST", "/updateCache", pod().to_string()).await.text(),
            "Updated cache"
        );
        plugin.running(PodRef::new(UID, "demo", "hello"), &["main"]);
    }
    for prefix in ["", "/nodes/site-a"] {
        let answer = rest
            .ask("DELETE", &format!("{prefix}/delete"), &headers, pod().to_string())
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(plugin.next_seen().await, Seen::Delete { grace: None });
    }
}

#[tokio::test]
async fn a_virtual_kubelet_may_use_a_unix_socket() {
    let joined = served().await;
    let dir = tempfile::tempdir().unwrap();
    let address = format!("unix://{}", dir.path().join("hub.sock").display());
    let listener = Listener::bind(&address, None).await.unwrap();
    let config = HttpConfig {
        allowed_hosts: Some(Vec::new()),
        ..HttpConfig::default()
    };
    let rest = Served::on(
        listener,
        &address,
        TlsConfig::default(),
        joined.hub.clone(),
        config,
        Surface::REST,
    );
    six_calls(&rest, &joined, &[("host", "unix")]).await;
}

#[tokio::test]
async fn a_virtual_kubelet_may_use_tls_with_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(path("hub.pem"), signed.cert.pem()).unwrap();
    std::fs::write(path("hub.key"), signed.signing_key.serialize_pem()).unwrap();
    let shown = ServerTls {
        cert_file: path("hub.pem"),
        key_file: path("hub.key"),
    };
    let listener = Listener::bind("127.0.0.1:0", Some(shown.server_config().unwrap()))
        .await
        .unwrap();
    let port = listener.local_addr().rsplit(':').next().unwrap().to_owned();
    let joined = served().await;
    let config = HttpConfig {
        token: Some(Token::new("s3cret").unwrap()),
        ..HttpConfig::default()
    };
    let trusting = TlsConfig {
        ca_file: Some(path("hub.pem")),
        ..TlsConfig::default()
    };
    let endpoint = format!("https://localhost:{port}");
    let rest = Served::on(
        listener,
        &endpoint,
        trusting,
        joined.hub.clone(),
        config,
        Surface::REST,
    );
    assert_eq!(rest.ask("POST", "/pinglink", &[], "").await.status, 401);
    six_calls(&rest, &joined, &[("authorization", "Bearer s3cret")]).await;
    // Plain HTTP on this port ends the connection instead of hanging it, and the next client is served.
    assert!(
        !rest
            .raw(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .contains("200")
    );
    assert_eq!(rest.get("/healthz").await.status, 200);
}
