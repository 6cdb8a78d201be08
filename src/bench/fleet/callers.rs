//! Many REST requests at once.

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use hyper::Method;
use tokio::time::Instant;

use super::{hub::HubProcess, rest::Rest};
use crate::bench::Latencies;

/// REST connections at once, one request each.
const CALLERS: usize = 16;

/// Connections that share a list of requests.
pub(super) struct Callers(Vec<Rest>);

impl Callers {
    pub(super) async fn new(hub: &HubProcess) -> anyhow::Result<Self> {
        let connecting = (0..CALLERS).map(|_| hub.rest());
        Ok(Self(
            stream::iter(connecting).buffered(CALLERS).try_collect().await?,
        ))
    }

    /// Sends all of them; `check` looks at each answer.
    pub(super) async fn all(
        self,
        method: Method,
        requests: &[(String, Bytes)],
        check: impl Fn(&[u8], usize) -> anyhow::Result<()>,
    ) -> anyhow::Result<Latencies> {
        let count = self.0.len();
        let (method, check) = (&method, &check);
        let callers = self
            .0
            .into_iter()
            .enumerate()
            .map(|(first, mut rest)| async move {
                let mut latencies = Latencies::default();
                for n in (first..requests.len()).step_by(count) {
                    let (path, body) = &requests[n];
                    let began = Instant::now();
                    let answer = rest.send(method.clone(), path, body.clone()).await?;
                    latencies.record(began.elapsed());
                    check(&answer, n)?;
                }
                Ok::<_, anyhow::Error>(latencies)
            });
        let mut all = Latencies::default();
        let mut callers = stream::iter(callers).buffer_unordered(count);
        while let Some(one) = callers.next().await {
            all.merge(&one?);
        }
        Ok(all)
    }
}
