//! The plugin's own endpoints (slurm's `/system-info`, for one), reached through the hub: a request passed on as it is,
//! both bodies as they come.

use std::io;

use bytes::Bytes;
use futures::stream;
use hyper::{
    HeaderMap, Method, StatusCode,
    header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING},
};

use super::{Shared, target};
use crate::{
    code::{Code, reason},
    limits,
    plugin::{BodyReader, HttpAnswer, HttpCall},
    upstream::{Failed, Forward, Forwarded},
    wire::{HttpHeader, HttpResponse, Status, http::end_to_end, metadata},
};

impl Shared {
    /// Passes a request on, and its answer back.
    pub(super) async fn pass(&self, call: HttpCall, answer: HttpAnswer) -> Result<(), Status> {
        let forward = forward(call, self.config.answer_timeout)?;
        let forwarded = self.upstream.forward(forward).await;
        let mut forwarded = forwarded.map_err(|failed| self.unanswered(&failed))?;
        let mut body = answer.head(head(&mut forwarded)?).await?;
        loop {
            // A quiet stream is ended by who reads it; here by nobody but the plugin, or the hub.
            match forwarded.next().await {
                Ok(Some(bytes)) => body.send(bytes).await?,
                Ok(None) => return Ok(()),
                Err(failed) => return Err(self.unanswered(&failed)),
            }
        }
    }

    fn unanswered(&self, failed: &Failed) -> Status {
        let address = self.upstream.address();
        match failed {
            Failed::NotReached(_) => failed.passing(&address),
            Failed::Silent(_) => {
                let text = format!("the upstream {address} {failed}");
                Status::new(Code::DeadlineExceeded, "", text)
            }
            Failed::Lost(_) | Failed::TooLarge => {
                let text = format!("the upstream {address} {failed}");
                Status::new(Code::Internal, reason::PLUGIN_ERROR, text)
            }
        }
    }
}

/// The request as it goes to the plugin.
fn forward(call: HttpCall, within: std::time::Duration) -> Result<Forward, Status> {
    let bad = |text: String| Status::new(Code::InvalidArgument, "", text).not_started();
    let HttpCall {
        head,
        body,
        metadata: carried,
    } = call;
    let method = Method::from_bytes(head.method.as_bytes())
        .ok()
        .filter(|method| *method != Method::CONNECT && *method != Method::TRACE);
    let method = method.ok_or_else(|| bad(format!("the method {:?} is not passed on", head.method)))?;
    target::check(&head.path)?;
    if head.counts() > limits::HTTP_PASSED_HEAD {
        let most = limits::HTTP_PASSED_HEAD;
        return Err(bad(format!("the head is over the limit of {most} bytes")));
    }
    let mut headers = fields(end_to_end(head.headers)).map_err(bad)?;
    headers.remove(HOST);
    let lengths: Vec<_> = headers.get_all(CONTENT_LENGTH).iter().collect();
    let length = match lengths.as_slice() {
        [] => None,
        [one] => {
            let digits = one
                .to_str()
                .ok()
                .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            let length = digits.and_then(|digits| digits.parse::<u64>().ok());
            Some(length.ok_or_else(|| bad("content-length is no number".to_owned()))?)
        }
        _ => return Err(bad("content-length stands there twice".to_owned())),
    };
    match length {
        Some(0) if !head.has_body => {}
        _ if !head.has_body => drop(headers.remove(CONTENT_LENGTH)),
        Some(_) => {}
        None => drop(headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))),
    }
    // A field of the caller's own goes before what the call carries.
    for name in metadata::ALL {
        let value = carried
            .get(name)
            .and_then(|value| HeaderValue::from_str(value).ok());
        if let Some(value) = value.filter(|_| !headers.contains_key(name)) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    Ok(Forward {
        method,
        target: head.path,
        headers,
        body: head.has_body.then(|| Box::pin(pieces(body)) as _),
        within,
    })
}

/// The caller's body, until its end or an error for one that will not be whole.
fn pieces(body: BodyReader) -> impl futures::Stream<Item = io::Result<Bytes>> + Send {
    stream::try_unfold(body, |mut body| async move {
        let next = body.next().await.map_err(io::Error::other)?;
        Ok(next.map(|bytes| (bytes, body)))
    })
}

/// The head of the plugin's answer.
fn head(forwarded: &mut Forwarded) -> Result<HttpResponse, Status> {
    let status = forwarded.status;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        let text = "the upstream answered 101 (Switching Protocols): only requests and answers are passed on";
        return Err(Status::new(Code::Internal, reason::PLUGIN_ERROR, text));
    }
    let field = |(name, value): (&HeaderName, &HeaderValue)| HttpHeader {
        name: name.as_str().to_owned(),
        value: Bytes::copy_from_slice(value.as_bytes()),
    };
    Ok(HttpResponse {
        status: u32::from(status.as_u16()),
        headers: end_to_end(forwarded.headers.iter().map(field).collect()),
    })
}

fn fields(headers: Vec<HttpHeader>) -> Result<HeaderMap, String> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for field in headers {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        // The value may be a secret.
        let value = HeaderValue::from_maybe_shared(field.value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(format!("the header field {:?} cannot be sent", field.name));
        };
        map.append(name, value);
    }
    Ok(map)
}
