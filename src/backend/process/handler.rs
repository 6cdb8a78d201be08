//! The five calls.

use std::{sync::Arc, time::SystemTime};

use super::{ProcessBackend, finish, log, node, plan, plan::Plan, state, store};
use crate::{
    code::{Code, reason},
    plugin::{Create, Created, Delete, Deleted, Events, Handler, LogRequest, LogSink, Which},
    wire::{LogsEnd, NodeStatus, PodEventType, PodState, Status, container_state::State, feature},
};

impl Handler for ProcessBackend {
    async fn create(&self, create: Create) -> Result<Created, Status> {
        let shared = &self.shared;
        if let Some(answer) = shared.existing(&create.pod.uid) {
            return answer;
        }
        let plan = Plan::read(&create.pod, &create.payload, &shared.site)?;
        let user = plan::User {
            uid: nix::unistd::geteuid().as_raw().into(),
            gid: nix::unistd::getegid().as_raw().into(),
        };
        let ignored = plan.heed(user)?;
        if !ignored.is_empty() {
            tracing::warn!(pod = %create.pod, ignored = ignored.join(", "), "fields of the pod that have no effect");
        }
        if let (Err(why), Some((container, mount))) = (&shared.capabilities.mounts, plan.first_mount()) {
            return Err(plan::bad_pod(format!(
                "container {}: volume {} cannot be mounted at {}: {why}. Without mounts, leave volumeMounts out and \
                 read the volume under $TOWLINE_VOLUMES/{}",
                container.name, mount.volume, mount.path, mount.volume
            )));
        }
        finish(shared.clone().create(create.pod, create.payload, plan)).await
    }

    async fn delete(&self, delete: Delete) -> Result<Deleted, Status> {
        finish(self.shared.clone().delete(delete.pod, delete.grace_seconds)).await
    }

    async fn status(&self, which: Which) -> Result<Vec<PodState>, Status> {
        let pods = self.shared.pods();
        Ok(match which {
            Which::All => pods.values().map(|entry| entry.state.borrow().clone()).collect(),
            Which::Pods(asked) => asked
                .iter()
                .map(|pod| match pods.get(&pod.uid) {
                    Some(entry) => entry.state.borrow().clone(),
                    None => state::absent(pod, SystemTime::now()),
                })
                .collect(),
        })
    }

    async fn logs(&self, mut request: LogRequest, sink: LogSink) -> Result<LogsEnd, Status> {
        let found = {
            let pods = self.shared.pods();
            pods.get(&request.pod.uid)
                .map(|entry| (entry.plan.clone(), entry.state.clone()))
        };
        let Some((plan, state)) = found else {
            let text = format!("pod {} is not known here", request.pod);
            return Err(Status::new(Code::NotFound, reason::POD_NOT_FOUND, text));
        };
        let container = plan.log_of(&request.container)?.to_owned();
        let pod_dir = self.shared.store.pod_dir(&plan.pod.uid);
        // A pod on its way out has lost its files before its record: that is no log that begins anew.
        let deleted = || {
            let text = format!("pod {} was deleted, and its log with it", plan.pod);
            Err(Status::new(Code::NotFound, reason::POD_NOT_FOUND, text))
        };
        if !pod_dir.exists() {
            return deleted();
        }
        let dir = store::container_dir(&pod_dir, &container);
        request.container.clone_from(&container);
        let may_start = move || {
            let state = state.borrow();
            let mut all = state.init_containers.iter().chain(&state.containers);
            all.find(|told| told.name == container)
                .is_some_and(|told| !matches!(told.state, Some(State::Terminated(_))))
        };
        match log::stream(&dir, &request, may_start, sink).await {
            Err(status) if status.kind() == Code::OutOfRange && !pod_dir.exists() => deleted(),
            ended => ended,
        }
    }

    async fn node(&self) -> NodeStatus {
        self.shared.tell_node().await
    }

    /// It knows all its pods, whichever way they came.
    fn features(&self) -> Vec<String> {
        vec![feature::SHARED.to_owned()]
    }

    fn attach(&self, events: Events) {
        if self.shared.events.set(events).is_err() {
            return;
        }
        tokio::spawn(node::watch(Arc::downgrade(&self.shared)));
        let states: Vec<_> = self
            .shared
            .pods()
            .values()
            .map(|entry| entry.state.borrow().clone())
            .collect();
        for state in states {
            self.shared.push(PodEventType::Updated, state);
        }
    }
}
