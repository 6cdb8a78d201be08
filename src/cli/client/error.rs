//! Why a request to the hub failed, in words for the person who asked.

use serde::Deserialize;

use crate::{
    cli::{exit::Exit, output::plain},
    transport::ConnectError,
};

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// No connection came about. The cause says at which step.
    #[error("no connection to the hub at {hub} (start one with `towline hub`, or name it with --hub)")]
    Unreachable {
        /// The hub.
        hub: String,
        /// Why.
        source: Box<ConnectError>,
    },
    /// The connection broke before the answer was whole.
    #[error("lost the connection to the hub at {hub}: {why}")]
    Lost {
        /// The hub.
        hub: String,
        /// Why.
        why: String,
    },
    /// The token is missing or refused.
    #[error("the hub at {hub} denies this: {message} ({hint})")]
    Denied {
        /// The hub.
        hub: String,
        /// Its text.
        message: String,
        /// What to do.
        hint: &'static str,
    },
    /// The hub's own refusal.
    #[error("{message}")]
    Refused {
        /// HTTP status.
        http: u16,
        /// The reason word; may be empty.
        reason: String,
        /// Its text.
        message: String,
    },
    /// The answer is none of a hub.
    #[error("{hub} does not answer like a towline hub: {why}")]
    NotAHub {
        /// The address.
        hub: String,
        /// Why.
        why: String,
    },
    /// The request is larger than any plugin takes.
    #[error("the request has {size} bytes, at most {limit} can be sent: make ConfigMaps and Secrets smaller")]
    TooLarge {
        /// Bytes.
        size: usize,
        /// The limit.
        limit: usize,
    },
}

/// The API's error document.
#[derive(Deserialize)]
struct Document {
    error: Body,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Body {
    reason: String,
    message: String,
}

impl ClientError {
    /// From an answer that is not 200: the API's JSON, or the REST's plain text.
    pub(super) fn refused(hub: String, http: u16, body: &[u8], with_token: bool) -> Self {
        let text = String::from_utf8_lossy(body);
        let error = match serde_json::from_slice::<Document>(body) {
            Ok(document) => document.error,
            Err(_) => Body {
                message: plain(&text),
                ..Body::default()
            },
        };
        let message = match error.message.as_str() {
            "" => format!("the hub answered HTTP {http} without a text"),
            message => plain(message),
        };
        match http {
            401 | 403 => {
                let hint = if with_token {
                    "check that the token file is the hub's"
                } else {
                    "give --token-file FILE or TOWLINE_TOKEN_FILE"
                };
                Self::Denied { hub, message, hint }
            }
            _ => Self::Refused {
                http,
                reason: error.reason,
                message,
            },
        }
    }

    /// The exit code that this error means.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Unreachable { source, .. } if matches!(**source, ConnectError::Settings(_)) => Exit::Config,
            Self::Unreachable { .. } | Self::Lost { .. } => Exit::Unavailable,
            Self::Denied { .. } => Exit::Denied,
            Self::Refused { http: 503 | 504, .. } => Exit::Unavailable,
            Self::Refused { .. } | Self::NotAHub { .. } | Self::TooLarge { .. } => Exit::Failed,
        }
    }

    /// Whether asking again later can help: the hub or its plugin is away for now.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => !matches!(**source, ConnectError::Settings(_)),
            Self::Lost { .. } => true,
            Self::Refused { http, .. } => matches!(http, 429 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// Whether the hub does not know what was asked for.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { http: 404, .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(http: u16, body: &str) -> ClientError {
        ClientError::refused("http://h:1".to_owned(), http, body.as_bytes(), false)
    }

    #[test]
    fn the_hubs_own_text_is_shown() {
        let body = r#"{"error":{"code":"NOT_FOUND","reason":"POD_NOT_FOUND","message":"no pod x"}}"#;
        let error = refused(404, body);
        assert_eq!(error.to_string(), "no pod x");
        assert!(error.is_not_found());
        assert_eq!(
            refused(422, "pod has no command\n").to_string(),
            "pod has no command"
        );
        assert_eq!(
            refused(500, "").to_string(),
            "the hub answered HTTP 500 without a text"
        );
    }

    #[test]
    fn codes_follow_the_answer() {
        assert_eq!(refused(401, "").exit(), Exit::Denied);
        assert!(refused(403, "").to_string().contains("--token-file"));
        assert_eq!(refused(503, "").exit(), Exit::Unavailable);
        assert_eq!(refused(404, "").exit(), Exit::Failed);
        assert!(refused(503, "").is_passing() && !refused(400, "").is_passing());
    }
}
