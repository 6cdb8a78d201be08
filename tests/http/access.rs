//! Who is let in: the token, the origin of a browser, the name by which the hub is called.

use towline::{
    http::{HttpConfig, Surface},
    hub::HubConfig,
};

use super::client::{Served, create_body, served_with_token};
use super::edge::CALLS;

#[tokio::test]
async fn without_the_token_only_the_probes_answer() {
    let hub = served_with_token("s3cret").await;
    for path in CALLS
        .into_iter()
        .chain(["/ws", "/metrics", "/api/v1/pods", "/nodes/a/create", "/nowhere"])
    {
        let answer = hub.get(path).await;
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{path}");
    }
    assert_eq!(hub.get("/healthz").await.status, 200);
    assert!(matches!(hub.get("/readyz").await.status, 200 | 503));
}

#[tokio::test]
async fn a_wrong_token_is_403_and_the_right_one_is_let_in() {
    let hub = served_with_token("s3cret").await;
    let wrong = hub
        .ask("GET", "/api/v1/pods", &[("authorization", "Bearer other")], "")
        .await;
    assert_eq!(wrong.status, 403);
    assert_eq!(wrong.json()["error"]["code"], "PERMISSION_DENIED");
    let right = hub
        .ask("GET", "/api/v1/pods", &[("authorization", "Bearer s3cret")], "")
        .await;
    assert_eq!(right.status, 200);
    assert_eq!(hub.dial(&[("authorization", "Bearer other")]).await.status, 403);
    assert_eq!(hub.dial(&[]).await.status, 401);
    assert_eq!(hub.dial(&[("authorization", "Bearer s3cret")]).await.status, 101);
}

#[tokio::test]
async fn a_browser_is_refused_unless_its_origin_is_allowed() {
    let config = HttpConfig {
        allowed_origins: vec!["https://dash.example".to_owned()],
        ..HttpConfig::default()
    };
    let hub = Served::with(HubConfig::default(), config, Surface::ALL).await;
    let evil = hub.dial(&[("origin", "https://evil.example")]).await;
    assert_eq!(evil.status, 403);
    assert!(evil.text().contains("Origin"), "{}", evil.text());
    assert_eq!(hub.dial(&[("origin", "https://dash.example")]).await.status, 101);
    let post = hub
        .ask("POST", "/create", &[("origin", "null")], create_body())
        .await;
    assert_eq!(post.status, 403);
}

#[tokio::test]
async fn a_page_that_points_its_own_name_here_is_refused() {
    let config = HttpConfig {
        allowed_hosts: Some(vec!["hub.lab".to_owned()]),
        ..HttpConfig::default()
    };
    let hub = Served::with(HubConfig::default(), config, Surface::ALL).await;
    let evil = ("host", "evil.example:3000");
    for path in ["/pinglink", "/nodes/a/create", "/metrics", "/healthz", "/nowhere"] {
        let answer = hub.ask("POST", path, &[evil], "").await;
        assert_eq!(answer.status, 421, "{path}");
        assert!(answer.text().contains("--allowed-host"), "{}", answer.text());
    }
    let api = hub.ask("GET", "/api/v1/pods", &[evil], "").await;
    assert_eq!(api.json()["error"]["code"], "PERMISSION_DENIED");
    assert_eq!(hub.dial(&[evil]).await.status, 421);
    for good in [
        "localhost:3000",
        "127.0.0.1",
        "[::1]:3000",
        "unix",
        "hub.lab:3000",
    ] {
        let answer = hub.ask("GET", "/api/v1/pods", &[("host", good)], "").await;
        assert_eq!(answer.status, 200, "{good}");
    }
    assert_eq!(hub.dial(&[]).await.status, 101);
    assert!(
        hub.raw(b"GET /healthz HTTP/1.0\r\n\r\n")
            .await
            .starts_with("HTTP/1.0 200")
    );
    let metrics = hub.get("/metrics").await;
    assert!(metrics.text().contains("reason=\"host\""), "{}", metrics.text());
}
