//! What most would do instead: HTTP/1.1 with JSON. axum answers, hyper asks, connections are kept alive.
//!
//! HTTP/1.1 has one request at a time on a connection, so each caller has its own. A log goes as a chunked upload from
//! the plugin to the hub.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use anyhow::ensure;
use axum::{Json, Router, body::Body, extract::State, http::StatusCode, routing::post};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Request,
    body::Frame,
    client::conn::http1::{SendRequest, handshake},
    header,
    server::conn::http1,
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Mutex,
};
use tokio_util::task::AbortOnDropHandle;

use super::{Caller, Setup, calling, chunks, payload};
use crate::bench::Contender;

/// The fields of the link's request.
#[derive(Serialize, Deserialize)]
struct Create {
    pod: Named,
    payload: Box<RawValue>,
    timeout_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct Named {
    uid: String,
    namespace: String,
    name: String,
}

#[derive(Serialize, Deserialize)]
struct Created {
    job_id: String,
    existed: bool,
}

#[derive(Serialize, Deserialize)]
struct Uploaded {
    bytes: u64,
}

pub(super) async fn calls(name: &'static str, setup: Setup) -> anyhow::Result<Contender<'static>> {
    let (at, serving) = serve(setup).await?;
    let mut callers = Vec::new();
    for _ in 0..setup.connections * setup.callers {
        callers.push(Client::connect(at).await?);
    }
    Ok(calling(name, callers, serving))
}

pub(super) async fn logs(name: &'static str, setup: Setup) -> anyhow::Result<Contender<'static>> {
    let (at, serving) = serve(setup).await?;
    let client = Arc::new(Mutex::new(Client::connect(at).await?));
    Ok(Contender::new(name, move |amount| {
        let _ = &serving;
        let client = client.clone();
        async move {
            let total = amount * setup.chunk as u64;
            let uploading = async move { client.lock().await.upload(setup, total).await };
            tokio::spawn(uploading).await??;
            Ok(chunks(amount, setup.chunk))
        }
    }))
}

/// One connection that is kept alive.
struct Client {
    send: SendRequest<BoxBody<Bytes, Infallible>>,
    host: String,
    _connection: AbortOnDropHandle<()>,
}

impl Client {
    async fn connect(at: SocketAddr) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(at).await?;
        socket.set_nodelay(true)?;
        let (send, connection) = handshake(TokioIo::new(socket)).await?;
        let connection = tokio::spawn(async move {
            // How it ended is seen by who asks.
            let _ = connection.await;
        });
        Ok(Self {
            send,
            host: at.to_string(),
            _connection: AbortOnDropHandle::new(connection),
        })
    }

    async fn ask<T: for<'a> Deserialize<'a>>(
        &mut self,
        path: &'static str,
        kind: &'static str,
        body: BoxBody<Bytes, Infallible>,
    ) -> anyhow::Result<T> {
        let request = Request::post(path)
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, kind)
            .body(body)?;
        self.send.ready().await?;
        let response = self.send.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        ensure!(
            status == StatusCode::OK,
            "it was answered with {status}: {}",
            String::from_utf8_lossy(&body)
        );
        Ok(serde_json::from_slice(&body)?)
    }

    async fn upload(&mut self, setup: Setup, total: u64) -> anyhow::Result<()> {
        let offsets = (0..total).step_by(setup.chunk);
        let frames = offsets.map(move |offset| Ok(Frame::data((setup.answers.text)(offset, setup.chunk))));
        let body = BoxBody::new(StreamBody::new(stream::iter(frames)));
        let uploaded: Uploaded = self.ask("/logs", "text/plain", body).await?;
        ensure!(
            uploaded.bytes == total,
            "{} of {total} log bytes came",
            uploaded.bytes
        );
        Ok(())
    }
}

impl Caller for Client {
    async fn call(&mut self, number: u64) -> anyhow::Result<()> {
        let create = Create {
            pod: Named {
                uid: payload::uid_text(number),
                namespace: payload::NAMESPACE.to_owned(),
                name: payload::NAME.to_owned(),
            },
            payload: RawValue::from_string(payload::POD.to_owned())?,
            timeout_ms: payload::TIMEOUT_MS,
        };
        let body = BoxBody::new(Full::new(Bytes::from(serde_json::to_vec(&create)?)));
        let created: Created = self.ask("/create", "application/json", body).await?;
        payload::check_job(number, &created.job_id)
    }
}

async fn serve(setup: Setup) -> anyhow::Result<(SocketAddr, AbortOnDropHandle<()>)> {
    let router = Router::new()
        .route("/create", post(create))
        .route("/logs", post(take_log))
        .with_state(setup);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let at = listener.local_addr()?;
    let serving = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((socket, _)) = listener.accept().await {
            // A socket that refuses is slower, and seen as such.
            let _ = socket.set_nodelay(true);
            let service = TowerToHyperService::new(router.clone());
            connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
            while connections.try_join_next().is_some() {}
        }
    });
    Ok((at, AbortOnDropHandle::new(serving)))
}

async fn create(State(setup): State<Setup>, Json(create): Json<Create>) -> Json<Created> {
    Json(Created {
        job_id: (setup.answers.job_id)(&create.pod.uid),
        existed: false,
    })
}

async fn take_log(body: Body) -> Result<Json<Uploaded>, (StatusCode, String)> {
    let mut checked = payload::Checked::default();
    let mut wrong = None;
    let mut parts = body.into_data_stream();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
        // What follows is read all the same: an answer amid an upload would be lost with the connection.
        if wrong.is_none() {
            wrong = checked.take(&part).err();
        }
    }
    if let Some(error) = wrong {
        return Err((StatusCode::BAD_REQUEST, error.to_string()));
    }
    Ok(Json(Uploaded { bytes: checked.bytes }))
}
