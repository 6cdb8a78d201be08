//! How a call's [`Status`] becomes an HTTP answer: one table, two styles.

use axum::{
    Json,
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::{
    code::{Code, reason},
    limits,
    wire::Status,
};

/// The HTTP status of a failed call: the table of docs/PROTOCOL.md.
pub(super) fn http_status(status: &Status) -> StatusCode {
    let number = status.kind().http_status(&status.reason);
    StatusCode::from_u16(number).unwrap_or(StatusCode::BAD_GATEWAY)
}

/// A request that was not done.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    /// The HTTP status.
    pub(super) http: StatusCode,
    /// What the answer says.
    pub(super) status: Box<Status>,
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self {
            http: http_status(&status),
            status: Box::new(status),
        }
    }
}

impl Refusal {
    /// A refusal whose HTTP status says more than any code.
    pub(super) fn new(http: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Self {
            http,
            status: Box::new(Status::new(code, "", message)),
        }
    }

    /// 400.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Status::new(Code::InvalidArgument, "", message).into()
    }

    /// 401.
    pub(super) fn unauthenticated(message: impl Into<String>) -> Self {
        Status::new(Code::Unauthenticated, "", message).into()
    }

    /// 403.
    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Status::new(Code::PermissionDenied, "", message).into()
    }

    /// 404.
    pub(super) fn not_found(reason: &str, message: impl Into<String>) -> Self {
        Status::new(Code::NotFound, reason, message).into()
    }

    /// 413.
    pub(super) fn too_large(limit: usize) -> Self {
        let message = format!("body is over the limit of {limit} bytes");
        Status::new(Code::ResourceExhausted, reason::MESSAGE_TOO_LARGE, message).into()
    }

    /// Of a create: the plugin's own failure is 500, so that it can be told from the hub's trouble with it.
    pub(super) fn of_create(status: Status) -> Self {
        let mut refusal = Self::from(status);
        if refusal.status.kind() == Code::Internal && refusal.status.reason == reason::PLUGIN_ERROR {
            refusal.http = StatusCode::INTERNAL_SERVER_ERROR;
        }
        refusal
    }

    /// As interLink's REST has it: the message word for word, one line.
    pub(super) fn plain(self) -> Response {
        let mut line = one_line(&self.text());
        line.push('\n');
        let mut response = Response::new(Body::from(line));
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        // An error text comes from a plugin: no browser may take it for a page.
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        self.finish(response)
    }

    /// As the hub's own API has it.
    pub(super) fn json(self) -> Response {
        let response = Json(ErrorBody::of(&self.status)).into_response();
        self.finish(response)
    }

    /// In the style of the path that was asked.
    pub(super) fn for_path(self, path: &str) -> Response {
        if path.starts_with("/api/") {
            self.json()
        } else {
            self.plain()
        }
    }

    fn text(&self) -> String {
        if self.status.message.is_empty() {
            self.status.to_string()
        } else {
            self.status.message.clone()
        }
    }

    fn finish(&self, mut response: Response) -> Response {
        *response.status_mut() = self.http;
        let headers = response.headers_mut();
        if matches!(
            self.http,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
        ) {
            let seconds = match self.status.retry_after_ms {
                0 => limits::HTTP_RETRY_AFTER,
                ms => ms.div_ceil(1000),
            };
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.http == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"towline\""),
            );
        }
        response
    }
}

/// A failure on interLink's leg.
pub(super) struct Plain(Refusal);

impl<E: Into<Refusal>> From<E> for Plain {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Plain {
    fn into_response(self) -> Response {
        self.0.plain()
    }
}

/// A failure of the API.
pub(super) struct Api(Refusal);

impl<E: Into<Refusal>> From<E> for Api {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Api {
    fn into_response(self) -> Response {
        self.0.json()
    }
}

/// The body of a failed API call.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ErrorBody {
    /// What went wrong.
    pub(super) error: ErrorText,
}

/// What went wrong.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ErrorText {
    /// A gRPC code name, for example NOT_FOUND.
    pub(super) code: String,
    /// A word that programs may branch on; may be empty.
    pub(super) reason: String,
    /// For people.
    pub(super) message: String,
}

impl ErrorBody {
    pub(super) fn of(status: &Status) -> Self {
        Self {
            error: ErrorText {
                code: status.kind().name().to_owned(),
                reason: status.reason.clone(),
                message: status.message.clone(),
            },
        }
    }
}

/// The same text on one line.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len() + 1);
    for part in text
        .split(|c: char| c.is_control())
        .filter(|part| !part.is_empty())
    {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(part);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_http_status() {
        let table = [
            (Code::Unavailable, reason::PLUGIN_OFFLINE, 503),
            (Code::Unavailable, reason::DRAINING, 503),
            (Code::ResourceExhausted, reason::TOO_MANY_CALLS, 429),
            (Code::ResourceExhausted, reason::QUOTA, 429),
            (Code::ResourceExhausted, reason::MESSAGE_TOO_LARGE, 413),
            (Code::DeadlineExceeded, "", 504),
            (Code::Cancelled, "", 499),
            (Code::Unknown, reason::SUBMIT_UNKNOWN, 504),
            (Code::FailedPrecondition, reason::SUBMIT_REJECTED, 422),
            (Code::InvalidArgument, reason::BAD_POD, 400),
            (Code::NotFound, reason::POD_NOT_FOUND, 404),
            (Code::OutOfRange, reason::LOG_GONE, 416),
            (Code::Aborted, reason::DELETED, 409),
            (Code::Unimplemented, reason::NOT_SUPPORTED, 501),
            (Code::Internal, reason::FLOW_VIOLATION, 502),
            (Code::Internal, reason::PLUGIN_ERROR, 502),
            (Code::DataLoss, reason::CORRUPT, 502),
            (Code::PermissionDenied, "", 403),
            (Code::Unauthenticated, "", 401),
        ];
        for (code, word, http) in table {
            assert_eq!(
                http_status(&Status::new(code, word, "")).as_u16(),
                http,
                "{code} {word}"
            );
        }
    }

    #[test]
    fn a_plugins_own_failure_of_a_create_is_500() {
        let own = Status::new(Code::Internal, reason::PLUGIN_ERROR, "sbatch: error");
        assert_eq!(Refusal::of_create(own).http, 500);
        let hubs = Status::new(Code::Internal, reason::FLOW_VIOLATION, "");
        assert_eq!(Refusal::of_create(hubs).http, 502);
    }

    #[test]
    fn a_text_of_many_lines_becomes_one() {
        assert_eq!(
            one_line("sbatch: error:\n\tno such partition\r\n"),
            "sbatch: error: no such partition"
        );
    }

    #[test]
    fn unavailable_says_when_to_come_back() {
        let mut status = Status::new(Code::Unavailable, reason::PLUGIN_OFFLINE, "away");
        assert_eq!(
            Refusal::from(status.clone()).plain().headers()["retry-after"],
            "5"
        );
        status.retry_after_ms = 1_500;
        assert_eq!(Refusal::from(status).json().headers()["retry-after"], "2");
    }
}
