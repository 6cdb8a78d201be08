//! The two styles of a failed call's answer: interLink's and the API's.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::wire::Status;

pub(super) use crate::server::{Refusal, one_line};

impl Refusal {
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
