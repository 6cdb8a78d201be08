//! Calls: op and path to message and back. The table of docs/JSON.md is here.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    Asked,
    pods::{self, Named, StatusItem},
    read::{Bad, body_of, null, raw_bytes},
    status::failure,
};
use crate::{
    code::{Code, reason},
    wire::{
        CreatePod, CreateResult, DeletePod, DeleteResult, GetStatus, LogsEnd, PodRef, Request, Response,
        Status, StatusResult, frame::Body, request::Op, response,
    },
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
        Body::Response(Response {
            result: Some(response::Result::HttpResponse(_)),
            ..
        })
        | Body::Data(_) => return no_form("an HTTP answer"),
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

#[derive(Serialize)]
pub(super) struct ResponseOut<'a> {
    status: u16,
    body: Option<ResponseBody<'a>>,
    error: Option<super::status::ErrorOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ResponseBody<'a> {
    Create {
        #[serde(rename = "PodUID")]
        uid: &'a str,
        #[serde(rename = "PodJID")]
        job_id: &'a str,
        existed: bool,
    },
    Delete {
        existed: bool,
    },
    Status(Vec<StatusItem<'a>>),
    Logs(&'a LogsEnd),
}

pub(super) fn response_out<'a>(response: &'a Response, asked: Option<&'a Asked>) -> ResponseOut<'a> {
    let mut out = ResponseOut {
        status: 200,
        body: None,
        error: None,
        as_of: None,
        next_page_token: None,
    };
    if let Some(status) = response.status.as_ref().filter(|status| status.code != 0) {
        out.status = status.kind().http_status(&status.reason);
        out.error = Some(status.into());
        return out;
    }
    out.body = match &response.result {
        Some(response::Result::CreatePod(created)) => Some(ResponseBody::Create {
            uid: match asked {
                Some(Asked::Create(uid)) => uid,
                _ => "",
            },
            job_id: &created.job_id,
            existed: created.existed,
        }),
        Some(response::Result::DeletePod(deleted)) => Some(ResponseBody::Delete {
            existed: deleted.existed,
        }),
        Some(response::Result::GetStatus(page)) => {
            out.as_of = Some(page.as_of);
            out.next_page_token = Some(page.next_page_token.as_str()).filter(|token| !token.is_empty());
            Some(ResponseBody::Status(
                page.pods.iter().map(StatusItem::of).collect(),
            ))
        }
        Some(response::Result::LogsEnd(end)) => Some(ResponseBody::Logs(end)),
        Some(response::Result::HttpResponse(_)) | None => None,
    };
    out
}

#[derive(Deserialize)]
pub(super) struct ResponseIn {
    status: Option<u16>,
    body: Option<Box<RawValue>>,
    error: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "null")]
    as_of: u64,
    #[serde(default, deserialize_with = "null")]
    next_page_token: String,
}

#[derive(Deserialize)]
struct Created {
    #[serde(rename = "PodJID", default, deserialize_with = "null")]
    job_id: String,
    #[serde(default, deserialize_with = "null")]
    existed: bool,
}

#[derive(Deserialize)]
struct Deleted {
    existed: bool,
}

impl ResponseIn {
    /// The answer of a call. A body that is not what REST has fails that call alone; the link is sound.
    pub(super) fn into_response(self, asked: Option<Asked>) -> Result<Response, Bad> {
        if self.status.is_none() && self.error.is_none() {
            return Err(Bad::at("status", "missing field `status`"));
        }
        let failed = |status| Response {
            status: Some(status),
            result: None,
        };
        if let Some(status) = failure(self.status, self.error.as_deref(), self.body.as_deref())? {
            return Ok(failed(status));
        }
        let call = match &asked {
            Some(Asked::Create(_)) => "POST /create",
            Some(Asked::Delete) => "DELETE /delete",
            Some(Asked::Status) => "GET /status",
            Some(Asked::Logs) => "streamLogs",
            None => "",
        };
        Ok(match asked.map(|asked| self.result(&asked)).transpose() {
            Ok(result) => Response { status: None, result },
            Err(bad) => failed(Status::new(
                Code::Internal,
                reason::PLUGIN_ERROR,
                format!("the plugin's answer to {call}: {bad}"),
            )),
        })
    }

    fn result(self, asked: &Asked) -> Result<response::Result, Bad> {
        let body = self.body.as_deref();
        Ok(match asked {
            Asked::Create(_) => {
                let body = body.ok_or_else(|| Bad::at("body", "expected an object, found null"))?;
                let created: Created = body_of(body, "body")?;
                response::Result::CreatePod(CreateResult {
                    job_id: created.job_id,
                    existed: created.existed,
                })
            }
            Asked::Delete => {
                // Any body is good.
                let told = body.and_then(|body| serde_json::from_str::<Deleted>(body.get()).ok());
                response::Result::DeletePod(DeleteResult {
                    existed: told.is_none_or(|told| told.existed),
                })
            }
            Asked::Status => response::Result::GetStatus(StatusResult {
                as_of: self.as_of,
                pods: body.map(pods::states).transpose()?.unwrap_or_default(),
                next_page_token: self.next_page_token,
            }),
            Asked::Logs => {
                let end = body.map(|body| body_of(body, "body")).transpose()?;
                response::Result::LogsEnd(end.unwrap_or_default())
            }
        })
    }
}

/// What was asked of this side: its answer names the uid.
pub(super) fn asked_here(request: &Request) -> Option<Asked> {
    asked(request).filter(|asked| matches!(asked, Asked::Create(_)))
}
