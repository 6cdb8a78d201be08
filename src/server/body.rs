//! Reading request bodies, bounded in size and time.

use std::error::Error;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{StatusCode, body::Body};
use serde::de::DeserializeOwned;

use super::Refusal;
use crate::{
    code::Code,
    interlink::{self, BadBody},
    limits,
};

/// Reads a whole body, whatever method and Content-Type it came with.
pub(crate) async fn read<B>(body: B, limit: usize) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    if body.size_hint().lower() > limit as u64 {
        return Err(Refusal::too_large(limit));
    }
    match tokio::time::timeout(limits::HTTP_BODY_TIMEOUT, Limited::new(body, limit).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::too_large(limit)),
        Ok(Err(_)) => Err(Refusal::invalid("the body ended early or is broken")),
        Err(_) => {
            let seconds = limits::HTTP_BODY_TIMEOUT.as_secs();
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
pub(crate) fn json<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, Refusal> {
    interlink::parse(bytes).map_err(|bad| bad_json(&bad, what))
}

/// What is wrong and where, never a value.
pub(crate) fn bad_json(bad: &BadBody, what: &str) -> Refusal {
    Refusal::invalid(format!("bad JSON, expected {what}: {bad}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http_body_util::Full;

    use super::*;

    fn whole(size: usize) -> Full<Bytes> {
        Full::from(vec![0; size])
    }

    #[test]
    fn bad_json_is_named_with_its_place_but_not_its_value() {
        let said = json::<Vec<u8>>(br#"[1, "hunter2"]"#, "a list")
            .unwrap_err()
            .status
            .message;
        assert!(
            said.starts_with("bad JSON, expected a list: ") && said.contains("line 1"),
            "{said}"
        );
        assert!(!said.contains("hunter2"), "{said}");
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_413() {
        let refusal = read(whole(11), 10).await.unwrap_err();
        assert_eq!(refusal.http, 413);
        assert_eq!(read(whole(10), 10).await.unwrap().len(), 10);
    }
}
