//! A complete plugin: a pod is its first container's command, run on this machine, its log in `/tmp/UID.log`.
use std::{collections::HashMap, error::Error, fs, time::SystemTime};
use tokio::{process, sync::Mutex};
use towline::{code::Code, plugin::*, wire::*};

#[derive(Default)]
struct Shell(Mutex<HashMap<String, (PodState, process::Child)>>);

fn bad(problem: impl ToString) -> Status {
    Status::new(Code::InvalidArgument, "BAD_POD", problem.to_string())
}

impl Handler for Shell {
    async fn create(&self, Create { pod, payload, .. }: Create) -> Result<Created, Status> {
        let mut jobs = self.0.lock().await;
        if let Some((state, _)) = jobs.get(&pod.uid) {
            return Ok(Created {
                job_id: state.job_id.clone(),
                existed: true,
            });
        }
        let body: serde_json::Value = serde_json::from_slice(&payload).map_err(bad)?;
        let main = &body["pod"]["spec"]["containers"][0];
        let words: Vec<String> = serde_json::from_value(main["command"].clone()).map_err(bad)?;
        let (program, words) = words.split_first().ok_or_else(|| bad("the command is empty"))?;
        let log = fs::File::create(format!("/tmp/{}.log", pod.uid)).map_err(bad)?;
        let mut command = process::Command::new(program);
        let job = command
            .args(words)
            .stdout(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(bad)?;
        let job_id = job.id().unwrap_or_default().to_string();
        let main = ContainerState::running(main["name"].as_str().unwrap_or_default(), SystemTime::now());
        let state = PodState::present(pod.clone(), &job_id, vec![main]);
        jobs.insert(pod.uid, (state, job));
        Ok(Created {
            job_id,
            existed: false,
        })
    }
    async fn delete(&self, delete: Delete) -> Result<Deleted, Status> {
        Ok(Deleted {
            existed: self.0.lock().await.remove(&delete.pod.uid).is_some(),
        })
    }
    async fn status(&self, which: Which) -> Result<Vec<PodState>, Status> {
        let mut jobs = self.0.lock().await;
        for (state, job) in jobs.values_mut() {
            if let Ok(Some(exit)) = job.try_wait() {
                state.containers[0].end(exit.code().unwrap_or(137));
            }
        }
        let find = |pod: PodRef| {
            jobs.get(&pod.uid)
                .map_or(PodState::absent(pod), |job| job.0.clone())
        };
        Ok(match which {
            Which::All => jobs.values().map(|job| job.0.clone()).collect(),
            Which::Pods(pods) => pods.into_iter().map(find).collect(),
        })
    }
    async fn logs(&self, LogRequest { pod, .. }: LogRequest, mut sink: LogSink) -> Result<LogsEnd, Status> {
        let log = fs::read(format!("/tmp/{}.log", pod.uid)).map_err(bad)?;
        for chunk in LogChunk::cut(1, 0, log) {
            sink.send(chunk).await?;
        }
        Ok(LogsEnd::default())
    }
    async fn node(&self) -> NodeStatus {
        NodeStatus {
            ready: true,
            cpu: "4".into(),
            memory: "8Gi".into(),
            pods: "10".into(),
            ..Default::default()
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let config = PluginConfig::new("ws://127.0.0.1:3000", "shell");
    Plugin::new(config, Shell::default())?
        .run(CancellationToken::new())
        .await;
    Ok(())
}
