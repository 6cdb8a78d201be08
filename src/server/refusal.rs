//! How a call's [`Status`] becomes an HTTP answer: one table.

use hyper::{
    HeaderMap, Response, StatusCode,
    header::{self, HeaderValue},
};

use crate::{
    code::{Code, reason},
    limits,
    wire::{Status, metadata},
};

/// The HTTP status of a failed call: the table of docs/PROTOCOL.md.
pub(crate) fn http_status(status: &Status) -> StatusCode {
    let number = status.kind().http_status(&status.reason);
    StatusCode::from_u16(number).unwrap_or(StatusCode::BAD_GATEWAY)
}

/// A request that was not done.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// The HTTP status.
    pub(crate) http: StatusCode,
    /// What the answer says.
    pub(crate) status: Box<Status>,
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
    pub(crate) fn new(http: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Self {
            http,
            status: Box::new(Status::new(code, "", message)),
        }
    }

    /// 400.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Status::new(Code::InvalidArgument, "", message).into()
    }

    /// 401.
    pub(crate) fn unauthenticated(message: impl Into<String>) -> Self {
        Status::new(Code::Unauthenticated, "", message).into()
    }

    /// 403.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Status::new(Code::PermissionDenied, "", message).into()
    }

    /// 404.
    pub(crate) fn not_found(reason: &str, message: impl Into<String>) -> Self {
        Status::new(Code::NotFound, reason, message).into()
    }

    /// 413.
    pub(crate) fn too_large(limit: usize) -> Self {
        let message = format!("body is over the limit of {limit} bytes");
        Status::new(Code::ResourceExhausted, reason::MESSAGE_TOO_LARGE, message).into()
    }

    /// Of a create: the plugin's own failure is 500, so that it can be told from the hub's trouble with it.
    pub(crate) fn of_create(status: Status) -> Self {
        let mut refusal = Self::from(status);
        if refusal.status.kind() == Code::Internal && refusal.status.reason == reason::PLUGIN_ERROR {
            refusal.http = StatusCode::INTERNAL_SERVER_ERROR;
        }
        refusal
    }

    /// As interLink's REST has it: the message word for word, one line.
    pub(crate) fn plain<B: From<String>>(self) -> Response<B> {
        let mut line = one_line(&self.text());
        line.push('\n');
        let mut response = Response::new(B::from(line));
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

    /// For people.
    pub(crate) fn text(&self) -> String {
        if self.status.message.is_empty() {
            self.status.to_string()
        } else {
            self.status.message.clone()
        }
    }

    /// With its status, and the headers that belong to it.
    pub(crate) fn finish<B>(&self, mut response: Response<B>) -> Response<B> {
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

/// The same text on one line.
pub(crate) fn one_line(text: &str) -> String {
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

/// A header that travels on with the call; one that is too long does not.
pub(crate) fn carried(headers: &HeaderMap, name: &str) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    (!text.is_empty() && text.len() <= limits::HTTP_MAX_CARRIED).then(|| text.to_owned())
}

/// What ties the legs of a call together: as its caller says, or a new name.
pub(crate) fn session_of(headers: &HeaderMap) -> String {
    carried(headers, metadata::SESSION).unwrap_or_else(|| {
        // Not of the system's randomness, which is a system call each: it is no secret.
        let random = uuid::Builder::from_random_bytes(fastrand::u128(..).to_le_bytes());
        format!("Request-{}", random.into_uuid())
    })
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
            Refusal::from(status.clone()).plain::<String>().headers()["retry-after"],
            "5"
        );
        status.retry_after_ms = 1_500;
        assert_eq!(
            Refusal::from(status).plain::<String>().headers()["retry-after"],
            "2"
        );
    }
}
