//! Which paths reach the plugin.

use crate::{
    client::raw,
    site::{Hubs, Site, bridge},
    upstream::Upstream,
};

async fn ask(address: &str, method: &str, path: &str) -> (u16, String) {
    let text = format!(
        "{method} /plugins/p1/http{path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{{}}"
    );
    let said = raw(address, &text).await;
    let code = said.split(' ').nth(1).and_then(|code| code.parse().ok());
    (code.unwrap_or_default(), said)
}

#[tokio::test]
async fn interlinks_own_calls_cannot_be_made_however_they_are_written() {
    let site = Site::start().await;
    for (path, expected) in [
        ("/create", 403),
        ("/create/", 403),
        ("/create?x", 403),
        ("/Create", 403),
        ("/%63reate", 403),
        ("/create;x=1", 403),
        ("/create%20", 403),
        ("/delete", 403),
        ("/status", 403),
        ("/getLogs", 403),
        ("/getlogs/", 403),
        ("//create", 400),
        ("/./create", 400),
        ("/x/../create", 400),
        ("/x/..;/create", 400),
        ("/%2e/create", 400),
        ("/%2e%2e/create", 400),
        ("/x%2f..%2fcreate", 400),
        ("/x%5c..%5ccreate", 400),
        ("/%2563reate", 400),
        ("/create%00", 400),
        ("/create%", 400),
        ("/create\\", 400),
        ("/create#x", 403),
    ] {
        for method in ["POST", "GET", "PATCH"] {
            let (code, said) = ask(&site.hubs.address, method, path).await;
            assert_eq!(code, expected, "{method} {path}: {said}");
        }
    }
    assert_eq!(site.upstream.asked(), [""; 0]);
    let (code, said) = ask(&site.hubs.address, "POST", "/create").await;
    assert!(
        code == 403 && said.contains("/create is one of interLink's own calls"),
        "{said}"
    );
}

#[tokio::test]
async fn the_upstreams_own_path_comes_first_and_cannot_be_left() {
    let upstream = Upstream::start(None).await;
    let (backend, _dir) = bridge(&format!("{}/base/", upstream.address), |_| {}).await;
    let mut hubs = Hubs::start(Default::default(), Default::default()).await;
    hubs.plugin("p1", backend, None).await;
    assert_eq!(hubs.get("/system-info").await.text().await.0, 200);
    assert_eq!(upstream.asked(), ["GET /base/system-info"]);
    for path in [
        "/../system-info",
        "/x/../../system-info",
        "/%2e%2e/system-info",
        "/..%2fsystem-info",
    ] {
        assert_eq!(ask(&hubs.address, "GET", path).await.0, 400, "{path}");
    }
    assert_eq!(upstream.asked().len(), 1);
    for path in ["", "/"] {
        assert_eq!(
            hubs.get(path).await.text().await.0,
            404,
            "there is nothing at the upstream's /base/"
        );
        assert_eq!(upstream.asked().last().unwrap(), "GET /base/");
    }
}
