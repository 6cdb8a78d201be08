//! A script server: gets the pod as the plugin would, and answers with the text of its script.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use hyper::{Method, StatusCode};
use tokio::time::{Instant, sleep, timeout_at};

use super::origin::{Origin, Place};
use crate::{
    code::Code,
    interlink::RetrievedPodData,
    limits,
    transport::{Endpoint, TlsConfig},
    upstream::{Answer, Ask, Failed, Upstream, told},
    wire::Status,
};

/// The servers that were asked, with their idle connections: as many as there are allowed origins.
#[derive(Debug, Default)]
pub(super) struct Servers(Mutex<HashMap<Origin, Arc<Upstream>>>);

/// Why there is no script.
#[derive(Debug)]
enum Trouble {
    /// Asking again does not mend it.
    Final(Status),
    /// It may be over soon; asking again harms nothing, as nothing is begun there.
    Passing(String),
    /// The time is over.
    Slow,
}

impl Servers {
    /// Asks until there is an answer that stands, or the time is over.
    pub(super) async fn script(
        &self,
        place: &Place,
        pod: &RetrievedPodData,
        metadata: &HashMap<String, String>,
        until: Instant,
        within: Duration,
    ) -> Result<String, Status> {
        let server = self.of(&place.origin)?;
        let body = serde_json::to_vec(pod).map_err(|error| {
            let text = format!("the pod cannot be written as JSON: {error}");
            Status::new(Code::Internal, "", text)
        })?;
        let mut ask = Ask {
            method: Method::POST,
            path: &place.path,
            body: Bytes::from(body),
            within,
            repeatable: true,
            metadata: Some(metadata),
        };
        let mut pause = limits::JOBSCRIPT_PAUSE;
        loop {
            ask.within = until.saturating_duration_since(Instant::now());
            let trouble = match timeout_at(until, once(&server, &place.origin, &ask)).await {
                Ok(Ok(script)) => return Ok(script),
                Ok(Err(Trouble::Final(status))) => {
                    tracing::warn!(server = %place.origin, code = ?status.kind(), "a job script was refused");
                    return Err(status);
                }
                Ok(Err(Trouble::Passing(trouble))) => trouble,
                Ok(Err(Trouble::Slow)) | Err(_) => return Err(slow(&place.origin, within)),
            };
            if Instant::now() + pause >= until {
                tracing::warn!(server = %place.origin, "a script server stayed away");
                let text = format!(
                    "no job script within {} s: the server {} {trouble}",
                    within.as_secs_f32(),
                    place.origin
                );
                return Err(Status::new(Code::Unavailable, "", text));
            }
            sleep(pause).await;
            pause = (pause * 2).min(limits::JOBSCRIPT_PAUSE_MAX);
        }
    }

    fn of(&self, origin: &Origin) -> Result<Arc<Upstream>, Status> {
        let mut servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = servers.get(origin) {
            return Ok(server.clone());
        }
        let endpoint = Endpoint::parse(&origin.to_string())
            .map_err(|error| Status::new(Code::FailedPrecondition, "", error.to_string()))?;
        let server = Arc::new(Upstream::new(endpoint, TlsConfig::default()));
        servers.insert(origin.clone(), server.clone());
        Ok(server)
    }
}

fn slow(origin: &Origin, within: Duration) -> Status {
    tracing::warn!(server = %origin, "a script server did not answer in time");
    let seconds = within.as_secs_f32();
    let text = format!("no job script: the server {origin} did not answer within {seconds} s");
    Status::new(Code::DeadlineExceeded, "", text)
}

/// Asks once.
async fn once(server: &Upstream, origin: &Origin, ask: &Ask<'_>) -> Result<String, Trouble> {
    let refused = |text: String| {
        let text = format!("the job script server {origin} {text}");
        Trouble::Final(Status::new(Code::FailedPrecondition, "", text))
    };
    let failed = |failed: Failed| match failed {
        Failed::NotReached(_) | Failed::Lost(_) => Trouble::Passing(failed.to_string()),
        Failed::Silent(_) => Trouble::Slow,
        Failed::TooLarge => refused(failed.to_string()),
    };
    let answer = server.open(ask).await.map_err(failed)?;
    let status = answer.status;
    if status.is_redirection() {
        return Err(refused(format!(
            "answered with a redirect (HTTP {}), which is not followed: give the URL where the script is",
            status.as_u16()
        )));
    }
    if status.is_success() {
        let body = read(server, answer, limits::JOBSCRIPT).await.map_err(failed)?;
        let Ok(body) = body else {
            return Err(refused(format!(
                "sent more than {} MiB: that is no job script",
                limits::JOBSCRIPT >> 20
            )));
        };
        return String::from_utf8(body).map_err(|_| refused("sent a script that is not UTF-8".to_owned()));
    }
    // What is too long of an error is cut by told.
    let body = read(server, answer, limits::UPSTREAM_TEXT)
        .await
        .map_err(failed)?;
    let text = told(status, &body.unwrap_or_else(|begin| begin));
    let text = format!("answered HTTP {}: {text}", status.as_u16());
    Err(match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Trouble::Passing(text),
        _ => refused(text),
    })
}

/// The body, or its begin if it is longer than that.
async fn read(
    server: &Upstream,
    mut answer: Answer,
    most: usize,
) -> Result<Result<Vec<u8>, Vec<u8>>, Failed> {
    let mut body = Vec::new();
    while let Some(bytes) = answer.next().await? {
        let room = most - body.len();
        if bytes.len() > room {
            body.extend_from_slice(&bytes[..room]);
            return Ok(Err(body));
        }
        body.extend_from_slice(&bytes);
    }
    server.done(answer);
    Ok(Ok(body))
}
