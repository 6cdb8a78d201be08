//! Deletes: confirmed, kept, refused.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use towline::{
    code::{Code, reason},
    connection::Config,
    hub::{DeleteWhenOffline, Hub, HubConfig},
    interlink::Pod,
    limits,
    wire::{Status, request::Op},
};

use crate::fake::{
    Site, connect, connect_with, create, created, delete, delete_at, hub, metric, pod, pod_of, registration,
    uid, until,
};

#[tokio::test(start_paused = true)]
async fn a_delete_for_an_absent_plugin_is_kept_and_replayed() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    created(&hub, &mut link).await;
    link.cut().await;
    delete(&hub).await.unwrap().unwrap();
    assert_eq!(metric(&hub, "towline_deletes_pending"), "1");
    let mut link = connect(&hub, &site).await;
    link.next().await.deleted();
    until("replayed", || metric(&hub, "towline_deletes_pending") == "0").await;
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_is_cut_is_made_again() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    connect(&hub, &site).await.cut().await;
    delete(&hub).await.unwrap().unwrap();
    let mut link = connect(&hub, &site).await;
    let _unanswered = link.next().await;
    link.cut().await;
    assert_eq!(metric(&hub, "towline_deletes_pending"), "1");
    let mut link = connect(&hub, &site).await;
    link.next().await.deleted();
    until("replayed", || metric(&hub, "towline_deletes_pending") == "0").await;
}

#[tokio::test(start_paused = true)]
async fn a_delete_is_shown_from_when_it_is_asked_for_until_it_is_refused() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    let creating = create(&hub);
    link.next().await.created("job-1");
    creating.await.unwrap().unwrap();
    let asked = || {
        hub.find_pod("default", "demo")
            .unwrap()
            .deletion_requested_at
            .is_some()
    };
    assert!(!asked());
    let (_, mut changes) = hub.watch();
    let deleting = delete(&hub);
    let request = link.next().await;
    assert!(asked());
    assert!(changes.recv().await.unwrap().object["deletion_requested_at"].is_string());
    request.fail(Status::new(Code::PermissionDenied, "", "not yours"));
    assert!(deleting.await.unwrap().is_err());
    assert!(!asked(), "a refused delete leaves the pod as it was");
    assert!(changes.recv().await.unwrap().object["deletion_requested_at"].is_null());

    let deleting = delete(&hub);
    link.next().await.deleted();
    deleting.await.unwrap().unwrap();
    assert!(asked(), "confirmed, and shown until it is over");
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_keeps_no_deletes_refuses_them() {
    let config = HubConfig {
        delete_when_offline: DeleteWhenOffline::Refuse,
        ..HubConfig::default()
    };
    let (hub, site) = (Hub::new(config).unwrap(), Arc::new(Site::default()));
    connect(&hub, &site).await.cut().await;
    assert_eq!(delete(&hub).await.unwrap().unwrap_err().kind(), Code::Unavailable);
    assert_eq!(metric(&hub, "towline_deletes_pending"), "0");
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_is_too_busy_for_a_delete_gets_it_again() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    created(&hub, &mut link).await;
    let deleting = delete(&hub);
    let busy = Status::new(Code::ResourceExhausted, reason::TOO_MANY_CALLS, "busy");
    link.next().await.fail(busy);
    deleting.await.unwrap().unwrap();
    link.next().await.deleted();
    until("replayed", || metric(&hub, "towline_deletes_pending") == "0").await;
}

#[tokio::test(start_paused = true)]
async fn a_kept_delete_that_took_all_its_time_is_not_repeated_at_once() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    connect(&hub, &site).await.cut().await;
    delete(&hub).await.unwrap().unwrap();
    let mut link = connect(&hub, &site).await;
    let _unanswered = link.next().await;
    let began = Instant::now();
    link.next().await.deleted();
    assert!(began.elapsed() >= limits::DELETE_TIMEOUT + Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn deletes_that_a_plugin_cannot_make_now_are_not_repeated_for_each_that_is_added() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    connect(&hub, &site).await.cut().await;
    let delete = |n| delete_at(&hub, Some("p"), pod_of(&uid(n), "p"));
    delete(0).await.unwrap().unwrap();
    let mut link = connect(&hub, &site).await;
    let busy = || Status::new(Code::Unavailable, "", "its disk is full");
    let began = Instant::now();
    let first = link.next().await;
    assert_eq!(first.uid(), uid(0));
    first.fail(busy());
    for n in 1..4 {
        sleep(Duration::from_secs(1)).await;
        let deleting = delete(n);
        // By its own call, and once more as one that is kept.
        for _ in 0..2 {
            let asked = link.next().await;
            assert_eq!(asked.uid(), uid(n), "and none of those before it");
            asked.fail(busy());
        }
        deleting.await.unwrap().unwrap();
    }
    assert!(began.elapsed() < Duration::from_secs(9));
    for _ in 0..4 {
        link.next().await.deleted();
    }
    assert!(began.elapsed() >= Duration::from_secs(10));
    until("all are made", || metric(&hub, "towline_deletes_pending") == "0").await;
}

#[tokio::test(start_paused = true)]
async fn a_kept_delete_that_is_refused_is_given_up() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    connect(&hub, &site).await.cut().await;
    delete(&hub).await.unwrap().unwrap();
    let mut link = connect(&hub, &site).await;
    let refusal = Status::new(Code::PermissionDenied, "", "not yours");
    link.next().await.fail(refusal);
    until("given up", || metric(&hub, "towline_deletes_pending") == "0").await;
    sleep(Duration::from_secs(60)).await;
    assert!(link.asked.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_refused_delete_is_told_and_the_pod_may_be_created_again() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    // Past the first read: until then a delete is kept.
    sleep(Duration::from_secs(1)).await;
    let deleting = delete(&hub);
    let refusal = Status::new(Code::PermissionDenied, "", "not yours");
    link.next().await.fail(refusal);
    assert_eq!(deleting.await.unwrap().unwrap_err().message, "not yours");
    let creating = create(&hub);
    link.next().await.created("job-1");
    creating.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_the_plugin_does_not_have_counts_as_deleted() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    created(&hub, &mut link).await;
    let deleting = delete(&hub);
    let absent = Status::new(Code::NotFound, reason::POD_NOT_FOUND, "never heard of it");
    link.next().await.fail(absent);
    deleting.await.unwrap().unwrap();
    assert!(hub.pods().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_delete_that_is_too_large_goes_without_the_pod() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let small = Config {
        max_message: 128 << 10,
        ..Config::default()
    };
    let mut link = connect_with(&hub, &site, registration("one"), small)
        .await
        .unwrap();
    created(&hub, &mut link).await;
    let mut large = serde_json::to_value(pod()).unwrap();
    large["metadata"]["annotations"] = serde_json::json!({"blob": "x".repeat(200_000)});
    let deleting = delete_at(&hub, Some("p"), Pod::from_value(large).unwrap());
    let asked = link.next().await;
    let Some(Op::DeletePod(sent)) = &asked.request.op else {
        panic!("{:?}", asked.request.op)
    };
    assert!(sent.pod_json.is_empty());
    asked.deleted();
    deleting.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn deletes_that_hang_do_not_make_states_stale() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    connect(&hub, &site).await.cut().await;
    delete(&hub).await.unwrap().unwrap();
    let mut with = registration("one");
    with.features = vec!["flow_control".into()];
    with.outbox = None;
    let mut link = crate::fake::connect_as(&hub, &site, with).await;
    let _unanswered = link.next().await;
    let (before, began) = (site.reads(), Instant::now());
    until("polled", || site.reads() > before).await;
    assert!(began.elapsed() <= Duration::from_secs(11));
}
