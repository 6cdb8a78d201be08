//! Create: recorded, sent once, and never sent again before it was asked what became of it.

use std::sync::Arc;

use bytes::Bytes;
use hyper::Method;
use tokio::time::timeout;

use super::{Shared, answer, pods::Fate, record::Record, unrecorded};
use crate::{
    code::{Code, reason},
    interlink::{self, RetrievedPodData},
    limits,
    plugin::{Create, Created},
    upstream::{Ask, Whole, told},
    wire::Status,
};

impl Shared {
    pub(super) async fn create(self: &Arc<Self>, create: Create) -> Result<Created, Status> {
        let body: RetrievedPodData =
            interlink::parse(&create.payload).map_err(|bad| Status::bad_pod(bad).not_started())?;
        let uid = create.pod.uid.clone();
        let mut adopted = false;
        let begun = {
            let mut pods = self.pods();
            let full = pods.len() >= limits::UPSTREAM_PODS;
            match pods.get_mut(&uid) {
                Some(entry) if entry.record.created => {
                    let told = entry.state.as_ref().map(|state| state.job_id.clone());
                    let recorded = Some(entry.record.job_id.clone()).filter(|job| !job.is_empty());
                    return Ok(Created {
                        job_id: recorded.or(told).unwrap_or_default(),
                        existed: true,
                    });
                }
                Some(entry) => {
                    adopted = entry.record.adopted;
                    true
                }
                None if full => {
                    let text = format!("{} pods are known here already", limits::UPSTREAM_PODS);
                    return Err(Status::new(Code::ResourceExhausted, reason::QUOTA, text).not_started());
                }
                None => false,
            }
        };
        let record = Record::new(body.pod.clone());
        if !begun || adopted {
            if adopted {
                // It is ours now, and what is written of it says so.
                self.pods().put(record.clone());
            }
            // Before it is sent: who comes after a crash must know that it may have been.
            self.keep(record.clone())
                .await
                .map_err(|error| unrecorded(&error).not_started())?;
            self.pods().put(record.clone());
        }
        if begun || create.resumed {
            match self.fate(&uid).await {
                Fate::Present(job_id) => return Ok(self.taken(&record, job_id, true).await),
                Fate::Absent => {}
                Fate::Open => {
                    let text = "whether the pod was started before is not known: the upstream does not say";
                    return Err(Status::new(Code::Unknown, reason::SUBMIT_UNKNOWN, text));
                }
            }
        }
        let sending = Sending::begin(self, &uid);
        let answer = self.send(&body, &create).await;
        drop(sending);
        match answer {
            Ok(job_id) => Ok(self.taken(&record, job_id, false).await),
            Err(status) => {
                let open = matches!(status.kind(), Code::Unknown | Code::Unavailable) && !status.not_started;
                if !open && let Err(error) = self.forget(&uid, false).await {
                    tracing::warn!(pod = %create.pod, %error, "the record of a refused pod could not be removed");
                }
                Err(status)
            }
        }
    }

    /// The plugin has it: from now on a repeated create is answered from the record.
    async fn taken(self: &Arc<Self>, record: &Record, job_id: String, existed: bool) -> Created {
        let record = record.taken(&job_id);
        self.pods().put(record.clone());
        if let Err(error) = self.keep(record).await {
            // The one that says that it was sent is still there, and the runtime keeps the job too.
            tracing::error!(%error, "that a pod was created could not be recorded");
        }
        Created { job_id, existed }
    }

    async fn send(&self, body: &RetrievedPodData, create: &Create) -> Result<String, Status> {
        let failed =
            |error| Status::bad_pod(format!("the pod cannot be written as JSON: {error}")).not_started();
        let body = if self.config.legacy_list {
            serde_json::to_vec(&[body])
        } else {
            serde_json::to_vec(body)
        };
        let ask = Ask {
            method: Method::POST,
            path: "/create",
            body: Bytes::from(body.map_err(failed)?),
            within: self.config.create_timeout,
            repeatable: false,
            metadata: Some(&create.metadata),
        };
        match self.upstream.ask(&ask).await {
            Ok(whole) if whole.status.is_success() => Ok(answer::job_of(&whole.body, &create.pod.uid)),
            Ok(whole) => Err(refusal(&whole)),
            Err(failed) => Err(failed.of_create(&self.upstream.address())),
        }
    }

    /// What became of a create that was begun: the next status calls tell, as none is made out of turn.
    async fn fate(&self, uid: &str) -> Fate {
        let mut polls = self.polls.subscribe();
        self.pods().urge(uid, true);
        let wait = async {
            loop {
                {
                    let pods = self.pods();
                    let fate = pods.fate(uid);
                    if fate != Fate::Open || pods.is_down() {
                        return fate;
                    }
                }
                if polls.changed().await.is_err() {
                    return Fate::Open;
                }
            }
        };
        let fate = timeout(limits::UPSTREAM_CREATE, wait).await.unwrap_or(Fate::Open);
        self.pods().urge(uid, false);
        fate
    }
}

/// The plugin's text word for word. Any code but these is a refusal, as it is for interLink: slurm's plugin says 504
/// when sbatch does not take a pod.
fn refusal(whole: &Whole) -> Status {
    let text = told(whole.status, &whole.body);
    let (code, word) = match whole.status.as_u16() {
        429 => (Code::ResourceExhausted, reason::QUOTA),
        // A proxy that has lost the plugin.
        502 => (Code::Unknown, reason::SUBMIT_UNKNOWN),
        503 => (Code::Unavailable, reason::NOT_READY),
        _ => (Code::FailedPrecondition, reason::SUBMIT_REJECTED),
    };
    let mut status = Status::new(code, word, text);
    if let Some(after) = whole.retry_after {
        status.retry_after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    }
    status
}

/// While it lives the plugin is not asked about the pod: it need not have it yet.
struct Sending<'a> {
    shared: &'a Shared,
    uid: &'a str,
}

impl<'a> Sending<'a> {
    fn begin(shared: &'a Shared, uid: &'a str) -> Self {
        let sending = Self { shared, uid };
        sending.set(true);
        sending
    }

    fn set(&self, is: bool) {
        if let Some(entry) = self.shared.pods().get_mut(self.uid) {
            entry.sending = is;
        }
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.set(false);
    }
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;

    #[test]
    fn an_error_of_the_plugin_is_its_refusal_word_for_word() {
        let judge = |code: StatusCode| {
            refusal(&Whole {
                status: code,
                retry_after: None,
                body: Bytes::from_static(b"sbatch: error: Invalid account"),
            })
        };
        for code in [400, 404, 405, 422, 500, 501, 504] {
            let status = judge(StatusCode::from_u16(code).unwrap_or_default());
            assert_eq!(status.kind(), Code::FailedPrecondition, "{code}");
            assert_eq!(status.message, "sbatch: error: Invalid account");
        }
        assert_eq!(judge(StatusCode::BAD_GATEWAY).reason, reason::SUBMIT_UNKNOWN);
        assert_eq!(judge(StatusCode::SERVICE_UNAVAILABLE).kind(), Code::Unavailable);
        assert_eq!(
            judge(StatusCode::TOO_MANY_REQUESTS).kind(),
            Code::ResourceExhausted
        );
    }
}
