//! How the table is kept true: reads of all pods, what they may and may not conclude.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use towline::{
    code::{Code, reason},
    wire::{ContainerRunning, EventAck, PodRef, Register, Status, container_state::State},
};

use crate::fake::{
    Site, UID, connect, connect_as, created, event, fresh_outbox, hub, metric, registration, running, state,
    uid, until,
};

fn polled(instance: &str) -> Register {
    Register {
        features: vec!["flow_control".into()],
        outbox: None,
        ..registration(instance)
    }
}

#[tokio::test(start_paused = true)]
async fn all_pages_of_a_long_list_are_read_and_what_is_missing_is_asked_for_in_pages() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    for n in 0..2_500 {
        let pod = PodRef::new(uid(n), "default", "demo");
        let one = state(pod, 1, State::Running(ContainerRunning::default()));
        site.pods.lock().unwrap().insert(uid(n), one);
    }
    let _link = connect_as(&hub, &site, polled("one")).await;
    until("read", || hub.pods().len() == 2_500).await;
    assert_eq!(site.reads(), 3);
    let tokens: Vec<String> = site
        .asked
        .lock()
        .unwrap()
        .iter()
        .map(|what| what.page_token.clone())
        .collect();
    assert_eq!(tokens, ["".to_owned(), uid(999), uid(1999)]);
    // Gone from the list: asked for by name, at most 1,000 at once.
    site.pods.lock().unwrap().clear();
    site.asked.lock().unwrap().clear();
    until("asked", || site.reads() >= 4).await;
    let named: Vec<usize> = site.asked.lock().unwrap()[..4]
        .iter()
        .map(|what| what.pods.len())
        .collect();
    assert_eq!(named, [0, 1_000, 1_000, 500]);
}

#[tokio::test(start_paused = true)]
async fn a_list_without_end_never_makes_a_plugin_routable() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    *site.endless.lock().unwrap() = true;
    let mut link = connect(&hub, &site).await;
    let creating = crate::fake::create(&hub);
    until("given up", || site.reads() >= 1_000).await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(site.reads(), 1_000);
    assert!(link.asked.try_recv().is_err());
    *site.endless.lock().unwrap() = false;
    link.next().await.created("job-1");
    creating.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_plugin_without_events_is_polled_every_ten_seconds() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect_as(&hub, &site, polled("one")).await;
    created(&hub, &mut link).await;
    site.pods.lock().unwrap().insert(UID.into(), running(0));
    let began = Instant::now();
    until("running", || hub.pods()[0].phase == "Running").await;
    assert!(began.elapsed() <= Duration::from_secs(11));
    let before = site.reads();
    sleep(Duration::from_secs(100)).await;
    assert_eq!(site.reads() - before, 10);
}

#[tokio::test(start_paused = true)]
async fn a_plugin_with_events_is_read_every_five_minutes_or_so() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let _link = connect(&hub, &site).await;
    until("first", || site.reads() == 1).await;
    let mut gaps = Vec::new();
    for n in 2..12 {
        let began = Instant::now();
        until("next", || site.reads() == n).await;
        gaps.push(began.elapsed().as_secs());
    }
    assert!(gaps.iter().all(|gap| (239..=361).contains(gap)), "{gaps:?}");
    assert!(gaps.iter().any(|gap| *gap != gaps[0]), "no jitter: {gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_was_cut_in_its_first_read_is_read_when_it_is_back() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    site.pods.lock().unwrap().insert(UID.into(), running(100));
    *site.status_fails.lock().unwrap() = Some(Status::new(Code::Internal, reason::PLUGIN_ERROR, "not yet"));
    // Of an outbox whose first hundred events went to a hub that has forgotten them.
    let mut with = registration("one");
    with.outbox = Some(towline::wire::Outbox {
        acked_seq: 100,
        next_seq: 102,
        ..fresh_outbox(7)
    });
    let link = connect_as(&hub, &site, with.clone()).await;
    let other = PodRef::new(uid(1), "default", "other");
    link.connection.send_event(event(state(
        other,
        101,
        State::Running(ContainerRunning::default()),
    )));
    until("acked", || {
        site.acks
            .lock()
            .unwrap()
            .contains(&EventAck { epoch: 7, seq: 101 })
    })
    .await;
    link.cut().await;
    *site.status_fails.lock().unwrap() = None;
    with.outbox.as_mut().unwrap().acked_seq = 101;
    let link = connect_as(&hub, &site, with).await;
    assert_eq!(link.welcome.applied, Some(EventAck { epoch: 7, seq: 101 }));
    until("read", || hub.pods().len() == 2).await;
}

#[tokio::test(start_paused = true)]
async fn what_another_plugin_says_of_a_pod_is_counted_and_acknowledged() {
    let (hub, site, theirs) = (hub(), Arc::new(Site::default()), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    created(&hub, &mut link).await;
    let other = Register {
        plugin: "q".into(),
        ..registration("other")
    };
    let other = connect_as(&hub, &theirs, other).await;
    other.connection.send_event(event(crate::fake::ended(3)));
    until("acked", || {
        theirs
            .acks
            .lock()
            .unwrap()
            .contains(&EventAck { epoch: 7, seq: 3 })
    })
    .await;
    assert_eq!(
        metric(&hub, r#"towline_pod_events_total{outcome="refused"}"#),
        "1"
    );
    assert_eq!(hub.pods()[0].phase, "Pending");
}

#[tokio::test(start_paused = true)]
async fn a_read_that_fails_while_a_pod_is_suspected_is_made_again_soon() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    created(&hub, &mut link).await;
    let before = site.reads();
    until("suspected", || site.reads() > before).await;
    *site.status_fails.lock().unwrap() = Some(Status::new(Code::Internal, reason::PLUGIN_ERROR, "busy"));
    sleep(Duration::from_secs(15)).await;
    *site.status_fails.lock().unwrap() = None;
    assert_eq!(hub.pods()[0].phase, "Pending");
    sleep(Duration::from_secs(15)).await;
    assert_eq!(hub.pods()[0].phase, "Failed");
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_is_not_in_sync_loses_no_pod() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect_as(&hub, &site, polled("one")).await;
    created(&hub, &mut link).await;
    link.cut().await;
    // A new process that has nothing yet: its by-name answers come, and its list fails at the end.
    let mut other = polled("two");
    other.jobs_epoch = 2;
    let link = connect_as(&hub, &site, other.clone()).await;
    until("asked", || {
        site.asked.lock().unwrap().iter().any(|what| !what.all)
    })
    .await;
    link.cut().await;
    sleep(Duration::from_secs(60)).await;
    let _link = connect_as(&hub, &site, other).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(
        hub.pods()[0].phase,
        "Pending",
        "one read of a new session is not enough"
    );
    until("lost", || hub.pods()[0].phase == "Failed").await;
}
