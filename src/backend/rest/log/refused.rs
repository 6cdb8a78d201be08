//! What it means when a plugin refuses a log.

use crate::{
    code::{Code, reason},
    upstream::{Whole, told},
    wire::Status,
};

/// The plugin's text word for word, and the code that fits.
pub(super) fn refused(whole: &Whole) -> Status {
    let text = told(whole.status, &whole.body);
    let (code, word) = match whole.status.as_u16() {
        400 | 422 => (Code::InvalidArgument, ""),
        404 | 410 => (Code::NotFound, reason::NO_LOG),
        405 | 501 => (Code::Unimplemented, reason::NOT_SUPPORTED),
        429 | 502 | 503 | 504 => (Code::Unavailable, reason::NOT_READY),
        _ => (Code::Internal, reason::PLUGIN_ERROR),
    };
    Status::new(code, word, text)
}

/// Whether it may be well again in a moment.
pub(super) fn is_passing(whole: &Whole) -> bool {
    matches!(whole.status.as_u16(), 429 | 502 | 503 | 504)
}
