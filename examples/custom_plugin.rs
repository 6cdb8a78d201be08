//! A complete plugin: a pod is its first container's command, run on this machine, its log in `/tmp/UID.log`.
use std::{collections::HashMap, fs};
use tokio::{process::Child, sync::Mutex};
use towline::{plugin::*, wire::*};

#[derive(Default)]
struct Shell(Mutex<HashMap<String, (PodState, Child)>>);

impl Handler for Shell {
    async fn create(&self, create: Create) -> Result<Created, Status> {
        let (uid, main) = (create.pod.uid.clone(), create.containers()?.swap_remove(0));
        let log = fs::File::create(format!("/tmp/{uid}.log")).map_err(Status::bad_pod)?;
        let job = main.process()?.stdout(log).spawn().map_err(Status::bad_pod)?;
        let state = PodState::present(create.pod, &uid, vec![ContainerState::running(main.name)]);
        self.0.lock().await.insert(uid.clone(), (state, job));
        Ok(Created::new(uid))
    }
    async fn delete(&self, delete: Delete) -> Result<Deleted, Status> {
        Ok(Deleted::of(self.0.lock().await.remove(&delete.pod.uid)))
    }
    async fn status(&self, which: Which) -> Result<Vec<PodState>, Status> {
        let mut all = self.0.lock().await;
        all.values_mut().for_each(|(pod, job)| pod.waited(job.try_wait()));
        Ok(which.of(all.values().map(|(pod, _)| pod)))
    }
    async fn logs(&self, request: LogRequest, sink: LogSink) -> Result<LogsEnd, Status> {
        let log = fs::read(format!("/tmp/{}.log", request.pod.uid)).map_err(Status::no_log)?;
        request.answer(log, sink).await
    }
    async fn node(&self) -> NodeStatus {
        NodeStatus::ready("4", "8Gi", "10")
    }
}

#[tokio::main]
async fn main() -> Result<(), ConfigError> {
    let config = PluginConfig::new("ws://127.0.0.1:3000", "shell");
    Plugin::new(config, Shell::default())
        .run(CancellationToken::new())
        .await
}
