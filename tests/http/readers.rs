//! Log readers that are too many, stand still, or vanish.

use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use towline::{
    http::{HttpConfig, Surface},
    hub::HubConfig,
    limits,
};

use super::{
    client::{PATIENCE, Served, create_body, logs_body},
    fake::{Fake, Seen},
};

/// A log that says nothing and goes on.
fn quiet() -> String {
    logs_body(|body| {
        body["ContainerName"] = json!("quiet");
        body["Opts"]["Follow"] = json!(true);
    })
}

async fn site(budget: u64) -> (Served, Fake) {
    let config = HubConfig {
        log_budget: budget,
        ..HubConfig::default()
    };
    let hub = Served::with(config, HttpConfig::default(), Surface::ALL).await;
    let mut plugin = Fake::join(&hub, "site-a").await;
    let created = hub.ask("POST", "/create", &[], create_body()).await;
    assert_eq!(created.status, 200, "{}", created.text());
    assert!(matches!(plugin.next_seen().await, Seen::Create { .. }));
    (hub, plugin)
}

/// A reader on a socket of its own, whose answer has begun.
async fn reader(hub: &Served) -> TcpStream {
    let mut stream = TcpStream::connect(&hub.addr).await.unwrap();
    let body = quiet();
    let request = format!(
        "GET /getLogs HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n{body}",
        hub.addr,
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    stream
}

#[tokio::test]
async fn one_log_too_many_is_429_with_a_reason_and_the_others_go_on() {
    let (hub, mut plugin) = site(2 * limits::LOG_CREDIT_FLOWING).await;
    let mut first = hub.open("GET", "/getLogs", &[], quiet()).await;
    let second = reader(&hub).await;
    for (path, body) in [
        ("/getLogs", quiet()),
        ("/api/v1/namespaces/demo/pods/hello/log", String::new()),
    ] {
        let refused = hub.ask("GET", path, &[], body).await;
        assert_eq!(refused.status, 429, "{}", refused.text());
        assert!(
            refused.text().contains("2 logs are being read through this hub"),
            "{}",
            refused.text()
        );
        assert_ne!(refused.header("retry-after"), "");
    }
    // Those that are open stay so, and all but logs is answered.
    let silence = timeout(Duration::from_millis(100), first.body_mut().frame()).await;
    assert!(silence.is_err(), "{silence:?}");
    assert_eq!(hub.ask("GET", "/status", &[], "[]").await.status, 200);
    drop(second);
    assert_eq!(plugin.next_seen().await, Seen::LogCancelled);
    let again = async { while hub.ask("GET", "/getLogs", &[], logs_body(|_| {})).await.status != 200 {} };
    timeout(PATIENCE, again).await.expect("room again");
}

#[tokio::test]
async fn a_reader_that_goes_with_a_reset_frees_its_stream() {
    let (hub, mut plugin) = site(limits::HUB_LOG_BUDGET).await;
    let stream = reader(&hub).await;
    socket2::SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(stream);
    assert_eq!(plugin.next_seen().await, Seen::LogCancelled);
    let free = async {
        while !hub.hub.metrics_text().contains("towline_log_streams_open 0\n") {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, free).await.expect("the stream is free");
}
