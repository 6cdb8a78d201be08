//! A client of the hub's REST that keeps its connection.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::transport::{Endpoint, TlsConfig};

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Largest answer: the metrics are the largest one.
const ANSWER: usize = 1 << 20;

/// One connection.
#[derive(Debug)]
pub(super) struct Rest {
    sender: http1::SendRequest<Full<Bytes>>,
    host: String,
}

impl Rest {
    /// To `http://` or `https://` and an address.
    pub(super) async fn connect(url: &str, tls: &TlsConfig) -> anyhow::Result<Self> {
        let endpoint = Endpoint::parse(url)?;
        let io = endpoint.connect(tls, PATIENCE).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(io)).await?;
        // It ends with its sender.
        tokio::spawn(connection);
        let host = url.split_once("://").map_or(url, |(_, host)| host).to_owned();
        Ok(Self { sender, host })
    }

    /// Sends, and gives the body of an answer that is 200.
    pub(super) async fn send(&mut self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let exchange = async {
            self.sender.ready().await?;
            let answer = self.sender.send_request(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER).collect().await;
            Ok::<_, anyhow::Error>((status, body.map_err(anyhow::Error::from_boxed)?.to_bytes()))
        };
        let (status, body) = timeout(PATIENCE, exchange)
            .await
            .with_context(|| format!("{path}: no answer within {PATIENCE:?}"))??;
        if status != StatusCode::OK {
            let text = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
            bail!("{path}: {status}: {text}");
        }
        Ok(body)
    }

    /// The sum of a metric's values over its labels that hold `label`; 0 when it has none yet.
    pub(super) async fn metric(&mut self, name: &str, label: &str) -> anyhow::Result<f64> {
        let text = self.send(Method::GET, "/metrics", Bytes::new()).await?;
        Ok(metric(&String::from_utf8_lossy(&text), name, label))
    }
}

fn metric(text: &str, name: &str, label: &str) -> f64 {
    text.lines()
        .filter_map(|line| line.strip_prefix(name))
        .filter(|rest| rest.starts_with([' ', '{']) && rest.contains(label))
        .filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// A pod as a virtual kubelet sends it, as small as one gets.
pub(super) fn pod(uid: &str, name: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "fleet", "uid": uid},
        "spec": {"containers": [{"name": "main", "image": "docker.io/library/busybox:1.36", "command": ["sleep", "1d"]}]},
    })
}

/// Checks the answer of a status request for one pod: it runs, and its latest state has come through.
pub(super) fn check_status(answer: &[u8], uid: &str, restarts: u32) -> anyhow::Result<()> {
    let answer: Value = serde_json::from_slice(answer)?;
    let pod = &answer[0];
    let container = &pod["containers"][0];
    ensure!(
        pod["UID"] == uid
            && container["state"]["running"].is_object()
            && container["restartCount"] == restarts,
        "the status of pod {uid} is not what its plugin told: {answer}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn metrics_are_summed_by_name_and_label() {
        let text = "# TYPE a counter\na_total{x=\"1\"} 2\na_total{x=\"2\"} 3\na_total_more 9\nb 7\n";
        assert_eq!(metric(text, "a_total", ""), 5.0);
        assert_eq!(metric(text, "a_total", "x=\"2\""), 3.0);
        assert_eq!(metric(text, "b", ""), 7.0);
        assert_eq!(metric(text, "c", ""), 0.0);
    }

    #[test]
    fn a_status_of_another_pod_or_of_before_is_no_answer() {
        let answer = |uid: &str, restarts: u32| {
            json!([{"UID": uid, "containers": [{"state": {"running": {}}, "restartCount": restarts}]}])
                .to_string()
        };
        check_status(answer("u", 3).as_bytes(), "u", 3).unwrap();
        assert!(check_status(answer("v", 3).as_bytes(), "u", 3).is_err());
        assert!(check_status(answer("u", 2).as_bytes(), "u", 3).is_err());
        assert!(check_status(b"[]", "u", 3).is_err());
    }
}
