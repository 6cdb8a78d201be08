//! The calls of the hub.

use super::{RestBackend, log};
use crate::{
    code::{Code, reason},
    plugin::{
        Create, Created, Delete, Deleted, Events, Handler, HttpAnswer, HttpCall, LogRequest, LogSink, Which,
    },
    wire::{LogsEnd, NodeStatus, PodEventType, PodState, Presence, Status, feature},
};

impl Handler for RestBackend {
    async fn create(&self, create: Create) -> Result<Created, Status> {
        self.shared.create(create).await
    }

    async fn delete(&self, delete: Delete) -> Result<Deleted, Status> {
        // It must be finished though its caller goes.
        match tokio::spawn(self.shared.clone().delete(delete)).await {
            Ok(answer) => answer,
            Err(error) => {
                let text = format!("the call failed: {error}");
                Err(Status::new(Code::Internal, reason::PLUGIN_ERROR, text))
            }
        }
    }

    /// As the last status call said it: none is made for a hub's question.
    async fn status(&self, which: Which) -> Result<Vec<PodState>, Status> {
        if let Which::Pods(asked) = &which {
            self.shared.adopt_named(asked);
        }
        let pods = self.shared.pods();
        Ok(match which {
            Which::All => pods.states(),
            Which::Pods(asked) => asked.iter().map(|pod| pods.state(pod)).collect(),
        })
    }

    async fn logs(&self, request: LogRequest, sink: LogSink) -> Result<LogsEnd, Status> {
        self.shared.adopt_named(std::slice::from_ref(&request.pod));
        log::stream(&self.shared, request, sink).await
    }

    async fn node(&self) -> NodeStatus {
        self.shared.node.status().await
    }

    fn endpoints(&self) -> bool {
        self.shared.config.endpoints
    }

    async fn http(&self, call: HttpCall, answer: HttpAnswer) -> Result<(), Status> {
        self.shared.pass(call, answer).await
    }

    fn features(&self) -> Vec<String> {
        vec![feature::SHARED.to_owned()]
    }

    fn linked(&self, features: &[String]) {
        let asked = features.iter().any(|name| name == feature::SHARED);
        self.shared.pods().share(asked || self.shared.config.shared);
    }

    fn attach(&self, events: Events) {
        if self.shared.events.set(events.clone()).is_err() {
            return;
        }
        // What was heard before there was anybody to tell.
        let known = self.shared.pods().states();
        let known = known
            .into_iter()
            .filter(|state| state.presence() == Presence::Present);
        for state in known.filter(|state| !state.containers.is_empty()) {
            events.pod(PodEventType::Updated, state);
        }
    }
}
