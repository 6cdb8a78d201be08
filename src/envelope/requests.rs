//! Requests: op and path to message and back.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    Asked,
    pods::{self, Named},
    read::{Bad, body_of, null, raw_bytes},
};
use crate::{
    code::{Code, reason},
    wire::{CreatePod, DeletePod, GetStatus, PodRef, Request, Status, frame::Body, request::Op},
};

const CREATE: (&str, &str) = ("POST", "/create");
const DELETE: (&str, &str) = ("DELETE", "/delete");
const STATUS: (&str, &str) = ("GET", "/status");

/// What the answer to a request will be about; none for what has no form here.
pub(super) fn asked(request: &Request) -> Option<Asked> {
    Some(match request.op.as_ref()? {
        Op::CreatePod(create) => Asked::Create(create.pod.clone().unwrap_or_default().uid),
        Op::DeletePod(_) => Asked::Delete,
        Op::GetStatus(_) => Asked::Status,
        Op::HttpRequest(_) => return None,
    })
}

/// Refuses what has no form here. True when the frame holds JSON of somebody else.
pub(super) fn check(body: &Body) -> Result<bool, Status> {
    let no_form = |what: &str| {
        let text = format!("{what} cannot travel on a link of towline.v1.json");
        Err(Status::new(Code::Unimplemented, reason::NOT_SUPPORTED, text))
    };
    let (what, payload) = match body {
        Body::Request(request) => match &request.op {
            Some(Op::CreatePod(create)) => ("payload of the create", &create.payload),
            Some(Op::DeletePod(delete)) if !delete.pod_json.is_empty() => {
                ("pod of the delete", &delete.pod_json)
            }
            Some(Op::DeletePod(_) | Op::GetStatus(_)) => return Ok(false),
            Some(Op::HttpRequest(_)) | None => return no_form("an HTTP request"),
        },
        Body::Data(_) => return no_form("an HTTP answer"),
        _ => return Ok(false),
    };
    let bad = |why: String| Status::new(Code::InvalidArgument, reason::BAD_POD, format!("{what}: {why}"));
    super::bounds::check_inside(payload).map_err(bad)?;
    raw(payload).map_err(|_| bad("it is not JSON".into()))?;
    Ok(true)
}

fn raw(json: &[u8]) -> Result<&RawValue, serde_json::Error> {
    serde_json::from_slice(json)
}

#[derive(Serialize)]
pub(super) struct RequestOut<'a> {
    op: &'static str,
    path: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<&'a PodRef>,
    body: RequestBody<'a>,
    deadline_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    grace_seconds: Option<u64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    op_key: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    attempt: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    sensitive: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum RequestBody<'a> {
    Raw(&'a RawValue),
    Pod(Named<'a>),
    Pods(Vec<Named<'a>>),
    All(All),
}

#[derive(Default, Serialize, Deserialize)]
struct All {
    all: bool,
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "null")]
    page_size: u32,
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null")]
    page_token: String,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_zero(number: &u32) -> bool {
    *number == 0
}

pub(super) fn request_out(request: &Request) -> Result<RequestOut<'_>, serde_json::Error> {
    let (mut pod, mut grace_seconds) = (None, None);
    let ((op, path), body) = match request.op.as_ref() {
        Some(Op::CreatePod(create)) => {
            pod = create.pod.as_ref();
            (CREATE, RequestBody::Raw(raw(&create.payload)?))
        }
        Some(Op::DeletePod(delete)) => {
            pod = delete.pod.as_ref();
            grace_seconds = delete.grace_seconds;
            let body = match &delete.pod_json {
                json if json.is_empty() => RequestBody::Pod(Named::of(pod)),
                json => RequestBody::Raw(raw(json)?),
            };
            (DELETE, body)
        }
        Some(Op::GetStatus(status)) if status.all => {
            let all = All {
                all: true,
                page_size: status.page_size,
                page_token: status.page_token.clone(),
            };
            (STATUS, RequestBody::All(all))
        }
        Some(Op::GetStatus(status)) => {
            let pods = status.pods.iter().map(|pod| Named::of(Some(pod))).collect();
            (STATUS, RequestBody::Pods(pods))
        }
        Some(Op::HttpRequest(_)) | None => return Err(serde::ser::Error::custom("no form")),
    };
    Ok(RequestOut {
        op,
        path,
        headers: (request.metadata.iter())
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect(),
        pod,
        body,
        deadline_ms: request.timeout_ms,
        grace_seconds,
        op_key: &request.op_key,
        attempt: request.attempt,
        sensitive: request.sensitive,
    })
}

#[derive(Deserialize)]
pub(super) struct RequestIn {
    op: String,
    path: String,
    #[serde(default, deserialize_with = "null")]
    headers: HashMap<String, String>,
    pod: Option<PodRef>,
    body: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "null")]
    deadline_ms: u64,
    grace_seconds: Option<u64>,
    #[serde(default, deserialize_with = "null")]
    op_key: String,
    #[serde(default, deserialize_with = "null")]
    attempt: u32,
    #[serde(default, deserialize_with = "null")]
    sensitive: bool,
}

impl RequestIn {
    pub(super) fn into_request(mut self) -> Result<Request, Bad> {
        let op = match (self.op.to_ascii_uppercase().as_str(), self.path.as_str()) {
            ("POST", "/create") => Some(self.create()?),
            ("DELETE" | "POST", "/delete") => Some(self.delete()?),
            ("GET" | "POST", "/status") => Some(Op::GetStatus(self.status()?)),
            // Answered UNIMPLEMENTED, as an op that a later version brings.
            _ => None,
        };
        let lower = |(key, value): (String, String)| (key.to_ascii_lowercase(), value);
        Ok(Request {
            op_key: self.op_key,
            attempt: self.attempt,
            timeout_ms: self.deadline_ms,
            metadata: self.headers.into_iter().map(lower).collect(),
            sensitive: self.sensitive,
            op,
        })
    }

    fn body(&mut self) -> Result<Box<RawValue>, Bad> {
        self.body
            .take()
            .ok_or_else(|| Bad::at("body", "missing field `body`"))
    }

    fn create(&mut self) -> Result<Op, Bad> {
        let body = self.body()?;
        let pod = match self.pod.take() {
            Some(pod) => pod,
            None => pods::named_in_create(&body)?,
        };
        Ok(Op::CreatePod(CreatePod {
            pod: Some(pod),
            payload: raw_bytes(body),
        }))
    }

    fn delete(&mut self) -> Result<Op, Bad> {
        let body = self.body()?;
        let pod = match self.pod.take() {
            Some(pod) => pod,
            None => pods::named(&body)?,
        };
        // A delete without its pod, as this form writes it.
        let bare = serde_json::to_string(&Named::of(Some(&pod))).is_ok_and(|bare| bare == body.get());
        Ok(Op::DeletePod(DeletePod {
            pod: Some(pod),
            grace_seconds: self.grace_seconds,
            pod_json: if bare { Bytes::new() } else { raw_bytes(body) },
        }))
    }

    fn status(&mut self) -> Result<GetStatus, Bad> {
        let body = self.body()?;
        if body.get().starts_with('{') {
            let all: All = body_of(&body, "body")?;
            return Ok(GetStatus {
                all: all.all,
                page_size: all.page_size,
                page_token: all.page_token,
                pods: Vec::new(),
            });
        }
        Ok(GetStatus {
            pods: pods::all_named(&body)?,
            ..GetStatus::default()
        })
    }
}

/// What was asked of this side: its answer names the uid.
pub(super) fn asked_here(request: &Request) -> Option<Asked> {
    asked(request).filter(|asked| matches!(asked, Asked::Create(_)))
}
