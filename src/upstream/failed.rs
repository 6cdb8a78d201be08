//! How a call of the upstream fails, and what its error bodies say.

use std::{error::Error, time::Duration};

use hyper::StatusCode;
use serde_json::Value;

use crate::{
    code::{Code, reason},
    limits,
    wire::Status,
};

/// No answer came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failed {
    /// There was no connection, so nothing was begun.
    #[error("cannot be reached: {0}")]
    NotReached(String),
    /// The connection ended after the request was sent.
    #[error("closed the connection without a whole answer: {0}")]
    Lost(String),
    /// It was sent, and nothing came.
    #[error("did not answer within {} s", .0.as_secs_f32())]
    Silent(Duration),
    /// The answer does not end.
    #[error("answered with more than {} MiB", limits::UPSTREAM_ANSWER >> 20)]
    TooLarge,
}

impl Failed {
    pub(super) fn lost(error: &(dyn Error + 'static)) -> Self {
        let mut text = error.to_string();
        if let Some(source) = error.source() {
            text = format!("{text}: {source}");
        }
        Self::Lost(text)
    }

    /// The failure of a call that may be repeated.
    pub(crate) fn passing(&self, address: &str) -> Status {
        let status = Status::new(
            Code::Unavailable,
            reason::NOT_READY,
            format!("the upstream {address} {self}"),
        );
        match self {
            Self::NotReached(_) => status.not_started(),
            _ => status,
        }
    }

    /// The failure of a create: what was sent may have been begun.
    pub(crate) fn of_create(&self, address: &str) -> Status {
        match self {
            Self::NotReached(_) => self.passing(address),
            _ => Status::new(
                Code::Unknown,
                reason::SUBMIT_UNKNOWN,
                format!("the upstream {address} {self}: the pod may have been started"),
            ),
        }
    }
}

/// What an error body says, word for word; of FastAPI's `{"detail": ...}` the detail.
pub(crate) fn told(status: StatusCode, body: &[u8]) -> String {
    let detail = match serde_json::from_slice(body) {
        Ok(Value::Object(mut fields)) if fields.len() == 1 => fields.remove("detail"),
        _ => None,
    };
    let text = match detail {
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
        None => String::from_utf8_lossy(body).into_owned(),
    };
    let text = text.trim_end();
    if text.trim_start().is_empty() {
        return format!("HTTP {status}");
    }
    limits::cut(text, limits::UPSTREAM_TEXT).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_passed_on_word_for_word_and_fastapis_unwrapped() {
        let says = |body: &str| told(StatusCode::INTERNAL_SERVER_ERROR, body.as_bytes());
        assert_eq!(
            says("sbatch: error: invalid partition 'gpu'\n"),
            "sbatch: error: invalid partition 'gpu'"
        );
        assert_eq!(says(r#"{"detail": "no such queue"}"#), "no such queue");
        assert_eq!(
            says(r#"{"detail": [{"loc": ["body"], "msg": "Field required"}]}"#),
            r#"[{"loc":["body"],"msg":"Field required"}]"#
        );
        let other = r#"{"error": "Pod not found", "timestamp": "2026-09-01T10:00:00Z"}"#;
        assert_eq!(says(other), other);
        assert_eq!(says(""), "HTTP 500 Internal Server Error");
    }

    #[test]
    fn a_text_without_end_is_cut_between_characters() {
        let long = "é".repeat(limits::UPSTREAM_TEXT);
        let cut = told(StatusCode::BAD_REQUEST, format!("x{long}").as_bytes());
        assert!(cut.len() <= limits::UPSTREAM_TEXT && cut.ends_with('é'));
    }

    #[test]
    fn only_a_create_that_was_sent_may_have_been_begun() {
        let refused = Failed::NotReached("Connection refused".into()).of_create("http://x");
        assert!(refused.not_started && refused.kind() == Code::Unavailable);
        for failed in [Failed::Lost("eof".into()), Failed::Silent(Duration::from_secs(1))] {
            let status = failed.of_create("http://x");
            assert_eq!(status.kind(), Code::Unknown, "{status}");
            assert_eq!(status.reason, reason::SUBMIT_UNKNOWN);
            assert!(!status.not_started);
        }
    }
}
