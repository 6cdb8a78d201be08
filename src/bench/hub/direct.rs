//! What the hub is compared with: an axum handler that parses the same body and answers by itself.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{Json, Router, body::Body, extract::State, http::StatusCode, routing::any};
use bytes::Bytes;
use futures::stream;
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use serde::de::DeserializeOwned;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::task::AbortOnDropHandle;

use super::client::LETTER;
use crate::interlink::{ContainerStatus, CreateStruct, LogStruct, Pod, PodCreateRequests, PodStatus};

/// A server.
pub(super) struct Direct {
    pub(super) at: SocketAddr,
    _serving: AbortOnDropHandle<()>,
}

#[derive(Clone)]
struct Log {
    chunk: Bytes,
    chunks: Arc<AtomicU64>,
}

impl Direct {
    pub(super) async fn start(chunk: usize, chunks: Arc<AtomicU64>) -> anyhow::Result<Self> {
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
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let at = listener.local_addr()?;
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                // A socket that refuses is slower, and seen as such.
                let _ = socket.set_nodelay(true);
                let service = TowerToHyperService::new(router.clone());
                connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self {
            at,
            _serving: AbortOnDropHandle::new(serving),
        })
    }
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
