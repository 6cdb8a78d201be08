//! What of a head travels on, both ways, and what there is beside plain requests.

use std::collections::BTreeSet;

use hyper::header::{AUTHORIZATION, COOKIE};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use towline::http::{HttpConfig, Token};

use crate::{
    client::{none, send, to},
    site::{Hubs, Site, bridge},
    upstream::Upstream,
};

#[tokio::test]
async fn fields_of_one_connection_and_the_callers_own_do_not_reach_the_plugin() {
    let site = Site::start().await;
    let request = to("GET", "/fields")
        .header("connection", "x-local, close")
        .header("x-local", "1")
        .header("te", "trailers")
        .header("proxy-authorization", "Basic x")
        .header("authorization", "Bearer secret")
        .header("cookie", "session=secret")
        .header("forwarded", "for=192.0.2.1")
        .header("x-forwarded-for", "192.0.2.1")
        .header("x-forwarded-host", "evil.example.org")
        .header("x-real-ip", "192.0.2.1")
        .header("accept", "text/plain")
        .header("x-twice", "1")
        .header("x-twice", "2")
        .header("interlink-http-session", "Probe#1")
        .body(none())
        .unwrap();
    let (code, text) = send(&site.hubs.address, request).await.text().await;
    assert_eq!(code, 200);
    let fields: Vec<(String, String)> = serde_json::from_str(&text).unwrap();
    let names: BTreeSet<&str> = fields.iter().map(|field| field.0.as_str()).collect();
    let expected = ["accept", "host", "interlink-http-session", "via", "x-twice"];
    assert_eq!(names.into_iter().collect::<Vec<_>>(), expected);
    let value = |name| {
        fields
            .iter()
            .filter(|field| field.0 == name)
            .map(|field| field.1.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        value("host"),
        [site.upstream.address.trim_start_matches("http://")]
    );
    assert_eq!(value("x-twice"), ["1", "2"]);
    assert_eq!(value("interlink-http-session"), ["Probe#1"]);
}

#[tokio::test]
async fn fields_of_one_connection_and_of_the_hubs_address_do_not_come_back() {
    let site = Site::start().await;
    let answer = site.hubs.get("/told").await;
    let headers = answer.answer.headers();
    for name in ["x-hop", "keep-alive", "set-cookie", "connection"] {
        assert!(!headers.contains_key(name), "{name}");
    }
    assert_eq!(
        (&headers["x-end"], &headers["www-authenticate"]),
        (&"2".parse().unwrap(), &"Basic".parse().unwrap())
    );
    assert_eq!(headers["content-security-policy"], "sandbox");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert!(
        headers["interlink-http-session"]
            .to_str()
            .unwrap()
            .starts_with("Request-")
    );
}

#[tokio::test]
async fn a_token_is_asked_for_and_stays_at_the_hub_unless_it_is_told_to_pass_it_on() {
    for forward in [false, true] {
        let http = HttpConfig {
            token: Some(Token::new("s3cret").unwrap()),
            forward_authorization: forward,
            ..HttpConfig::default()
        };
        let upstream = Upstream::start(None).await;
        let (backend, _dir) = bridge(&upstream.address, |_| {}).await;
        let mut hubs = Hubs::start(towline::hub::HubConfig::default(), http).await;
        hubs.plugin("p1", backend, Some("s3cret")).await;
        assert_eq!(hubs.get("/fields").await.text().await.0, 401);
        let wrong = to("GET", "/fields")
            .header(AUTHORIZATION, "Bearer other")
            .body(none())
            .unwrap();
        assert_eq!(send(&hubs.address, wrong).await.text().await.0, 403);
        assert_eq!(upstream.asked(), [""; 0]);
        let right = to("GET", "/fields")
            .header(AUTHORIZATION, "Bearer s3cret")
            .header(COOKIE, "a=b")
            .body(none())
            .unwrap();
        let (code, text) = send(&hubs.address, right).await.text().await;
        assert_eq!(code, 200);
        assert_eq!(text.contains("s3cret"), forward, "{text}");
        assert_eq!(text.contains("a=b"), forward, "{text}");
    }
}

#[tokio::test]
async fn answers_without_a_body_keep_what_they_say() {
    let site = Site::start().await;
    let head = site.hubs.ask("HEAD", "/system-info").await;
    assert_eq!(
        (
            head.answer.status().as_u16(),
            &head.answer.headers()["content-length"]
        ),
        (200, &"13".parse().unwrap())
    );
    assert_eq!(head.whole().await.1, "");
    for (path, code) in [("/nothing", 204), ("/same", 304)] {
        let answer = site.hubs.get(path).await;
        assert!(
            !answer.answer.headers().contains_key("transfer-encoding"),
            "{path}"
        );
        assert_eq!(answer.text().await, (code, String::new()), "{path}");
    }
    assert_eq!(site.hubs.get("/same").await.answer.headers()["etag"], "\"1\"");
    assert_eq!(
        site.hubs.get("/unheard-of").await.text().await,
        (404, "404 page not found".to_owned())
    );
}

#[tokio::test]
async fn a_redirect_is_passed_on_and_not_followed() {
    let site = Site::start().await;
    let moved = site.hubs.get("/moved").await;
    assert_eq!(
        (
            moved.answer.status().as_u16(),
            &moved.answer.headers()["location"]
        ),
        (302, &"/system-info".parse().unwrap())
    );
    assert_eq!(site.upstream.asked(), ["GET /moved"]);
}

#[tokio::test]
async fn any_method_is_passed_on_as_it_is() {
    let site = Site::start().await;
    for method in [
        "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "report",
    ] {
        assert_eq!(
            site.hubs.ask(method, "/system-info").await.text().await.0,
            200,
            "{method}"
        );
        assert_eq!(
            site.upstream.asked().last().unwrap(),
            &format!("{method} /system-info")
        );
    }
}

#[tokio::test]
async fn a_client_that_waits_for_100_gets_it_only_from_a_hub_that_takes_the_body() {
    let site = Site::start().await;
    let mut socket = TcpStream::connect(&site.hubs.address).await.unwrap();
    let head = "POST /plugins/p1/http/sum HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\
        connection: close\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    socket.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(b"abc").await.unwrap();
    let mut said = String::new();
    socket.read_to_string(&mut said).await.unwrap();
    assert!(
        said.starts_with("HTTP/1.1 200") && said.contains("\r\n\r\n3 "),
        "{said}"
    );

    let elsewhere = head.replace("/p1/", "/p2/");
    let said = crate::client::raw(&site.hubs.address, &elsewhere).await;
    assert!(said.starts_with("HTTP/1.1 404"), "{said}");
}
