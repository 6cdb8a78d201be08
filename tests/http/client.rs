//! A hub on a free port and a client that sends exactly what a test says.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};
use towline::{
    http::{HttpConfig, Surface, Token, router, serve},
    hub::{Hub, HubConfig},
    transport::{Endpoint, Listener, TlsConfig},
};

/// Long enough for a busy machine; only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A hub that serves until it is dropped.
pub(crate) struct Served {
    pub(crate) hub: Arc<Hub>,
    pub(crate) addr: String,
    endpoint: Endpoint,
    tls: TlsConfig,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

pub(crate) async fn served() -> Served {
    Served::with(HubConfig::default(), HttpConfig::default(), Surface::ALL).await
}

pub(crate) async fn served_with_token(token: &str) -> Served {
    let config = HttpConfig {
        token: Some(Token::new(token).unwrap()),
        ..HttpConfig::default()
    };
    Served::with(HubConfig::default(), config, Surface::ALL).await
}

impl Served {
    pub(crate) async fn with(hub: HubConfig, config: HttpConfig, surface: Surface) -> Self {
        let listener = Listener::bind("127.0.0.1:0", None).await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr());
        let hub = Hub::new(hub).unwrap();
        Self::on(listener, &endpoint, TlsConfig::default(), hub, config, surface)
    }

    /// On a listener of any kind, asked by `endpoint`.
    pub(crate) fn on(
        listener: Listener,
        endpoint: &str,
        tls: TlsConfig,
        hub: Arc<Hub>,
        config: HttpConfig,
        surface: Surface,
    ) -> Self {
        let addr = listener.local_addr();
        let (stop, stopped) = oneshot::channel::<()>();
        let max_connections = config.max_connections;
        let routes = router(hub.clone(), config, surface);
        let task = tokio::spawn(serve(listener, routes, max_connections, async {
            let _ = stopped.await;
        }));
        Self {
            hub,
            addr,
            endpoint: Endpoint::parse(endpoint).unwrap(),
            tls,
            stop: Some(stop),
            task,
        }
    }

    /// Begins the shutdown.
    pub(crate) fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// Waits until the shutdown is over.
    pub(crate) async fn stopped(&mut self) {
        tokio::time::timeout(PATIENCE, &mut self.task)
            .await
            .expect("serve ends")
            .unwrap();
    }

    pub(crate) async fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<Incoming> {
        let stream = self.endpoint.connect(&self.tls, PATIENCE).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", self.endpoint.host_header());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        tokio::time::timeout(PATIENCE, sender.send_request(request))
            .await
            .expect("an answer")
            .unwrap()
    }

    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let (parts, body) = self.open(method, path, headers, body).await.into_parts();
        let whole = tokio::time::timeout(PATIENCE, body.collect())
            .await
            .expect("a whole body");
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: whole.unwrap().to_bytes(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    /// A link upgrade with these headers changed: an empty value leaves one out.
    pub(crate) async fn dial(&self, changes: &[(&str, &str)]) -> Answer {
        let mut headers = vec![
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-protocol", "towline.v1.proto"),
        ];
        for (name, value) in changes {
            headers.retain(|(known, _)| known != name);
            if !value.is_empty() {
                headers.push((name, value));
            }
        }
        let response = self.open("GET", "/ws", &headers, "").await;
        let (parts, body) = response.into_parts();
        let body = if parts.status == 101 {
            Bytes::new()
        } else {
            body.collect().await.unwrap().to_bytes()
        };
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        }
    }

    /// Sends bytes as they are and reads until the hub closes.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.addr).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        rest(stream).await
    }
}

/// All that still comes, up to the end or a reset.
pub(crate) async fn rest(mut stream: TcpStream) -> String {
    let mut all = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut all))
        .await
        .expect("the end");
    String::from_utf8_lossy(&all).into_owned()
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub(crate) const UID: &str = "6a2f41a3-c54c-4ce5-9d2e-7d0f6b1c0a11";

/// A small pod with one container.
pub(crate) fn pod() -> Value {
    json!({
        "metadata": {"name": "hello", "namespace": "demo", "uid": UID},
        "spec": {
            "containers": [{"name": "main", "image": "busybox", "command": ["sh", "-c", "echo hello"]}],
            "restartPolicy": "Never",
        },
    })
}

pub(crate) fn create_body() -> String {
    json!({"pod": pod(), "configmaps": null, "secrets": null, "projectedvolumesmaps": null, "jobscriptURL": ""})
        .to_string()
}

pub(crate) fn logs_body(change: impl FnOnce(&mut Value)) -> String {
    let mut body = json!({
        "Namespace": "demo", "PodUID": UID, "PodName": "hello", "ContainerName": "main",
        "Opts": {"Tail": 0, "Bytes": 0, "Timestamps": false, "Follow": false, "Previous": false,
            "SinceSeconds": 0, "SinceTime": "0001-01-01T00:00:00Z"},
    });
    change(&mut body);
    body.to_string()
}
