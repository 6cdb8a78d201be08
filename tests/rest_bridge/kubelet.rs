//! Asks a hub as the virtual kubelet asks.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// Nothing here takes this long; it only keeps a failing test from hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Of the hub at this address.
pub(crate) struct Kubelet {
    pub(crate) address: String,
}

impl Kubelet {
    /// One call as the virtual kubelet makes it.
    pub(crate) async fn open(&self, method: &str, path: &str, body: &Value) -> Response<Incoming> {
        let socket = TcpStream::connect(&self.address).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("interlink-http-session", "CreatePod#48211")
            .body(Full::new(Bytes::from(body.to_string())))
            .unwrap();
        sender.send_request(request).await.unwrap()
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, String) {
        let (code, body) = whole(self.open(method, path, body).await).await;
        (code, String::from_utf8_lossy(&body).into_owned())
    }

    pub(crate) async fn create(&self, uid: &str) -> (u16, String) {
        let body = json!({"pod": pod(uid), "configmaps": null, "secrets": null, "projectedvolumesmaps": null,
            "jobscriptURL": ""});
        self.ask("POST", "/create", &body).await
    }

    pub(crate) async fn delete(&self, uid: &str) -> (u16, String) {
        self.ask("DELETE", "/delete", &pod(uid)).await
    }

    /// What is answered when the state of this pod alone is asked for.
    pub(crate) async fn status(&self, uid: &str) -> String {
        let (code, body) = self.ask("GET", "/status", &json!([pod(uid)])).await;
        assert_eq!(code, 200, "{body}");
        body
    }

    /// Opens a log.
    pub(crate) async fn logs(&self, uid: &str, options: Value) -> Response<Incoming> {
        let mut body = json!({"Namespace": "vk", "PodUID": uid, "PodName": format!("pod-{}", &uid[34..]),
            "ContainerName": "main", "Opts": {"Tail": 0, "Bytes": 0, "Timestamps": false, "Follow": false,
            "Previous": false, "SinceSeconds": 0, "SinceTime": "0001-01-01T00:00:00Z"}});
        for (key, value) in options.as_object().unwrap() {
            body["Opts"][key] = value.clone();
        }
        self.open("GET", "/getLogs", &body).await
    }

    /// A log that ends.
    pub(crate) async fn log(&self, uid: &str, options: Value) -> (u16, Vec<u8>) {
        whole(self.logs(uid, options).await).await
    }
}

/// An answer that ends.
async fn whole(response: Response<Incoming>) -> (u16, Vec<u8>) {
    let code = response.status().as_u16();
    let body = tokio::time::timeout(PATIENCE, response.into_body().collect()).await;
    let body = body.expect("the answer ends").unwrap().to_bytes();
    (code, body.to_vec())
}

pub(crate) fn uid(n: u8) -> String {
    format!("6a2f41a3-c54c-4ce5-9d2e-7d0f6b1c0a{n:02x}")
}

pub(crate) fn pod(uid: &str) -> Value {
    json!({
        "metadata": {"name": format!("pod-{}", &uid[34..]), "namespace": "vk", "uid": uid},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox"}]},
    })
}
