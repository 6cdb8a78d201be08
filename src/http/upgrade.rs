//! `/ws`: a plugin dials in. Everything is refused here, with a body that says why, that would be hard to
//! tell from a broken link later.

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::Response,
    routing::any,
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{sync::OwnedSemaphorePermit, time::timeout};
use tracing::Instrument;

use super::{Edge, answer::Refusal, guard::bare};
use crate::{
    code::{Code, reason},
    hub::{Identity, Way},
    limits,
    server::{Remote, Timed},
    transport::{Io, WebSocket, accept_key},
    wire::{Status, Subprotocol},
};

pub(super) fn routes() -> Router<Edge> {
    Router::new().route("/ws", any(upgrade))
}

/// Takes over the connection as a link.
#[utoipa::path(
    get, path = "/ws", tag = "link",
    params(
        ("Upgrade" = String, Header, description = "websocket"),
        ("Sec-WebSocket-Version" = String, Header, description = "13"),
        ("Sec-WebSocket-Key" = String, Header, description = "As RFC 6455 has it."),
        ("Sec-WebSocket-Protocol" = String, Header, description = "Must offer towline.v1.proto (taken when both are) or towline.v1.json."),
    ),
    responses(
        (status = 101, description = "The link: docs/PROTOCOL.md."),
        (status = 400, description = "No known subprotocol, or a broken upgrade."),
        (status = 401, description = "No token."),
        (status = 403, description = "Wrong token, or sent by a browser."),
        (status = 426, description = "Not a WebSocket upgrade."),
        (status = 503, description = "Too many upgrades at once: come back after Retry-After."),
    )
)]
pub(super) async fn upgrade(State(edge): State<Edge>, mut request: Request) -> Response {
    let prepared = match prepare(&edge, &mut request) {
        Ok(prepared) => prepared,
        Err((why, refusal)) => {
            edge.hub.count_refused(why);
            return refused(refusal);
        }
    };
    let mut response = bare(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(
        header::SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static(prepared.subprotocol.name()),
    );
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, prepared.accept.clone());
    let span = tracing::info_span!("link", remote = prepared.identity.remote);
    // Boxed: what this needs for a moment is not kept as long as the link lives.
    let taken = Box::pin(take_over(edge, prepared));
    let link = async {
        if let Some(link) = taken.await {
            link.await;
        }
    };
    tokio::spawn(link.instrument(span));
    response
}

/// A checked upgrade.
struct Prepared {
    accept: HeaderValue,
    subprotocol: Subprotocol,
    upgrade: OnUpgrade,
    identity: Identity,
    permit: OwnedSemaphorePermit,
}

type Refused = (&'static str, Refusal);

fn prepare(edge: &Edge, request: &mut Request) -> Result<Prepared, Refused> {
    check_upgrade(request)?;
    let headers = request.headers();
    let subprotocol = agree(headers).map_err(|refusal| ("subprotocol", refusal))?;
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .and_then(|key| key.to_str().ok())
        .unwrap_or_default();
    // A nonce of 16 bytes in base64 (RFC 6455 section 4.1).
    if key.len() != 24 {
        return Err(not_upgrade("Sec-WebSocket-Key must be 16 bytes in base64"));
    }
    let accept = HeaderValue::from_str(&accept_key(key))
        .map_err(|_| not_upgrade("Sec-WebSocket-Key must be 16 bytes in base64"))?;
    let permit = edge.handshakes.clone().try_acquire_owned().map_err(|_| {
        let message = "too many links are being set up at once";
        (
            "handshakes",
            Status::new(Code::Unavailable, reason::TOO_MANY_CALLS, message).into(),
        )
    })?;
    let remote = request
        .extensions()
        .get::<Remote>()
        .map_or_else(String::new, |remote| remote.0.to_string());
    let upgrade = request
        .extensions_mut()
        .remove::<OnUpgrade>()
        .ok_or_else(|| not_upgrade("this connection cannot be upgraded"))?;
    Ok(Prepared {
        accept,
        subprotocol,
        upgrade,
        identity: Identity {
            plugin: None,
            remote,
            way: Way::Link,
        },
        permit,
    })
}

fn check_upgrade(request: &Request) -> Result<(), Refused> {
    let headers = request.headers();
    if request.method() != Method::GET || !has_token(headers, header::UPGRADE, "websocket") {
        let message = "this is where plugins dial in: send a WebSocket upgrade (GET, Upgrade: websocket, subprotocol \
            towline.v1.proto or towline.v1.json); a proxy in front must pass Upgrade and Connection on";
        let refusal = Refusal::new(StatusCode::UPGRADE_REQUIRED, Code::InvalidArgument, message);
        return Err(("not_upgrade", refusal));
    }
    if !has_token(headers, header::CONNECTION, "upgrade") {
        return Err(not_upgrade(
            "the header Connection must hold Upgrade; a proxy in front may have removed it",
        ));
    }
    if headers
        .get(header::SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        return Err(not_upgrade("Sec-WebSocket-Version must be 13"));
    }
    Ok(())
}

fn not_upgrade(message: &str) -> Refused {
    ("not_upgrade", Refusal::invalid(message))
}

/// The best of the subprotocols that are offered.
fn agree(headers: &HeaderMap) -> Result<Subprotocol, Refusal> {
    let offered = |it: &Subprotocol| has_token(headers, header::SEC_WEBSOCKET_PROTOCOL, it.name());
    Subprotocol::ALL.into_iter().find(offered).ok_or_else(|| {
        Refusal::invalid(format!(
            "no subprotocol in common: Sec-WebSocket-Protocol must offer {} (binary) or {} (text)",
            Subprotocol::Proto,
            Subprotocol::Json
        ))
    })
}

/// Whether a header of comma-separated tokens holds this one.
fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

fn refused(refusal: Refusal) -> Response {
    let http = refusal.http;
    let mut response = refusal.plain();
    let headers = response.headers_mut();
    if http == StatusCode::UPGRADE_REQUIRED {
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    } else if http == StatusCode::BAD_REQUEST {
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    response
}

/// Waits for the socket. What it gives is the life of the link.
async fn take_over(edge: Edge, prepared: Prepared) -> Option<impl Future<Output = ()> + Send> {
    let Prepared {
        upgrade,
        identity,
        permit,
        subprotocol,
        ..
    } = prepared;
    let upgraded = match timeout(limits::HTTP_UPGRADE_TIMEOUT, upgrade).await {
        Ok(Ok(upgraded)) => upgraded,
        Ok(Err(error)) => {
            tracing::debug!(%error, "upgrade failed");
            return None;
        }
        Err(_) => {
            tracing::debug!("upgrade timed out");
            return None;
        }
    };
    drop(permit);
    let (socket, early) = bare_socket(upgraded);
    let link = WebSocket::accepted_with(socket, early, limits::MAX_MESSAGE).await;
    Some(edge.hub.clone().serve_link_as(link, identity, subprotocol))
}

/// The socket without HTTP's deadlines and layers, and what was read beyond the request.
fn bare_socket(upgraded: Upgraded) -> (Io, Bytes) {
    match upgraded.downcast::<TokioIo<Timed<Io>>>() {
        // A copy, for HTTP's whole read buffer would stay with the link, also when nothing was read ahead.
        Ok(parts) => (
            parts.io.into_inner().into_inner(),
            Bytes::copy_from_slice(&parts.read_buf),
        ),
        Err(upgraded) => (Io::other(TokioIo::new(upgraded)), Bytes::new()),
    }
}
