//! What comes with a REST call travels on to the plugin.

use std::{collections::HashMap, sync::Arc};

use towline::{
    hub::{CallMeta, LogQuery},
    interlink::PodCreateRequests,
    wire::{LogOptions, PodRef},
};

use crate::fake::{Site, UID, connect, hub, pod, until};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn meta(session: &str) -> CallMeta {
    CallMeta {
        session: session.into(),
        traceparent: Some(TRACE.into()),
    }
}

fn carried(session: &str) -> HashMap<String, String> {
    [("interlink-http-session", session), ("traceparent", TRACE)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

#[tokio::test(start_paused = true)]
async fn session_and_trace_go_with_every_create_delete_and_log() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    let (at, body) = (hub.clone(), PodCreateRequests::new(pod()));
    let creating = tokio::spawn(async move { at.create(None, body, meta("CreatePod#1")).await });
    let asked = link.next().await;
    assert_eq!(asked.request.metadata, carried("CreatePod#1"));
    asked.created("job-1");
    creating.await.unwrap().unwrap();

    let query = LogQuery {
        pod: PodRef::new(UID, "default", "demo"),
        container: "main".into(),
        options: LogOptions::default(),
        start: None,
        meta: meta("GetLogs#2"),
    };
    let _viewer = hub.logs(None, query).await.unwrap();
    assert_eq!(site.opens.lock().unwrap()[0].metadata, carried("GetLogs#2"));

    let at = hub.clone();
    let deleting = tokio::spawn(async move { at.delete(None, pod(), Some(5), meta("DeletePod#3")).await });
    let asked = link.next().await;
    assert_eq!(asked.request.metadata, carried("DeletePod#3"));
    assert!(asked.request.sensitive);
    asked.deleted();
    deleting.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_header_that_does_not_fit_stays_behind_and_the_call_goes() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    let large = CallMeta {
        session: "s".repeat(5_000),
        traceparent: Some(TRACE.into()),
    };
    let (at, body) = (hub.clone(), PodCreateRequests::new(pod()));
    let creating = tokio::spawn(async move { at.create(None, body, large).await });
    let asked = link.next().await;
    assert_eq!(asked.request.metadata.len(), 1);
    asked.created("job-1");
    creating.await.unwrap().unwrap();
    until("known", || hub.pods().len() == 1).await;
}
