//! Creates that do not get through at once: what is sent again, when, and after which question.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use towline::{
    code::{CloseCode, Code, reason},
    interlink::Pod,
    wire::{PodRef, PodState, Presence, Register, Status},
};

use crate::fake::{
    Site, UID, connect, connect_as, create, create_at, hub, metric, registration, running, uid, until,
};

fn records_of(jobs_epoch: u64) -> Register {
    Register {
        jobs_epoch,
        ..registration("two")
    }
}

fn unknown() -> Status {
    Status::new(Code::Unknown, reason::SUBMIT_UNKNOWN, "sbatch timed out")
}

/// GetStatus calls that named the pod.
fn questions(site: &Site) -> usize {
    let asked = site.asked.lock().unwrap();
    asked.iter().filter(|what| !what.all).count()
}

#[tokio::test(start_paused = true)]
async fn a_create_cut_in_the_middle_is_answered_with_the_job_that_exists() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    let waiting = create(&hub);
    let first = link.next().await;
    link.cut().await;
    let mut link = connect_as(&hub, &site, records_of(1)).await;
    let second = link.next().await;
    assert_eq!(second.request.op_key, first.request.op_key);
    assert_eq!(second.request.attempt, 2);
    assert_eq!(questions(&site), 0);
    second.existed("job-1");
    assert_eq!(waiting.await.unwrap().unwrap().pod_jid, "job-1");
    assert!(link.asked.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn after_lost_records_a_pod_that_the_plugin_does_not_have_is_sent_again() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    let waiting = create(&hub);
    let _first = link.next().await;
    link.cut().await;
    let mut link = connect_as(&hub, &site, records_of(2)).await;
    let second = link.next().await;
    assert_eq!(second.request.attempt, 2);
    assert_eq!(questions(&site), 1);
    second.created("job-2");
    assert_eq!(waiting.await.unwrap().unwrap().pod_jid, "job-2");
}

#[tokio::test(start_paused = true)]
async fn the_same_process_with_other_records_is_asked_too() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    let waiting = create(&hub);
    let _first = link.next().await;
    link.cut().await;
    site.pods.lock().unwrap().insert(UID.into(), running(1));
    let mut other = registration("one");
    other.jobs_epoch = 2;
    let mut link = connect_as(&hub, &site, other).await;
    assert_eq!(waiting.await.unwrap().unwrap().pod_jid, "job-1");
    assert!(link.asked.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn when_the_plugin_cannot_tell_its_status_decides() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    let waiting = create(&hub);
    let first = link.next().await;
    let key = first.request.op_key.clone();
    first.fail(unknown());
    // Absent: the same key again.
    let second = link.next().await;
    assert_eq!(
        (second.request.op_key.as_str(), second.request.attempt),
        (key.as_str(), 2)
    );
    assert_eq!(questions(&site), 1);
    site.pods.lock().unwrap().insert(UID.into(), running(1));
    second.fail(unknown());
    // Present: that is the answer.
    assert_eq!(waiting.await.unwrap().unwrap().pod_jid, "job-1");
    assert!(link.asked.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_create_that_nobody_can_tell_of_ends_at_its_deadline() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let unreachable = PodState {
        pod: Some(PodRef::new(UID, "default", "demo")),
        presence: Presence::Unreachable.into(),
        ..PodState::default()
    };
    let mut link = connect(&hub, &site).await;
    let began = Instant::now();
    let waiting = create(&hub);
    let first = link.next().await;
    site.pods.lock().unwrap().insert(UID.into(), unreachable);
    first.fail(unknown());
    let status = waiting.await.unwrap().unwrap_err();
    assert_eq!(status.reason, reason::SUBMIT_UNKNOWN);
    assert_eq!(began.elapsed().as_secs(), 110);
    // A late success must not stay.
    assert!(!link.next().await.is_create());
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_is_full_is_left_alone_for_as_long_as_it_says() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    let waiting = create(&hub);
    let mut full = Status::new(Code::ResourceExhausted, reason::QUOTA, "queue is full");
    full.retry_after_ms = 30_000;
    link.next().await.fail(full);
    let began = Instant::now();
    let second = link.next().await;
    assert_eq!(began.elapsed().as_secs(), 30);
    assert_eq!(questions(&site), 0);
    second.created("job-1");
    waiting.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_stays_full_fails_the_create_in_its_own_words() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    let waiting = create(&hub);
    let full = Status::new(Code::ResourceExhausted, reason::QUOTA, "no more jobs for user x");
    let status = loop {
        tokio::select! {
            asked = link.next() => match asked.is_create() {
                true => asked.fail(full.clone()),
                false => asked.deleted(),
            },
            () = until("answered", || waiting.is_finished()) => break waiting.await.unwrap().unwrap_err(),
        }
    };
    assert_eq!(
        (status.reason.as_str(), status.message),
        (reason::QUOTA, full.message)
    );
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_the_plugin_is_repeated_once() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    let waiting = create(&hub);
    let failure = Status::new(Code::Internal, reason::PLUGIN_ERROR, "disk error");
    link.next().await.fail(failure.clone());
    link.next().await.fail(failure);
    assert_eq!(waiting.await.unwrap().unwrap_err().message, "disk error");
    assert!(link.asked.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_create_for_a_plugin_that_goes_away_waits_and_is_sent_as_the_first() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let link = connect(&hub, &site).await;
    until("in sync", || site.reads() > 0).await;
    let (second, seconds) = (Duration::from_secs(1), Duration::from_secs(8));
    link.connection
        .drain(CloseCode::DRAIN, "restart", seconds, second);
    sleep(second).await;
    let waiting = create(&hub);
    until("held", || metric(&hub, "towline_creates_held") == "1").await;
    link.served.await.unwrap();
    let mut link = connect_as(&hub, &site, records_of(1)).await;
    let asked = link.next().await;
    assert_eq!(asked.request.attempt, 1);
    asked.created("job-1");
    waiting.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn after_a_message_too_big_the_largest_call_fails_and_the_others_are_repeated() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    let mut large = serde_json::to_value(crate::fake::pod_of(&uid(1), "")).unwrap();
    large["metadata"]["annotations"] = serde_json::json!({"blob": "x".repeat(100_000)});
    let large = create_at(&hub, Some("p"), Pod::from_value(large).unwrap());
    let small = create_at(&hub, Some("p"), crate::fake::pod_of(&uid(2), ""));
    let _unanswered = (link.next().await, link.next().await);
    link.close(CloseCode::TOO_BIG, "frame over 64 KiB").await;
    let status = large.await.unwrap().unwrap_err();
    assert_eq!(status.reason, reason::MESSAGE_TOO_LARGE);
    assert!(status.message.contains("frame over 64 KiB"), "{}", status.message);
    let mut link = connect_as(&hub, &site, records_of(1)).await;
    let again = link.next().await;
    assert_eq!(again.uid(), uid(2));
    again.created("job-2");
    small.await.unwrap().unwrap();
    assert!(link.asked.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_cut_without_that_code_blames_no_call() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    let waiting = create(&hub);
    let _unanswered = link.next().await;
    link.close(CloseCode::NORMAL, "").await;
    let mut link = connect_as(&hub, &site, records_of(1)).await;
    link.next().await.existed("job-1");
    waiting.await.unwrap().unwrap();
}
