//! A client that creates pods, reads their status, follows their logs and deletes some, over simulated TCP; and what it
//! must never see.

use std::{cell::Cell, rc::Rc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::{
    hosts::{PluginHost, connect},
    site::text_at,
    trace::{note, violated},
};

/// Beyond its own limit a call may take this: latency both ways.
const SLACK: Duration = Duration::from_secs(2);
/// A line of a log comes at least this often, be it blank.
const SILENCE: Duration = Duration::from_secs(60);

/// One pod and what is to become of it.
pub(crate) struct Wish {
    name: String,
    uid: String,
    plugin: PluginHost,
    /// Deleted this long after its create, if ever.
    delete_after: Option<Duration>,
    begin: Duration,
    /// Highest version that was shown.
    seen: Cell<u64>,
    done: Cell<bool>,
}

impl Wish {
    pub(crate) fn new(index: usize, plugin: &PluginHost) -> Rc<Self> {
        Rc::new(Self {
            name: format!("pod-{index}"),
            uid: format!("6a2f41a3-c54c-4ce5-9d2e-{:012x}", fastrand::u64(..1 << 48)),
            plugin: plugin.clone(),
            delete_after: (fastrand::u8(..3) == 0)
                .then(|| Duration::from_millis(fastrand::u64(5_000..40_000))),
            begin: Duration::from_millis(fastrand::u64(..30_000)),
            seen: Cell::new(0),
            done: Cell::new(false),
        })
    }

    fn pod(&self) -> Value {
        json!({
            "metadata": {"name": self.name, "namespace": "default", "uid": self.uid,
                "annotations": {"towline/plugin": self.plugin.name}},
            "spec": {"containers": [{"name": "main", "image": "image", "command": ["work"]}]},
        })
    }
}

/// An answer whose head has come; none when the connection broke.
async fn open(method: &str, path: &str, body: String) -> Option<Response<Incoming>> {
    let stream = connect().await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "hub")
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    sender.send_request(request).await.ok()
}

/// A whole answer. The hub is held to its limit; a connection that is silent for longer is dead, and nobody's answer.
async fn ask(method: &str, path: &str, body: String, limit: Duration) -> Option<(u16, Bytes)> {
    let began = Instant::now();
    let whole = async {
        let (head, body) = open(method, path, body).await?.into_parts();
        Some((head.status.as_u16(), body.collect().await.ok()?.to_bytes()))
    };
    let answer = timeout(limit + SLACK, whole).await.ok().flatten();
    if answer.is_some() && began.elapsed() > limit + SLACK {
        violated(format!("{method} {path} took {:?}", began.elapsed()));
    }
    answer
}

/// One pod from its create to its end.
pub(crate) async fn live(wish: Rc<Wish>) {
    sleep(wish.begin).await;
    create(&wish).await;
    let raw = tokio::task::spawn_local(read_raw(wish.clone()));
    let by_position = tokio::task::spawn_local(read_by_position(wish.clone()));
    let deleter = wish.delete_after.map(|after| {
        let wish = wish.clone();
        tokio::task::spawn_local(async move {
            sleep(after).await;
            delete(&wish).await;
        })
    });
    if let Some(deleter) = deleter {
        deleter.await.unwrap();
    } else {
        poll(&wish).await;
        raw.await.unwrap();
        by_position.await.unwrap();
        return;
    }
    raw.abort();
    by_position.abort();
    wish.done.set(true);
    note(format!("{} is over", wish.name));
}

/// Asks until it is told that the pod was taken, as a kubelet that is started again does.
async fn create(wish: &Wish) {
    let body =
        json!({"pod": wish.pod(), "configmaps": null, "secrets": null, "jobscriptURL": ""}).to_string();
    loop {
        match ask("POST", "/create", body.clone(), Duration::from_secs(110)).await {
            Some((200, _)) => return note(format!("{} is created", wish.name)),
            Some((503, said)) => note(format!("create of {}: 503 {}", wish.name, text(&said))),
            Some((code, said)) => violated(format!("create of {}: {code} {}", wish.name, text(&said))),
            None => note(format!("create of {}: no answer", wish.name)),
        }
        sleep(Duration::from_secs(2)).await;
    }
}

fn text(said: &[u8]) -> String {
    String::from_utf8_lossy(said).trim().to_owned()
}

async fn delete(wish: &Wish) {
    loop {
        match ask(
            "DELETE",
            "/delete",
            wish.pod().to_string(),
            Duration::from_secs(30),
        )
        .await
        {
            Some((200, _)) => return note(format!("{} is deleted", wish.name)),
            Some((code, said)) => note(format!("delete of {}: {code} {}", wish.name, text(&said))),
            None => note(format!("delete of {}: no answer", wish.name)),
        }
        sleep(Duration::from_secs(2)).await;
    }
}

/// Reads the status every few seconds until the pod has ended.
async fn poll(wish: &Wish) {
    let body = json!([wish.pod()]).to_string();
    while wish.seen.get() < 3 {
        sleep(Duration::from_secs(3)).await;
        let Some((200, said)) = ask("GET", "/status", body.clone(), Duration::from_secs(30)).await else {
            continue;
        };
        let shown: Value = serde_json::from_slice(&said).unwrap();
        let state = &shown[0]["containers"][0];
        let id = state["containerID"].as_str().unwrap_or_default();
        let Some(version) = id.strip_prefix('v').and_then(|text| text.parse().ok()) else {
            if !state["state"]["terminated"].is_null() {
                return violated(format!("{} is shown as ended: {state}", wish.name));
            }
            continue;
        };
        let seen = wish.seen.replace(version);
        if version < seen {
            violated(format!("{} went back from v{seen} to v{version}", wish.name));
        }
        if version > seen {
            note(format!("{} is shown at v{version}", wish.name));
        }
        let exit = &state["state"]["terminated"]["exitCode"];
        let job = wish.plugin.batch.job(&wish.uid);
        if version == 3 && job.is_none_or(|job| *exit != job.exit) {
            violated(format!("{} is shown with exit {exit}", wish.name));
        }
    }
}

/// Follows the log as a kubectl does; one that was cut off begins anew. What came is always the beginning, whole.
async fn read_raw(wish: Rc<Wish>) {
    let body = json!({"Namespace": "default", "PodUID": wish.uid, "PodName": wish.name,
        "ContainerName": "main", "Opts": {"Follow": true}})
    .to_string();
    loop {
        let opening = open("GET", "/getLogs", body.clone());
        if let Ok(Some(answer)) = timeout(Duration::from_secs(30) + SLACK, opening).await
            && answer.status() == 200
        {
            let (mut body, mut offset) = (answer.into_body(), 0);
            let ended = loop {
                match timeout(4 * SILENCE, body.frame()).await {
                    Ok(Some(Ok(frame))) => {
                        let data = frame.into_data().unwrap_or_default();
                        check(&wish, offset, &data);
                        offset += data.len() as u64;
                    }
                    Ok(None) => break true,
                    Ok(Some(Err(_))) | Err(_) => break false,
                }
            };
            note(format!("log of {}: {offset} bytes, good end {ended}", wish.name));
            if ended {
                return complete(&wish, offset);
            }
        }
        sleep(Duration::from_secs(2)).await;
    }
}

/// Follows the log by position as `towline logs -f` does: over everything, each byte once.
async fn read_by_position(wish: Rc<Wish>) {
    let mut at: Option<(u64, u64)> = None;
    loop {
        let start = at.map_or_else(String::new, |(epoch, offset)| {
            format!("&position={epoch}:{offset}")
        });
        let path = format!(
            "/api/v1/namespaces/default/pods/{}/log?follow=true&positions=true{start}",
            wish.name
        );
        let opening = open("GET", &path, String::new());
        if let Ok(Some(answer)) = timeout(Duration::from_secs(30) + SLACK, opening).await
            && answer.status() == 200
        {
            let (mut body, mut unread) = (answer.into_body(), Vec::new());
            while let Ok(Some(Ok(frame))) = timeout(SILENCE, body.frame()).await {
                unread.extend_from_slice(&frame.into_data().unwrap_or_default());
                while let Some(end) = unread.iter().position(|&byte| byte == b'\n') {
                    let line: Vec<u8> = unread.drain(..=end).collect();
                    if line.len() > 1 && take_line(&wish, &mut at, &line) {
                        return;
                    }
                }
            }
            note(format!("log of {} goes on at {at:?}", wish.name));
        }
        sleep(Duration::from_secs(2)).await;
    }
}

/// True at the end of the log.
fn take_line(wish: &Wish, at: &mut Option<(u64, u64)>, line: &[u8]) -> bool {
    let line: Value = serde_json::from_slice(line).unwrap();
    let number = |key: &str| line[key].as_u64().unwrap_or(u64::MAX);
    if line["end"]["eof"] == true {
        note(format!("log of {} is complete at {at:?}", wish.name));
        complete(wish, at.map_or(0, |(_, offset)| offset));
        return true;
    }
    if line["data_b64"].is_null() {
        return false;
    }
    let data = BASE64.decode(line["data_b64"].as_str().unwrap()).unwrap();
    let offset = number("offset");
    if at.map_or(0, |(_, before)| before) != offset || number("gap_bytes") != 0 {
        violated(format!("log of {}: after {at:?} comes {offset}", wish.name));
    }
    check(wish, offset, &data);
    *at = Some((number("epoch"), number("next_offset")));
    false
}

fn check(wish: &Wish, offset: u64, data: &[u8]) {
    let wrong = data
        .iter()
        .zip(offset..)
        .find(|(byte, at)| **byte != text_at(&wish.uid, *at));
    if let Some((_, at)) = wrong {
        violated(format!("log of {}: wrong byte at {at}", wish.name));
    }
}

fn complete(wish: &Wish, offset: u64) {
    let whole = wish.plugin.batch.job(&wish.uid).map_or(0, |job| job.len());
    if offset != whole {
        violated(format!("log of {} ended well at {offset} of {whole}", wish.name));
    }
}

/// What must hold when all is quiet again; false while it does not yet.
pub(crate) async fn is_settled(wishes: &[Rc<Wish>]) -> bool {
    let Some((200, metrics)) = ask("GET", "/metrics", String::new(), Duration::from_secs(30)).await else {
        return false;
    };
    let metrics = text(&metrics);
    let at_rest = [
        "towline_creates_held",
        "towline_deletes_pending",
        "towline_log_streams_open",
    ]
    .iter()
    .all(|gauge| metrics.lines().any(|line| line == format!("{gauge} 0")));
    let told = wishes
        .iter()
        .filter(|wish| wish.delete_after.is_some())
        .all(|wish| wish.plugin.batch.job(&wish.uid).is_none_or(|job| job.cancelled));
    at_rest && told
}
