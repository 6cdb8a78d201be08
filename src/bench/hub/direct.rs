//! What the hub is compared with: an axum handler that parses the same body and answers by itself.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{Json, Router, body::Body, extract::State, http::StatusCode, routing::any};
use bytes::Bytes;
use futures::stream;
use serde::de::DeserializeOwned;

use super::client::LETTER;
use crate::{
    bench::http::Served,
    interlink::{ContainerStatus, CreateStruct, LogStruct, Pod, PodCreateRequests, PodStatus},
};

#[derive(Clone)]
struct Log {
    chunk: Bytes,
    chunks: Arc<AtomicU64>,
}

pub(super) async fn start(chunk: usize, chunks: Arc<AtomicU64>) -> anyhow::Result<Served> {
    let log = Log {
        chunk: vec![LETTER; chunk].into(),
        chunks,
    };
    let router = Router::new()
        .route("/create", any(create))
        .route("/delete", any(delete))
        .route("/status", any(status))
        .route("/getLogs", any(logs))
        .with_state(log);
    Served::start(router).await
}

type Refused = (StatusCode, String);

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}

async fn create(body: Bytes) -> Result<Json<CreateStruct>, Refused> {
    let request: PodCreateRequests = parsed(&body)?;
    let uid = request.pod.uid();
    Ok(Json(CreateStruct {
        pod_uid: uid.to_owned(),
        pod_jid: super::whole::job(uid),
    }))
}

async fn delete(body: Bytes) -> Result<&'static str, Refused> {
    parsed::<Pod>(&body).map(|_| "Pod deleted\n")
}

async fn status(body: Bytes) -> Result<Json<Vec<PodStatus>>, Refused> {
    let pods: Vec<Pod> = parsed(&body)?;
    let states = pods.iter().map(|pod| {
        let mut container = ContainerStatus {
            name: "httpbin".to_owned(),
            ready: true,
            ..ContainerStatus::default()
        };
        container.state.running = Some(crate::interlink::Running::default());
        PodStatus {
            name: pod.name().to_owned(),
            uid: pod.uid().to_owned(),
            namespace: pod.namespace().to_owned(),
            jid: super::whole::job(pod.uid()),
            containers: vec![container],
            init_containers: Vec::new(),
        }
    });
    Ok(Json(states.collect()))
}

async fn logs(State(log): State<Log>, body: Bytes) -> Result<Body, Refused> {
    parsed::<LogStruct>(&body)?;
    let chunks = (0..log.chunks.load(Ordering::Relaxed))
        .map(move |_| Ok::<_, std::convert::Infallible>(log.chunk.clone()));
    Ok(Body::from_stream(stream::iter(chunks)))
}
