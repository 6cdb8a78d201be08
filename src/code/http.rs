//! Status codes and HTTP statuses: one table, read both ways.

use super::{Code, reason};

impl Code {
    /// The HTTP status of a call that ended so, with this reason word.
    pub fn http_status(self, word: &str) -> u16 {
        match self {
            Self::Ok => 200,
            // The client gave up; nobody reads it, but logs do (nginx's number).
            Self::Cancelled => 499,
            Self::Unknown | Self::DeadlineExceeded => 504,
            Self::InvalidArgument => 400,
            Self::NotFound => 404,
            Self::PermissionDenied => 403,
            Self::ResourceExhausted if word == reason::MESSAGE_TOO_LARGE => 413,
            Self::ResourceExhausted => 429,
            Self::FailedPrecondition => 422,
            Self::Aborted => 409,
            Self::OutOfRange => 416,
            Self::Unimplemented => 501,
            Self::Internal | Self::DataLoss => 502,
            Self::Unavailable => 503,
            Self::Unauthenticated => 401,
        }
    }

    /// What an HTTP status of a plugin says, with the reason word that goes with it. A gateway timeout is read as
    /// [`Code::DeadlineExceeded`]: the outcome is unknown either way.
    pub fn from_http_status(status: u16) -> (Self, &'static str) {
        match status {
            200..=299 => (Self::Ok, ""),
            401 => (Self::Unauthenticated, ""),
            403 => (Self::PermissionDenied, ""),
            404 | 410 => (Self::NotFound, ""),
            405 => (Self::Unimplemented, reason::NOT_SUPPORTED),
            408 | 504 => (Self::DeadlineExceeded, ""),
            409 => (Self::Aborted, ""),
            413 => (Self::ResourceExhausted, reason::MESSAGE_TOO_LARGE),
            416 => (Self::OutOfRange, reason::LOG_GONE),
            422 => (Self::FailedPrecondition, reason::SUBMIT_REJECTED),
            429 => (Self::ResourceExhausted, ""),
            499 => (Self::Cancelled, ""),
            400..=498 => (Self::InvalidArgument, ""),
            501 => (Self::Unimplemented, reason::NOT_SUPPORTED),
            503 => (Self::Unavailable, ""),
            _ => (Self::Internal, reason::PLUGIN_ERROR),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_comes_back_from_its_http_status() {
        for number in 0..=16 {
            let code = Code::from_number(number);
            let (again, _) = Code::from_http_status(code.http_status(""));
            match code {
                // One HTTP status stands for two codes.
                Code::Unknown => assert_eq!(again, Code::DeadlineExceeded),
                Code::DataLoss => assert_eq!(again, Code::Internal),
                _ => assert_eq!(again, code),
            }
        }
    }

    #[test]
    fn a_message_that_is_too_large_keeps_its_word() {
        let http = Code::ResourceExhausted.http_status(reason::MESSAGE_TOO_LARGE);
        let expected = (Code::ResourceExhausted, reason::MESSAGE_TOO_LARGE);
        assert_eq!((http, Code::from_http_status(http)), (413, expected));
    }

    #[test]
    fn every_number_says_something_and_only_2xx_says_success() {
        for status in 0..=u16::MAX {
            let (code, _) = Code::from_http_status(status);
            assert_eq!(code == Code::Ok, (200..300).contains(&status), "{status}");
        }
    }
}
