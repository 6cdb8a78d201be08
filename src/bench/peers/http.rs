//! What most would do instead: HTTP/1.1 with JSON. axum answers, hyper asks, connections are kept alive.
//!
//! HTTP/1.1 has one request at a time on a connection, so each caller has its own. A log goes as a chunked upload from
//! the plugin to the hub.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use anyhow::ensure;
use axum::{Json, Router, body::Body, extract::State, http::StatusCode, routing::post};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http_body_util::{Full, StreamBody, combinators::BoxBody};
use hyper::{Method, body::Frame};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::Mutex;

use super::{Caller, Setup, calling, chunks, payload};
use crate::bench::{
    Contender,
    http::{self, Served},
};

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
    let served = serve(setup).await?;
    let mut callers = Vec::new();
    for _ in 0..setup.connections * setup.callers {
        callers.push(Posting::connect(served.at).await?);
    }
    Ok(calling(name, callers, served))
}

pub(super) async fn logs(name: &'static str, setup: Setup) -> anyhow::Result<Contender<'static>> {
    let served = serve(setup).await?;
    let client = Arc::new(Mutex::new(Posting::connect(served.at).await?));
    Ok(Contender::new(name, move |amount| {
        let _ = &served;
        let client = client.clone();
        async move {
            let total = amount * setup.chunk as u64;
            let uploading = async move { client.lock().await.upload(setup, total).await };
            tokio::spawn(uploading).await??;
            Ok(chunks(amount, setup.chunk))
        }
    }))
}

type Client = http::Client<BoxBody<Bytes, Infallible>>;

/// One that posts.
struct Posting(Client);

impl Posting {
    async fn connect(at: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self(Client::connect(at).await?))
    }

    async fn ask<T: for<'a> Deserialize<'a>>(
        &mut self,
        path: &'static str,
        kind: &'static str,
        body: BoxBody<Bytes, Infallible>,
    ) -> anyhow::Result<T> {
        let answer = self.0.ask(Method::POST, path, kind, body).await?;
        Ok(serde_json::from_slice(&answer)?)
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

impl Caller for Posting {
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

async fn serve(setup: Setup) -> anyhow::Result<Served> {
    let router = Router::new()
        .route("/create", post(create))
        .route("/logs", post(take_log))
        .with_state(setup);
    Served::start(router).await
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
