//! What is answered when a request does not get through.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use hyper::Request;
use towline::{http::HttpConfig, hub::HubConfig, limits};

use crate::{
    client::{none, pieces, send, to, whole},
    own::Plain,
    site::{Hubs, Site, bridge},
    upstream::Upstream,
};

#[tokio::test]
async fn a_plugin_that_is_not_known_away_or_without_endpoints_is_said_to_be() {
    let mut site = Site::start().await;
    site.hubs.plugin("plain", Plain, None).await;
    let ask = |name: &str| {
        let uri = format!("/plugins/{name}/http/system-info");
        let request = Request::get(uri)
            .header("host", "localhost")
            .body(none())
            .unwrap();
        let address = site.hubs.address.clone();
        async move { send(&address, request).await.text().await }
    };
    let (code, text) = ask("other").await;
    assert!(code == 404 && text.contains("\"other\""), "{code} {text}");
    let (code, text) = ask("plain").await;
    assert!(
        code == 501 && text.contains("`http`") && text.contains("--backend rest"),
        "{code} {text}"
    );
    site.hubs.stop_plugins().await;
    let (code, text) = site.hubs.get("/system-info").await.text().await;
    assert!(
        code == 503 && text.contains("p1 is not connected"),
        "{code} {text}"
    );
}

#[tokio::test]
async fn a_hub_or_a_bridge_that_is_set_so_passes_nothing_through() {
    let off = HubConfig {
        http_passthrough: false,
        ..HubConfig::default()
    };
    for (hub, endpoints, word) in [
        (off, true, "hub.http_passthrough"),
        (HubConfig::default(), false, "offers no HTTP"),
    ] {
        let upstream = Upstream::start(None).await;
        let (backend, _dir) = bridge(&upstream.address, |config| config.endpoints = endpoints).await;
        let mut hubs = Hubs::start(hub, HttpConfig::default()).await;
        hubs.plugin("p1", backend, None).await;
        let (code, text) = hubs.get("/system-info").await.text().await;
        assert!(code == 501 && text.contains(word), "{code} {text}");
        assert_eq!(upstream.asked(), [""; 0]);
    }
}

#[tokio::test]
async fn an_upstream_that_keeps_silent_is_504_and_one_that_is_gone_503() {
    let site = Site::with(HttpConfig::default(), |config| {
        config.answer_timeout = Duration::from_millis(200);
    })
    .await;
    let (code, text) = site.hubs.get("/hang").await.text().await;
    assert!(
        code == 504 && text.contains("did not answer within 0.2 s"),
        "{code} {text}"
    );
    site.upstream.until_open(0).await;
    let (code, text) = site.hubs.get("/fat").await.text().await;
    assert!(code == 502 && text.contains("16384"), "{code} {text}");

    let gone = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (backend, _dir) = bridge(&format!("http://{gone}"), |_| {}).await;
    let mut hubs = Hubs::start(HubConfig::default(), HttpConfig::default()).await;
    hubs.plugin("p1", backend, None).await;
    let (code, text) = hubs.get("/system-info").await.text().await;
    assert!(code == 503 && text.contains("cannot be reached"), "{code} {text}");
}

#[tokio::test]
async fn heads_and_bodies_over_their_limits_are_refused() {
    let http = HttpConfig {
        passthrough_max_body: 1_000,
        ..HttpConfig::default()
    };
    let site = Site::with(http, |_| {}).await;
    let known = to("POST", "/sum").body(whole(vec![1; 1_001])).unwrap();
    let unknown = futures::stream::iter([600, 401]).map(|len| Ok(Bytes::from(vec![1; len])));
    let unknown = to("POST", "/sum").body(pieces(unknown)).unwrap();
    for request in [known, unknown] {
        let (code, text) = send(&site.hubs.address, request).await.text().await;
        assert!(
            code == 413 && text.contains("hub.passthrough_max_body"),
            "{code} {text}"
        );
    }
    site.upstream.until_open(0).await;
    let fits = to("POST", "/sum").body(whole(vec![1; 1_000])).unwrap();
    assert_eq!(send(&site.hubs.address, fits).await.text().await.0, 200);
    let long = "x".repeat(limits::HTTP_PASSED_HEAD);
    let long = to("GET", "/fields").header("x-long", long).body(none()).unwrap();
    assert_eq!(send(&site.hubs.address, long).await.text().await.0, 431);
    let upgrade = to("GET", "/fields")
        .header("connection", "upgrade")
        .header("upgrade", "websocket");
    let (code, text) = send(&site.hubs.address, upgrade.body(none()).unwrap())
        .await
        .text()
        .await;
    assert!(code == 501 && text.contains("WebSocket"), "{code} {text}");
}

#[tokio::test]
async fn creates_go_on_while_as_many_requests_hang_as_there_are_calls() {
    let site = Site::start().await;
    let most = (limits::MAX_CALLS / limits::BODY_CALLS_SHARE) as usize;
    let ask = || {
        let request = to("GET", "/hang").body(none()).unwrap();
        let address = site.hubs.address.clone();
        tokio::spawn(async move { send(&address, request).await.text().await })
    };
    let hanging: Vec<_> = (0..most).map(|_| ask()).collect();
    site.upstream.until_open(most).await;
    for _ in most..limits::MAX_CALLS as usize {
        let (code, text) = ask().await.unwrap();
        assert!(code == 429 && text.contains("8 HTTP requests"), "{code} {text}");
    }
    let (code, text) = site.hubs.create().await;
    assert!(code == 200 && text.contains("42"), "{code} {text}");
    for one in hanging {
        one.abort();
    }
    site.upstream.until_open(0).await;
    // Their slots come back when the plugin has said that they ended.
    let again = async {
        while site.hubs.get("/system-info").await.text().await.0 != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::site::PATIENCE, again).await.unwrap();
}
