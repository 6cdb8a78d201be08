//! A handler that notes what it is asked, and its plugin with a REST side in this process.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{sync::Semaphore, task::JoinHandle};
use towline::{
    connection::LogSink,
    plugin::{
        CancellationToken, Create, Created, Delete, Deleted, Handler, LogRequest, Plugin, PluginConfig, Which,
    },
    sidecar::{self, SidecarConfig},
    transport::Listener,
    wire::{ContainerState, LogChunk, LogPosition, LogsEnd, NodeStatus, PodState, Status},
};

#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) creates: Mutex<Vec<Create>>,
    pub(crate) deletes: Mutex<Vec<Delete>>,
    pub(crate) pods: Mutex<Vec<PodState>>,
    /// A create waits here, if it is there.
    pub(crate) gate: Option<Semaphore>,
    /// Chunks of an endless log that were taken.
    pub(crate) chunks: AtomicUsize,
    /// An endless log has ended.
    pub(crate) log_ended: Ended,
    pub(crate) not_ready: Mutex<Option<String>>,
}

/// Counts.
#[derive(Clone)]
pub(crate) struct Ended(pub(crate) Arc<Semaphore>);

impl Default for Ended {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }
}

/// Tells when the handler's future is dropped.
struct Ending(Ended);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.0.add_permits(1);
    }
}

impl Handler for Fake {
    async fn create(&self, create: Create) -> Result<Created, Status> {
        self.creates.lock().unwrap().push(create.clone());
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        if create.pod.name == "refused" {
            return Err(Status::bad_pod("no queue\nfor it"));
        }
        let job_id = format!("job of {}", create.pod.name);
        let containers = vec![ContainerState::running("main")];
        let state = PodState::present(create.pod, job_id.clone(), containers);
        self.pods.lock().unwrap().push(state);
        Ok(Created::new(job_id))
    }

    async fn delete(&self, delete: Delete) -> Result<Deleted, Status> {
        self.deletes.lock().unwrap().push(delete);
        Ok(Deleted { existed: true })
    }

    async fn status(&self, which: Which) -> Result<Vec<PodState>, Status> {
        Ok(which.of(self.pods.lock().unwrap().iter()))
    }

    /// Follows for ever; else it is one line, or there is none.
    async fn logs(&self, request: LogRequest, mut sink: LogSink) -> Result<LogsEnd, Status> {
        if !request.options.follow {
            return match request.container.as_str() {
                "none" => Err(Status::no_log("it has not started")),
                _ => request.answer("a line\n", sink).await,
            };
        }
        let _ending = Ending(self.log_ended.clone());
        let mut offset = 0;
        loop {
            let chunk = LogChunk {
                at: Some(LogPosition { epoch: 1, offset }),
                data: vec![b'x'; 64 << 10].into(),
                ..LogChunk::default()
            };
            sink.send(chunk).await?;
            offset += 64 << 10;
            self.chunks.fetch_add(1, Ordering::SeqCst);
        }
    }

    async fn node(&self) -> NodeStatus {
        let ready = NodeStatus::ready("4", "8Gi", "10");
        match self.not_ready.lock().unwrap().clone() {
            Some(reason) => NodeStatus {
                ready: false,
                reason,
                ..ready
            },
            None => ready,
        }
    }
}

/// A plugin whose REST is served.
pub(crate) struct Served {
    pub(crate) fake: Arc<Fake>,
    pub(crate) address: String,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Served {
    /// Without a link, or with one to this hub.
    pub(crate) async fn start(fake: Fake, hub: Option<&str>, rest: SidecarConfig) -> Self {
        let fake = Arc::new(fake);
        let listener = Listener::bind("127.0.0.1:0", None).await.unwrap();
        let address = listener.local_addr();
        let mut config = PluginConfig::new(hub.unwrap_or("ws://127.0.0.1:1/ws"), "site");
        config.meanwhile = Some("REST".to_owned());
        let plugin = Plugin::new(config, Arc::clone(&fake));
        let local = plugin.local();
        let stop = CancellationToken::new();
        let (stopped, linked) = (stop.clone(), hub.is_some());
        let running = tokio::spawn(async move {
            let serving = sidecar::serve(listener, local, rest, stopped.clone().cancelled_owned());
            let running = async {
                if linked {
                    plugin.run(stopped).await
                } else {
                    plugin.run_unlinked(stopped).await
                }
            };
            let ((), ran) = tokio::join!(serving, running);
            ran.unwrap();
        });
        Self {
            fake,
            address,
            stop,
            running,
        }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap();
    }
}
