//! What the tests of the hub share: its REST side in short words, over the plugin of `tests/fakes`.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use towline::{
    hub::{CallMeta, Hub, HubConfig},
    interlink::{CreateStruct, Pod, PodCreateRequests},
    wire::Status,
};

pub(crate) use crate::fakes::{
    plugin::{Asked, Linked, Site, connect, connect_as, connect_with},
    say::{UID, ended, event, fresh_outbox, registration, running, state, uid},
};

pub(crate) fn hub() -> Arc<Hub> {
    Hub::new(HubConfig::default()).unwrap()
}

pub(crate) fn meta() -> CallMeta {
    CallMeta {
        session: "CreatePod#1".into(),
        traceparent: None,
    }
}

/// The pod that most tests are about.
pub(crate) fn pod() -> Pod {
    pod_of(UID, "")
}

/// A pod of one container `main`, as the virtual kubelet sends it.
pub(crate) fn pod_of(uid: &str, node: &str) -> Pod {
    Pod::from_value(json!({
        "metadata": {"uid": uid, "namespace": "default", "name": "demo"},
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": "image"}]}
    }))
    .unwrap()
}

pub(crate) type Creating = JoinHandle<Result<CreateStruct, Status>>;

/// Starts a create in a task, at plugin `p`.
pub(crate) fn create(hub: &Arc<Hub>) -> Creating {
    create_at(hub, Some("p"), pod())
}

pub(crate) fn create_at(hub: &Arc<Hub>, scope: Option<&'static str>, pod: Pod) -> Creating {
    let hub = hub.clone();
    tokio::spawn(async move { hub.create(scope, PodCreateRequests::new(pod), meta()).await })
}

/// Starts a delete in a task, at plugin `p`.
pub(crate) fn delete(hub: &Arc<Hub>) -> JoinHandle<Result<(), Status>> {
    delete_at(hub, Some("p"), pod())
}

pub(crate) fn delete_at(
    hub: &Arc<Hub>,
    scope: Option<&'static str>,
    pod: Pod,
) -> JoinHandle<Result<(), Status>> {
    let hub = hub.clone();
    tokio::spawn(async move { hub.delete(scope, pod, None, meta()).await })
}

/// Creates the pod at this link, job `job-1`.
pub(crate) async fn created(hub: &Arc<Hub>, link: &mut Linked) {
    let creating = create(hub);
    link.next().await.created("job-1");
    creating.await.unwrap().unwrap();
}

/// Waits in virtual time until something is so.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(900), "never: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// A metric's value in the text; `name` with its labels, if it has any.
pub(crate) fn metric(hub: &Hub, name: &str) -> String {
    let text = hub.metrics_text();
    let line = text
        .lines()
        .find(|line| line.starts_with(&format!("{name} ")))
        .unwrap_or("absent absent");
    line.split(' ').nth(1).unwrap().to_owned()
}
