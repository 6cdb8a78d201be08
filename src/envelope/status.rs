//! How a call failed: HTTP status and `error` of a response.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::read::{Bad, body_of, null};
use crate::{code::Code, limits, wire::Status};

/// Longest body that stands in for a message, in bytes: a plugin that answers with a page of HTML is not passed on
/// whole.
const MAX_BODY_TEXT: usize = 4 << 10;

#[derive(Serialize)]
pub(super) struct ErrorOut<'a> {
    code: i32,
    reason: &'a str,
    message: &'a str,
    not_started: bool,
    retry_after_ms: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    details: BTreeMap<&'a str, &'a str>,
}

impl<'a> From<&'a Status> for ErrorOut<'a> {
    fn from(status: &'a Status) -> Self {
        Self {
            code: status.code,
            reason: &status.reason,
            message: &status.message,
            not_started: status.not_started,
            retry_after_ms: status.retry_after_ms,
            details: (status.details.iter())
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .collect(),
        }
    }
}

#[derive(Default, Deserialize)]
struct ErrorIn {
    code: Option<Number>,
    reason: Option<String>,
    message: Option<String>,
    #[serde(default, deserialize_with = "null")]
    not_started: bool,
    #[serde(default, deserialize_with = "null")]
    retry_after_ms: u64,
    #[serde(default, deserialize_with = "null")]
    details: HashMap<String, String>,
}

/// A status code by its number or its name.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(i32),
    Name(String),
}

/// How the call failed, none when it did not. What `error` does not say, the HTTP status and the body do.
pub(super) fn failure(
    http: Option<u16>,
    error: Option<&RawValue>,
    body: Option<&RawValue>,
) -> Result<Option<Status>, Bad> {
    let (by_http, word) = Code::from_http_status(http.unwrap_or(500));
    let error = match error {
        Some(raw) if raw.get().starts_with('"') => ErrorIn {
            message: Some(body_of(raw, "error")?),
            ..ErrorIn::default()
        },
        Some(raw) => body_of(raw, "error")?,
        None if by_http == Code::Ok => return Ok(None),
        None => ErrorIn::default(),
    };
    let named = match &error.code {
        Some(Number::Number(number)) => Some(*number),
        Some(Number::Name(name)) => Some(by_name(name)?),
        None => None,
    };
    let unsaid = named.is_none();
    let code = match named {
        Some(number) if number != 0 => number,
        // Said to have failed, yet with a number that says success.
        _ if by_http == Code::Ok => Code::Unknown as i32,
        _ => by_http as i32,
    };
    Ok(Some(Status {
        code,
        reason: error
            .reason
            .unwrap_or_else(|| if unsaid { word.to_owned() } else { String::new() }),
        message: error
            .message
            .unwrap_or_else(|| body.map(text_of).unwrap_or_default()),
        not_started: error.not_started,
        retry_after_ms: error.retry_after_ms,
        details: error.details,
    }))
}

fn by_name(name: &str) -> Result<i32, Bad> {
    let found = (0..=16).find(|number| Code::from_number(*number).name() == name);
    found.ok_or_else(|| Bad::at("error.code", "expected a number of gRPC's table or its name"))
}

/// What a body says to people: itself when it is text, what FastAPI and the like wrap, else its JSON.
fn text_of(body: &RawValue) -> String {
    let read: Value = serde_json::from_str(body.get()).unwrap_or_default();
    let inner = ["detail", "error", "message"]
        .into_iter()
        .find_map(|key| read.get(key)?.as_str());
    let text = match (&read, inner) {
        (Value::String(text), _) => text.as_str(),
        (_, Some(text)) => text,
        _ => body.get(),
    };
    limits::cut(text, MAX_BODY_TEXT).to_owned()
}
