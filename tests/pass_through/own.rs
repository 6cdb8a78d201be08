//! A plugin of one's own with endpoints of its own.

use bytes::Bytes;
use hyper::Request;
use towline::{
    code::Code,
    plugin::{Create, Created, Delete, Deleted, Handler, HttpAnswer, HttpCall, LogRequest, LogSink, Which},
    wire::{HttpHeader, HttpResponse, LogsEnd, NodeStatus, PodState, Status},
};

use crate::{
    client::{send, to, whole},
    site::Hubs,
};

/// A plugin without pods and endpoints.
pub(crate) struct Plain;

impl Handler for Plain {
    async fn create(&self, _: Create) -> Result<Created, Status> {
        Err(Status::new(Code::Unimplemented, "", "none"))
    }

    async fn delete(&self, _: Delete) -> Result<Deleted, Status> {
        Ok(Deleted::default())
    }

    async fn status(&self, _: Which) -> Result<Vec<PodState>, Status> {
        Ok(Vec::new())
    }

    async fn logs(&self, _: LogRequest, _: LogSink) -> Result<LogsEnd, Status> {
        Err(Status::new(Code::NotFound, "", "none"))
    }

    async fn node(&self) -> NodeStatus {
        NodeStatus {
            ready: true,
            ..NodeStatus::default()
        }
    }
}

/// The same with endpoints.
pub(crate) struct Own;

impl Handler for Own {
    async fn create(&self, create: Create) -> Result<Created, Status> {
        Plain.create(create).await
    }

    async fn delete(&self, delete: Delete) -> Result<Deleted, Status> {
        Plain.delete(delete).await
    }

    async fn status(&self, which: Which) -> Result<Vec<PodState>, Status> {
        Plain.status(which).await
    }

    async fn logs(&self, request: LogRequest, sink: LogSink) -> Result<LogsEnd, Status> {
        Plain.logs(request, sink).await
    }

    async fn node(&self) -> NodeStatus {
        Plain.node().await
    }

    fn endpoints(&self) -> bool {
        true
    }

    async fn http(&self, mut call: HttpCall, answer: HttpAnswer) -> Result<(), Status> {
        match (call.head.method.as_str(), call.head.path.as_str()) {
            ("GET", "/hello") => answer.whole(200, "text/plain", "hello\n").await,
            ("POST", "/count") => {
                let mut count = 0;
                while let Some(bytes) = call.body.next().await? {
                    count += bytes.len();
                }
                answer.whole(201, "text/plain", count.to_string()).await
            }
            ("GET", "/half") => {
                let mut body = answer.head(head(200)).await?;
                body.send(Bytes::from_static(b"half")).await?;
                Err(Status::new(Code::DataLoss, "", "the disk is gone"))
            }
            ("GET", "/continue") => answer.head(head(100)).await.map(drop),
            (_, "/hangs") => std::future::pending().await,
            ("GET", "/ticks") => {
                let mut body = answer.head(head(200)).await?;
                for _ in 0..10 {
                    body.send(Bytes::from_static(b"tick")).await?;
                    tokio::time::sleep(std::time::Duration::from_secs(500)).await;
                }
                std::future::pending().await
            }
            ("GET", "/silent") => Ok(()),
            ("GET", "/panics") => panic!("a bug"),
            _ => Err(Status::new(Code::NotFound, "", "no such endpoint")),
        }
    }
}

fn head(status: u32) -> HttpResponse {
    HttpResponse {
        status,
        headers: vec![
            HttpHeader::new("Connection", "x-own"),
            HttpHeader::new("X-Own", "1"),
        ],
    }
}

#[tokio::test]
async fn a_handler_serves_its_own_endpoints_through_any_shared_handle() {
    let mut hubs = Hubs::start(Default::default(), Default::default()).await;
    hubs.plugin("p1", std::sync::Arc::new(Own), None).await;
    let hello = hubs.get("/hello").await;
    assert_eq!(hello.answer.headers()["content-type"], "text/plain");
    assert_eq!(hello.text().await, (200, "hello\n".to_owned()));
    let count = to("POST", "/count").body(whole(vec![1; 300_000])).unwrap();
    assert_eq!(
        send(&hubs.address, count).await.text().await,
        (201, "300000".to_owned())
    );
    assert_eq!(
        hubs.get("/other").await.text().await,
        (404, "no such endpoint\n".to_owned())
    );
    for (path, word) in [
        ("/continue", "HTTP status 100"),
        ("/silent", "without a head"),
        ("/panics", "panicked"),
    ] {
        let (code, text) = hubs.get(path).await.text().await;
        assert!(code == 502 && text.contains(word), "{path}: {code} {text}");
    }
    let mut half = hubs.get("/half").await;
    assert_eq!(half.answer.status(), 200);
    assert!(!half.answer.headers().contains_key("x-own"));
    assert_eq!(half.next().await.unwrap().unwrap(), "half");
    assert!(half.next().await.unwrap().is_err());
    let list = Request::get("/api/v1/plugins/p1").header("host", "localhost");
    let list = list.body(crate::client::none()).unwrap();
    let (_, view) = send(&hubs.address, list).await.text().await;
    assert!(view.contains("\"http\""), "{view}");
}
