//! The dialling side: from an address to a link, with errors that say what the hub said.

use std::time::Duration;

use bytes::Bytes;
use h2::client::Builder;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Version,
    header::{AUTHORIZATION, CONTENT_TYPE as CONTENT_TYPE_NAME, HeaderName, HeaderValue, USER_AGENT},
};
use tokio_util::sync::CancellationToken;

use super::{
    Grpc, PATH, Side,
    begun::{Begun, Heard},
    words::{CONTENT_TYPE, ENCODING, broken, read_status},
};
use crate::{
    code::Code,
    limits,
    transport::{
        ConnectError, Dial, DialError, Endpoint, Io, TransportError,
        dial::{is_tls, printable},
    },
};

const TE: HeaderName = HeaderName::from_static("te");
/// How long a connection goes on after its link, for what the peer is still to read.
const LINGER: Duration = Duration::from_secs(5);

/// Dials a hub's gRPC listener and makes the call. [`Dial::subprotocol`] is not asked for: there are packets alone.
///
/// # Errors
/// Which step failed, where, and what to do; a refusal carries the hub's own words.
///
/// # Cancel safety
/// Dropping the future drops the half-made connection.
pub async fn dial_grpc(dial: &Dial) -> Result<Grpc, DialError> {
    let endpoint = Endpoint::parse_hub(&dial.url)?;
    let request = request(dial, &endpoint)?;
    let started = tokio::time::Instant::now();
    let io = endpoint.connect(&dial.tls, dial.timeout).await?;
    let left = dial.timeout.saturating_sub(started.elapsed());
    finish(dial, &endpoint, io, request, left).await
}

/// As [`dial_grpc`], on a stream to the hub that is there already: a tunnel, or a simulated network.
///
/// # Errors
/// As [`dial_grpc`], but for connecting.
///
/// # Cancel safety
/// Dropping the future drops the stream.
pub async fn dial_grpc_over(dial: &Dial, io: Io) -> Result<Grpc, DialError> {
    let endpoint = Endpoint::parse_hub(&dial.url)?;
    let request = request(dial, &endpoint)?;
    finish(dial, &endpoint, io, request, dial.timeout).await
}

async fn finish(
    dial: &Dial,
    endpoint: &Endpoint,
    io: Io,
    request: Request<()>,
    left: Duration,
) -> Result<Grpc, DialError> {
    let url = endpoint.to_string();
    match tokio::time::timeout(left, call(dial, &url, io, request)).await {
        Ok(result) => result,
        Err(_) => Err(DialError::Timeout {
            url,
            after: dial.timeout,
        }),
    }
}

fn request(dial: &Dial, endpoint: &Endpoint) -> Result<Request<()>, DialError> {
    let scheme = if endpoint.is_tls() { "https" } else { "http" };
    // The authority was checked when the address was read.
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = format!("{scheme}://{}{PATH}", endpoint.host_header())
        .parse()
        .map_err(|_| DialError::NotGrpc {
            url: endpoint.to_string(),
            problem: "its name cannot stand in a request".to_owned(),
        })?;
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE_NAME, CONTENT_TYPE);
    headers.insert(TE, HeaderValue::from_static("trailers"));
    let agent = concat!("towline/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    if let Some(token) = &dial.bearer {
        let bearer = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut bearer = bearer
            .ok()
            .filter(|_| !token.is_empty())
            .ok_or(DialError::Token)?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
    }
    Ok(request)
}

async fn call(dial: &Dial, url: &str, io: Io, request: Request<()>) -> Result<Grpc, DialError> {
    let (io, heard) = Begun::heard(io);
    let failed = |error: h2::Error, heard: &Heard| failed(url, error, &heard.bytes());
    let handshake = Builder::new()
        .initial_window_size(limits::GRPC_WINDOW)
        .initial_connection_window_size(limits::GRPC_WINDOW)
        .max_frame_size(limits::GRPC_FRAME)
        .max_header_list_size(limits::GRPC_HEADERS)
        .max_send_buffer_size(limits::GRPC_SEND_BUFFER)
        .data_frame_budget(limits::GRPC_SMALL_FRAMES)
        .reset_stream_duration(limits::GRPC_RESET_KEPT)
        .enable_push(false)
        .handshake::<_, Bytes>(io);
    let (requests, connection) = handshake.await.map_err(|error| failed(error, &heard))?;
    let gone = CancellationToken::new();
    let over = gone.clone();
    tokio::spawn(async move {
        let lingered = async {
            over.cancelled().await;
            tokio::time::sleep(LINGER).await;
        };
        tokio::select! {
            biased;
            ended = connection => if let Err(error) = ended {
                tracing::debug!(%error, "the HTTP/2 connection ended");
            },
            () = lingered => {}
        }
    });
    let guard = gone.drop_guard();
    let mut requests = requests.ready().await.map_err(|error| failed(error, &heard))?;
    let (answer, send) = requests
        .send_request(request, false)
        .map_err(|error| failed(error, &heard))?;
    let answer = answer.await.map_err(|error| failed(error, &heard))?;
    check(url, &answer)?;
    Ok(Grpc::new(
        Side::Plugin,
        send,
        answer.into_body(),
        dial.limit,
        Some(guard),
    ))
}

/// Whether the call was taken.
fn check<B>(url: &str, answer: &Response<B>) -> Result<(), DialError> {
    let (status, headers) = (answer.status(), answer.headers());
    if let Some((code, message)) = read_status(headers)
        && code != Code::Ok
    {
        return Err(DialError::RefusedCall {
            url: url.to_owned(),
            code,
            message: printable(message.as_bytes()),
        });
    }
    if status != StatusCode::OK {
        return Err(DialError::Refused {
            url: url.to_owned(),
            status: status.as_u16(),
            retry_after: seconds(headers, "retry-after"),
            body: "it is no gRPC server, or a proxy answered for it".to_owned(),
        });
    }
    let not_grpc = |problem: &str| DialError::NotGrpc {
        url: url.to_owned(),
        problem: problem.to_owned(),
    };
    let kind = headers
        .get(CONTENT_TYPE_NAME)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    if !kind.starts_with(b"application/grpc") {
        return Err(not_grpc("its answer is no answer of gRPC: is the port right?"));
    }
    if headers
        .get(ENCODING)
        .is_some_and(|encoding| encoding != "identity")
    {
        return Err(not_grpc("it compresses its messages, which nobody asked for"));
    }
    Ok(())
}

fn seconds(headers: &HeaderMap, name: &str) -> Option<Duration> {
    let seconds = headers.get(name)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// What an end before the answer means: `heard` tells who answers there.
fn failed(url: &str, error: h2::Error, heard: &[u8]) -> DialError {
    let not_grpc = |problem: String| DialError::NotGrpc {
        url: url.to_owned(),
        problem,
    };
    if heard.starts_with(b"HTTP/1.") {
        let line = heard.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let body = heard
            .windows(4)
            .position(|end| end == b"\r\n\r\n")
            .map_or(&b""[..], |at| &heard[at + 4..]);
        return not_grpc(format!(
            "it answers in HTTP/1.1 ({} {}): gRPC has a port of its own at the hub (--grpc-listen); for /ws use ws:// or wss://",
            printable(line),
            printable(body)
        ));
    }
    if is_tls(heard) {
        let text = "its answer is TLS: use grpcs://, and a CA file if its CA is your own";
        return not_grpc(text.to_owned());
    }
    if heard.is_empty() && !error.is_remote() {
        let text = "it ended the connection without an answer: gRPC has a port of its own at the hub (--grpc-listen), and \
            needs grpcs:// where that has TLS";
        return not_grpc(text.to_owned());
    }
    if !error.is_remote() && !error.is_io() {
        return not_grpc(format!("its answer is not HTTP/2 ({error})"));
    }
    let source = match broken(error) {
        TransportError::Io(source) => source,
        other => std::io::Error::other(other.to_string()),
    };
    ConnectError::Connect {
        address: url.to_owned(),
        source,
    }
    .into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_is_never_shown_and_never_breaks_the_request() {
        let mut dial = Dial::new("grpc://hub:1", "");
        let endpoint = Endpoint::parse_hub(&dial.url).unwrap();
        for bad in ["", "secret\r\nx: y"] {
            dial.bearer = Some(bad.to_owned());
            assert!(matches!(request(&dial, &endpoint), Err(DialError::Token)));
        }
        dial.bearer = Some("secret".to_owned());
        let request = request(&dial, &endpoint).unwrap();
        assert!(!format!("{request:?}").contains("secret"), "{request:?}");
        assert_eq!(request.uri(), "http://hub:1/towline.v1.LinkService/Connect");
    }

    #[test]
    fn answers_that_are_no_link_say_what_they_are() {
        let said = |answer: Response<()>| check("grpc://hub", &answer).unwrap_err().to_string();
        let page = Response::builder().header("content-type", "text/html");
        assert!(said(page.body(()).unwrap()).contains("no answer of gRPC"));
        let proxy = Response::builder().status(502);
        assert!(said(proxy.body(()).unwrap()).contains("502"));
        let refused = Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-status", "16")
            .header("grpc-message", "no%20token");
        let text = said(refused.body(()).unwrap());
        assert!(
            text.contains("UNAUTHENTICATED") && text.contains("no token"),
            "{text}"
        );
        let squeezed = Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-encoding", "gzip");
        assert!(said(squeezed.body(()).unwrap()).contains("compresses"));
    }
}
