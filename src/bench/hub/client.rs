//! The virtual kubelet's side: one HTTP/1.1 connection a caller.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Method;
use serde_json::Value;

use crate::{
    bench::http,
    interlink::{CreateStruct, PodStatus},
};

/// How many pods the hub knows while states are asked for.
pub(super) const KNOWN: u64 = 100;

/// A create as the virtual kubelet sends it: a web server with probes, limits and mounts.
const CREATE: &str = include_str!("../../../tests/payloads/golden/vk_create_req.microservice.json");
const UID: &str = "3f0c9d0e-8f0b-4c53-9e1b-5d2f9a4b7c11";
const NAME: &str = "httpbin-6d9f7c5b8-x2k4q";
const NAMESPACE: &str = "test";
/// What a log has in it.
pub(super) const LETTER: u8 = b'x';

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Create,
    Delete,
    Status,
    /// As a state, but again until the pod is told to run.
    Running,
}

/// A connection.
pub(super) type Client = http::Client<Full<Bytes>>;
/// What a body is.
const KIND: &str = "application/json";

/// A caller with one verb.
pub(super) struct Call {
    client: Client,
    verb: Verb,
    base: Arc<AtomicU64>,
    /// The request's text around its uid and its name.
    parts: Vec<Part>,
}

enum Part {
    Text(String),
    Uid,
    Name,
}

impl Call {
    pub(super) async fn new(at: SocketAddr, verb: Verb, base: Arc<AtomicU64>) -> anyhow::Result<Self> {
        let create: Value = serde_json::from_str(CREATE)?;
        let body = match verb {
            Verb::Create => create,
            Verb::Delete => create["pod"].clone(),
            Verb::Status | Verb::Running => Value::Array(vec![create["pod"].clone()]),
        };
        Ok(Self {
            client: Client::connect(at).await?,
            verb,
            base,
            parts: split(&body.to_string())?,
        })
    }

    pub(super) async fn ask(&mut self, number: u64) -> anyhow::Result<()> {
        let number = match self.verb {
            Verb::Create | Verb::Delete => self.base.load(Ordering::Relaxed) + number,
            Verb::Status | Verb::Running => number % KNOWN,
        };
        let uid = uid(number);
        let body = self.body(&uid, number);
        match self.verb {
            Verb::Create => {
                let answer = self
                    .client
                    .ask(Method::POST, "/create", KIND, body.into())
                    .await?;
                let created: CreateStruct = serde_json::from_slice(&answer)?;
                ensure!(
                    created.pod_uid == uid && !created.pod_jid.is_empty(),
                    "{created:?} for {uid}"
                );
            }
            Verb::Delete => {
                self.client
                    .ask(Method::DELETE, "/delete", KIND, body.into())
                    .await?;
            }
            Verb::Status => ensure!(self.runs(&uid, body).await?, "{uid} does not run"),
            Verb::Running => {
                while !self.runs(&uid, body.clone()).await? {
                    tokio::task::yield_now().await;
                }
            }
        }
        Ok(())
    }

    async fn runs(&mut self, uid: &str, body: Bytes) -> anyhow::Result<bool> {
        let answer = self.client.ask(Method::GET, "/status", KIND, body.into()).await?;
        let states: Vec<PodStatus> = serde_json::from_slice(&answer)?;
        let state = states.first().context("the answer has no pod")?;
        ensure!(state.uid == uid, "{} was answered for {uid}", state.uid);
        Ok(state
            .containers
            .iter()
            .any(|container| container.state.running.is_some()))
    }

    fn body(&self, uid: &str, number: u64) -> Bytes {
        let mut body = String::with_capacity(CREATE.len());
        for part in &self.parts {
            match part {
                Part::Text(text) => body.push_str(text),
                Part::Uid => body.push_str(uid),
                Part::Name => body.push_str(&name(number)),
            }
        }
        body.into()
    }
}

/// Of a bench's pod: a uid as Kubernetes makes them (UUID, version 4), from a number.
fn uid(number: u64) -> String {
    format!(
        "{:08x}-{:04x}-4000-8000-{:012x}",
        0xbe9c_u32,
        number >> 48,
        number & 0xffff_ffff_ffff
    )
}

fn name(number: u64) -> String {
    format!("httpbin-{number:016x}")
}

fn split(text: &str) -> anyhow::Result<Vec<Part>> {
    let (before, rest) = text.split_once(UID).context("the sample has no such uid")?;
    let mut parts = Vec::new();
    for (text, then) in [(before, Some(Part::Uid)), (rest, None)] {
        if let Some((before, after)) = text.split_once(NAME) {
            parts.extend([
                Part::Text(before.to_owned()),
                Part::Name,
                Part::Text(after.to_owned()),
            ]);
        } else {
            parts.push(Part::Text(text.to_owned()));
        }
        parts.extend(then);
    }
    Ok(parts)
}

/// Follows the log of the first pod.
pub(super) struct Reader(Client);

impl Reader {
    pub(super) fn new(client: Client) -> Self {
        Self(client)
    }

    /// Reads it to its end, which must come after so many bytes.
    pub(super) async fn follow(&mut self, total: u64) -> anyhow::Result<()> {
        let asked = serde_json::json!({
            "Namespace": NAMESPACE, "PodUID": uid(0), "PodName": name(0), "ContainerName": "httpbin",
            "Opts": {"Tail": 0, "Bytes": 0, "Timestamps": false, "Follow": true, "Previous": false, "SinceSeconds": 0,
                     "SinceTime": "0001-01-01T00:00:00Z"},
        });
        let response = self
            .0
            .open(Method::GET, "/getLogs", KIND, asked.to_string().into())
            .await?;
        let (mut body, mut read) = (response.into_body(), 0);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            ensure!(
                data.iter().all(|byte| *byte == LETTER),
                "the log has another letter after {read} bytes"
            );
            read += data.len() as u64;
        }
        ensure!(read == total, "{read} of {total} log bytes came");
        Ok(())
    }
}
