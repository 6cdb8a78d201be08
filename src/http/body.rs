//! Reading request bodies: bounded in size and time, and errors that never repeat what was sent, because
//! bodies hold secrets.

use axum::{
    body::{Body, Bytes},
    http::StatusCode,
};
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::{answer::Refusal, bounds};
use crate::code::Code;

/// Reads a whole body, whatever method and Content-Type it came with.
pub(super) async fn read(body: Body, limit: usize) -> Result<Bytes, Refusal> {
    if body.size_hint().lower() > limit as u64 {
        return Err(Refusal::too_large(limit));
    }
    match tokio::time::timeout(bounds::BODY_TIMEOUT, Limited::new(body, limit).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::too_large(limit)),
        Ok(Err(_)) => Err(Refusal::invalid("the body ended early or is broken")),
        Err(_) => {
            let seconds = bounds::BODY_TIMEOUT.as_secs();
            let message = format!("the body did not arrive within {seconds} s");
            Err(Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                Code::DeadlineExceeded,
                message,
            ))
        }
    }
}

/// Parses a JSON body; `what` names what it should be.
pub(super) fn json<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, Refusal> {
    if bytes.trim_ascii().is_empty() {
        return Err(Refusal::invalid(format!("the body is empty, expected {what}")));
    }
    serde_json::from_slice(bytes).map_err(|error| bad_json(&error, what))
}

/// What is wrong and where, without the values that serde_json likes to quote.
pub(super) fn bad_json(error: &serde_json::Error, what: &str) -> Refusal {
    let whole = error.to_string();
    let text = match whole.rfind(" at line ") {
        Some(end) => &whole[..end],
        None => &whole,
    };
    let mut message = format!("bad JSON: expected {what}: {}", without_values(text));
    if error.line() > 0 {
        message.push_str(&format!(" at line {} column {}", error.line(), error.column()));
    }
    Refusal::invalid(message)
}

fn without_values(text: &str) -> String {
    for head in ["invalid type: ", "invalid value: ", "unknown variant"] {
        if let Some(rest) = text.strip_prefix(head) {
            let kind = rest.split(['"', '`', ',']).next().unwrap_or_default().trim_end();
            let expected = rest.rfind(", expected ").map_or("", |at| &rest[at..]);
            return format!("{head}{kind}{expected}");
        }
    }
    // Texts of other origin may quote too: what stands between double quotes is left out.
    let mut out = String::with_capacity(text.len());
    for (n, part) in text.split('"').enumerate() {
        out.push_str(if n % 2 == 0 { part } else { "\"..\"" });
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Sample {
        #[allow(dead_code)]
        tail: u64,
    }

    fn message(text: &str) -> String {
        json::<Sample>(text.as_bytes(), "a sample")
            .unwrap_err()
            .status
            .message
    }

    #[test]
    fn bad_json_is_named_with_its_place_but_not_its_value() {
        let said = message(r#"{"tail": "hunter2, expected \"x\""}"#);
        assert_eq!(
            said,
            "bad JSON: expected a sample: invalid type: string, expected u64 at line 1 column 35"
        );
        assert!(message("{").contains("EOF while parsing an object at line 1 column 1"));
        assert!(message("{}").contains("missing field `tail`"));
        assert_eq!(message(" "), "the body is empty, expected a sample");
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_413() {
        let refusal = read(Body::from(vec![0; 11]), 10).await.unwrap_err();
        assert_eq!(refusal.http, 413);
        assert_eq!(read(Body::from(vec![0; 10]), 10).await.unwrap().len(), 10);
    }
}
