//! `/api/v1/.../log`: the log of one container, and where in it the reader is.

use std::time::{Duration, SystemTime};

use axum::{
    Extension,
    extract::{Path, State},
    http::{HeaderValue, Uri},
    response::Response,
};

use super::{
    Edge,
    answer::{Api, ErrorBody, Refusal},
    api::find_pod,
    logs::{Closing, Reading},
    openapi,
    query::Query,
};
use crate::{
    code::reason,
    hub::{CallMeta, LogQuery, PodView},
    wire::{LogOptions, LogPosition, PodRef, Timestamp},
};

/// The header with the position of the first byte of a log.
const LOG_POSITION: &str = "towline-log-position";

const LOG_KEYS: [&str; 10] = [
    "container",
    "follow",
    "tail",
    "since_seconds",
    "since_time",
    "timestamps",
    "limit_bytes",
    "previous",
    "position",
    "positions",
];

/// The log of one container, with kubectl's options. A log that cannot be finished is aborted: the last chunk
/// is missing.
#[utoipa::path(
    get, path = "/api/v1/namespaces/{namespace}/pods/{name}/log", tag = "api",
    params(
        ("namespace" = String, Path, description = "Namespace."),
        ("name" = String, Path, description = "Pod name."),
        ("container" = Option<String>, Query, description = "Container; the only one or the first main one when absent."),
        ("follow" = Option<bool>, Query, description = "Go on until the container has ended."),
        ("tail" = Option<u64>, Query, description = "Start this many lines before the end."),
        ("since_seconds" = Option<u64>, Query, description = "Only lines of the last so many seconds."),
        ("since_time" = Option<String>, Query, description = "Only lines at or after this RFC 3339 time."),
        ("timestamps" = Option<bool>, Query, description = "Write the time before each line."),
        ("limit_bytes" = Option<u64>, Query, description = "Send at most this many bytes."),
        ("previous" = Option<bool>, Query, description = "The run before the present one."),
        ("position" = Option<String>, Query, description = "EPOCH:OFFSET to go on from; tail, since_* and previous are \
            then ignored."),
        ("positions" = Option<bool>, Query, description = "Answer lines of JSON with positions instead of raw bytes; a \
            blank line every 20 s of silence shows that the hub is there: take 60 s without one for a lost connection, and \
            go on with `position`."),
    ),
    responses(
        (status = 200,
            description = "Raw bytes; or with `positions` one LogLine a line, the last one `{\"end\":{epoch, offset, \
                eof, reset}}` or `{\"error\":{..}}`.",
            content((Vec<u8> = "application/octet-stream"), (openapi::LogLine = "application/x-ndjson")),
            headers(("Towline-Log-Position" = String, description = "EPOCH:OFFSET of the first byte."))),
        (status = 400, description = "Unknown query key or value.", body = ErrorBody),
        (status = 404, description = "No such pod, container or log.", body = ErrorBody),
        (status = 503, description = "Its plugin is away.", body = ErrorBody),
    )
)]
pub(super) async fn log(
    State(edge): State<Edge>,
    Extension(meta): Extension<CallMeta>,
    closing: Option<Extension<Closing>>,
    Path((namespace, name)): Path<(String, String)>,
    uri: Uri,
) -> Result<Response, Api> {
    let query = Query::parse(&uri, &LOG_KEYS)?;
    let options = log_options(&query, SystemTime::now())?;
    let start: Option<Start> = query.value("position", "EPOCH:OFFSET, two whole numbers")?;
    let positions = query.flag("positions")?;
    let pod = find_pod(&edge, &namespace, &name)?;
    let container = query.text("container").unwrap_or_default().to_owned();
    check_container(&pod, &container)?;
    let asked = LogQuery {
        pod: PodRef::new(pod.uid, pod.namespace, pod.name),
        container,
        options,
        start: start.map(|start| start.0),
        meta,
    };
    let viewer = edge.hub.logs(None, asked).await?;
    let closing = closing.map(|Extension(closing)| closing).unwrap_or_default();
    let reading = Reading::start(viewer, closing).await?;
    let position = reading.position();
    let mut response = if positions { reading.lines() } else { reading.raw() };
    if let Some(at) = position
        && let Ok(value) = HeaderValue::from_str(&format!("{}:{}", at.epoch, at.offset))
    {
        response.headers_mut().insert(LOG_POSITION, value);
    }
    Ok(response)
}

/// Names the containers there are, when the hub knows them.
fn check_container(pod: &PodView, container: &str) -> Result<(), Refusal> {
    let names: Vec<&str> = [&pod.init_containers, &pod.containers]
        .iter()
        .filter_map(|list| list.as_array())
        .flatten()
        .filter_map(|item| item["name"].as_str())
        .collect();
    if container.is_empty() || names.is_empty() || names.contains(&container) {
        return Ok(());
    }
    let message = format!(
        "pod {:?} has no container {container:?}; it has: {}",
        pod.name,
        names.join(", ")
    );
    Err(Refusal::not_found(reason::NO_LOG, message))
}

/// kubectl's options; a span of seconds becomes a time now, so that a reopened stream means the same.
fn log_options(query: &Query, now: SystemTime) -> Result<LogOptions, Refusal> {
    let number = "a whole number";
    let since_seconds: Option<u64> = query.value("since_seconds", "a whole number of seconds")?;
    let since_time: Option<Timestamp> = query.value("since_time", "an RFC 3339 time")?;
    let since_time = match (since_seconds, since_time) {
        (Some(_), Some(_)) => {
            return Err(Refusal::invalid(
                "since_seconds and since_time are both set: set only one of them",
            ));
        }
        (Some(seconds), None) => Some(seconds_before(now, seconds)),
        (None, time) => time,
    };
    Ok(LogOptions {
        tail: query.value("tail", number)?,
        limit_bytes: query.value("limit_bytes", number)?,
        timestamps: query.flag("timestamps")?,
        follow: query.flag("follow")?,
        previous: query.flag("previous")?,
        since_time,
    })
}

/// EPOCH:OFFSET as it stands in a query.
struct Start(LogPosition);

impl std::str::FromStr for Start {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (epoch, offset) = text.split_once(':').ok_or(())?;
        let epoch = epoch.parse().map_err(drop)?;
        let offset = offset.parse().map_err(drop)?;
        Ok(Self(LogPosition { epoch, offset }))
    }
}

/// A time so many seconds ago; the epoch when that is before it.
fn seconds_before(now: SystemTime, seconds: u64) -> Timestamp {
    let then = now
        .checked_sub(Duration::from_secs(seconds))
        .unwrap_or(SystemTime::UNIX_EPOCH);
    then.max(SystemTime::UNIX_EPOCH).into()
}
