//! States: events, reads, lost pods.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use towline::{
    code::{Code, reason},
    hub::Hub,
    wire::{ContainerRunning, EventAck, PodRef, Register, Status, container_state::State},
};

use crate::fake::{
    Linked, Site, UID, connect, connect_as, create, created, ended, event, hub, metric, pod, registration,
    running, state, uid, until,
};

#[tokio::test(start_paused = true)]
async fn an_event_shows_in_status_and_is_acknowledged() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    created(&hub, &mut link).await;
    assert!(hub.status(None, &[pod()]).await.unwrap().is_empty());
    link.connection.send_event(event(running(1)));
    until("running", || hub.pods()[0].phase == "Running").await;
    let statuses = hub.status(Some("p"), &[pod()]).await.unwrap();
    assert!(statuses[0].containers[0].state.running.is_some());
    assert_eq!(statuses[0].jid, "job-1");
    until("acked", || {
        site.acks.lock().unwrap().contains(&EventAck { epoch: 7, seq: 1 })
    })
    .await;
    assert!(hub.status(Some("other"), &[pod()]).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_known_is_told_while_the_plugin_is_away() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    created(&hub, &mut link).await;
    link.connection.send_event(event(running(1)));
    until("running", || hub.pods()[0].phase == "Running").await;
    link.cut().await;
    sleep(Duration::from_secs(3600)).await;
    assert!(
        hub.status(None, &[pod()]).await.unwrap()[0].containers[0]
            .state
            .running
            .is_some()
    );
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outbox_is_read_before_anything_is_routed() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    site.pods.lock().unwrap().insert(UID.into(), ended(1));
    let _link = connect(&hub, &site).await;
    until("read", || {
        hub.pods().first().is_some_and(|pod| pod.phase == "Succeeded")
    })
    .await;
    assert_eq!(create(&hub).await.unwrap().unwrap().pod_jid, "job-1");
}

#[tokio::test(start_paused = true)]
async fn a_known_outbox_is_not_read_again_on_reconnect() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    created(&hub, &mut link).await;
    link.connection.send_event(event(running(1)));
    until("running", || hub.pods()[0].phase == "Running").await;
    link.cut().await;
    let before = site.reads();
    let mut with = registration("one");
    with.outbox.as_mut().unwrap().acked_seq = 1;
    let link = connect_as(&hub, &site, with).await;
    assert_eq!(link.welcome.applied, Some(EventAck { epoch: 7, seq: 1 }));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(site.reads(), before);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_absent_twice_is_lost() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let without_events = Register {
        features: vec!["flow_control".into()],
        outbox: None,
        ..registration("one")
    };
    let mut link = connect_as(&hub, &site, without_events).await;
    created(&hub, &mut link).await;
    until("lost", || hub.pods()[0].phase == "Failed").await;
    let status = hub.status(None, &[pod()]).await.unwrap().remove(0);
    let ended = status.containers[0].state.terminated.clone().unwrap();
    assert_eq!(ended.exit_code, 137);
    assert!(ended.message.starts_with("lost: "), "{}", ended.message);
    assert_eq!(metric(&hub, "towline_pods_lost_total"), "1");
}

#[tokio::test(start_paused = true)]
async fn an_absent_plugin_never_loses_a_pod() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    created(&hub, &mut link).await;
    link.cut().await;
    sleep(Duration::from_secs(24 * 3600)).await;
    assert_eq!(hub.pods()[0].phase, "Pending");
}

#[tokio::test(start_paused = true)]
async fn watchers_are_told_of_every_change() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    let (all, mut changes) = hub.watch();
    assert_eq!((all.len(), all[0].kind, all[0].r#type), (1, "plugin", "ADDED"));
    created(&hub, &mut link).await;
    link.connection.send_event(event(running(1)));
    loop {
        let change = changes.recv().await.unwrap();
        if change.kind == "pod" && change.object["phase"] == "Running" {
            break;
        }
    }
}

/// Pods `0..count` as they run, known to the hub by one read.
async fn running_pods(count: usize) -> (Arc<Hub>, Arc<Site>, Linked) {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    for n in 0..count {
        let pod = PodRef::new(uid(n), "default", format!("pod-{n}"));
        let running = State::Running(ContainerRunning::default());
        site.pods.lock().unwrap().insert(uid(n), state(pod, 1, running));
    }
    let link = connect(&hub, &site).await;
    until("read", || hub.pods().len() == count).await;
    (hub, site, link)
}

fn known(hub: &Hub) -> usize {
    hub.pods().iter().filter(|pod| pod.phase == "Running").count()
}

#[tokio::test(start_paused = true)]
async fn a_dropped_state_is_read_again_at_once_and_many_by_one_read() {
    let (hub, site, _link) = running_pods(50).await;
    let reads = site.reads();
    for _ in 0..20 {
        for n in 0..30 {
            hub.update_cache(&uid(n));
        }
    }
    assert_eq!(known(&hub), 20, "dropped");
    let began = Instant::now();
    until("read again", || known(&hub) == 50).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(site.reads(), reads + 1);
    let asked = site.asked.lock().unwrap().last().unwrap().clone();
    assert_eq!((asked.all, asked.pods.len()), (false, 30));
    // Nothing is read for a pod that nobody knows.
    hub.update_cache(UID);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(site.reads(), reads + 1);
}

#[tokio::test(start_paused = true)]
async fn a_state_dropped_while_the_plugin_is_away_is_read_when_it_is_back() {
    let (hub, site, link) = running_pods(2).await;
    link.cut().await;
    hub.update_cache(&uid(0));
    assert_eq!(known(&hub), 1);
    let reads = site.reads();
    let _link = connect(&hub, &site).await;
    until("read again", || known(&hub) == 2).await;
    assert_eq!(site.reads(), reads + 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_state_that_could_not_be_read_is_read_soon() {
    let (hub, site, _link) = running_pods(1).await;
    *site.status_fails.lock().unwrap() = Some(Status::new(Code::Internal, reason::PLUGIN_ERROR, "busy"));
    hub.update_cache(&uid(0));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(known(&hub), 0);
    *site.status_fails.lock().unwrap() = None;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(known(&hub), 1);
}
