//! Creates: hold, once, retry.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use towline::code::{Code, reason};
use towline::wire::Status;

use crate::fake::{Site, connect, connect_as, create, delete, hub, metric, registration, running, until};

#[tokio::test(start_paused = true)]
async fn a_create_waits_for_its_plugin_to_connect() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let waiting = create(&hub);
    until("held", || metric(&hub, "towline_creates_held") == "1").await;
    sleep(Duration::from_secs(30)).await;
    let mut link = connect(&hub, &site).await;
    link.next().await.created("job-1");
    assert_eq!(waiting.await.unwrap().unwrap().pod_jid, "job-1");
    assert_eq!(metric(&hub, "towline_creates_held"), "0");
}

#[tokio::test(start_paused = true)]
async fn a_create_cut_in_the_middle_is_sent_again_with_the_same_key() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    let waiting = create(&hub);
    let first = link.next().await;
    link.cut().await;
    let mut link = connect(&hub, &site).await;
    let second = link.next().await;
    assert_eq!(second.request.op_key, first.request.op_key);
    assert_eq!((first.request.attempt, second.request.attempt), (1, 2));
    assert!(second.request.sensitive);
    second.created("job-1");
    assert_eq!(waiting.await.unwrap().unwrap().pod_jid, "job-1");
}

#[tokio::test(start_paused = true)]
async fn after_lost_records_the_plugins_answer_decides_and_nothing_is_sent_twice() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    let waiting = create(&hub);
    let _first = link.next().await;
    link.cut().await;
    site.pods
        .lock()
        .unwrap()
        .insert(crate::fake::UID.into(), running(1));
    let mut other = registration("two");
    other.jobs_epoch = 2;
    let mut link = connect_as(&hub, &site, other).await;
    assert_eq!(waiting.await.unwrap().unwrap().pod_jid, "job-1");
    assert!(link.asked.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn two_creates_of_one_uid_are_one_call_and_one_answer() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    let (one, two) = (create(&hub), create(&hub));
    let asked = link.next().await;
    sleep(Duration::from_secs(1)).await;
    assert!(link.asked.try_recv().is_err());
    asked.created("job-1");
    assert_eq!(one.await.unwrap().unwrap(), two.await.unwrap().unwrap());
    let again = create(&hub).await.unwrap().unwrap();
    assert_eq!(again.pod_jid, "job-1");
    assert!(link.asked.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_create_goes_on_when_its_caller_has_gone() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    let caller = create(&hub);
    let asked = link.next().await;
    caller.abort();
    let _ = caller.await;
    asked.created("job-1");
    until("created", || {
        hub.pods().first().is_some_and(|pod| pod.job_id == "job-1")
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_word_for_word_and_not_remembered() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    let waiting = create(&hub);
    let text = "sbatch: error: invalid partition";
    link.next().await.fail(Status::new(
        Code::FailedPrecondition,
        reason::SUBMIT_REJECTED,
        text,
    ));
    assert_eq!(waiting.await.unwrap().unwrap_err().message, text);
    assert!(hub.pods().is_empty());
    let again = create(&hub);
    link.next().await.created("job-2");
    assert_eq!(again.await.unwrap().unwrap().pod_jid, "job-2");
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_stays_away_fails_the_create_and_a_late_pod_is_deleted() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    connect(&hub, &site).await.cut().await;
    let began = Instant::now();
    let status = create(&hub).await.unwrap().unwrap_err();
    assert_eq!(began.elapsed().as_secs(), 50);
    assert_eq!(
        (status.kind(), status.reason.as_str()),
        (Code::Unavailable, reason::PLUGIN_OFFLINE)
    );
    assert!(
        status
            .message
            .starts_with("plugin p is not connected, last seen 20"),
        "{}",
        status.message
    );
    assert_eq!(metric(&hub, "towline_deletes_pending"), "1");
    let mut link = connect(&hub, &site).await;
    let asked = link.next().await;
    assert!(!asked.is_create());
    asked.deleted();
    until("replayed", || metric(&hub, "towline_deletes_pending") == "0").await;
}

#[tokio::test(start_paused = true)]
async fn a_delete_ends_a_create_that_was_not_sent() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let waiting = create(&hub);
    until("held", || metric(&hub, "towline_creates_held") == "1").await;
    delete(&hub).await.unwrap().unwrap();
    let status = waiting.await.unwrap().unwrap_err();
    assert_eq!(
        (status.kind(), status.reason.as_str()),
        (Code::Aborted, reason::DELETED)
    );
    let mut link = connect(&hub, &site).await;
    let asked = link.next().await;
    assert!(!asked.is_create());
    asked.deleted();
    assert_eq!(create(&hub).await.unwrap().unwrap_err().reason, reason::DELETED);
}

#[tokio::test(start_paused = true)]
async fn a_delete_waits_for_a_create_that_was_sent() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    let creating = create(&hub);
    let asked = link.next().await;
    let deleting = delete(&hub);
    sleep(Duration::from_secs(2)).await;
    assert!(link.asked.try_recv().is_err());
    asked.created("job-1");
    assert!(creating.await.unwrap().is_ok());
    let asked = link.next().await;
    assert!(!asked.is_create());
    asked.deleted();
    deleting.await.unwrap().unwrap();
}
