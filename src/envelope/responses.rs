//! Responses: REST's bodies to results and back. What a body must be depends on what was asked.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    Asked,
    pods::{self, StatusItem},
    read::{Bad, body_of, null},
    status::failure,
};
use crate::{
    code::{Code, reason},
    wire::{CreateResult, DeleteResult, LogsEnd, Response, Status, StatusResult, response},
};

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
        None => None,
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
        if let Some(status) = failure(self.status, self.error.as_deref(), self.body.as_deref())? {
            return Ok(Response::failed(status));
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
            Err(bad) => Response::failed(Status::new(
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
