//! A hub that ends and comes back: with a state directory nothing that was promised is forgotten.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use towline::{
    code::{Code, reason},
    hub::{Hub, HubConfig, MemoryFile, StateDir},
    wire::{Register, Status},
};

use crate::fake::{
    Site, UID, connect, connect_as, create, create_at, created, delete, hub, metric, pod, pod_of,
    registration, running, uid, until,
};

/// A hub over this file: of a new life each time.
pub(crate) fn kept(file: &MemoryFile) -> Arc<Hub> {
    let config = HubConfig {
        state_dir: StateDir::Memory(file.clone()),
        ..HubConfig::default()
    };
    Hub::new(config).unwrap()
}

/// Waits until the hub knows that the pod has its job, `job-1`.
pub(crate) async fn job_known(hub: &Hub) {
    until("answered", || {
        hub.pods().first().is_some_and(|pod| pod.job_id == "job-1")
    })
    .await;
}

async fn shown(hub: &Hub) -> Option<String> {
    let status = hub.status(None, &[pod()]).await.unwrap();
    let container = &status.first()?.containers[0];
    Some(match (&container.state.running, &container.state.terminated) {
        (Some(_), _) => "running".to_owned(),
        (_, Some(ended)) => format!("{}: {}", ended.exit_code, ended.message),
        _ => "waiting".to_owned(),
    })
}

#[tokio::test(start_paused = true)]
async fn a_create_that_is_promised_at_once_waits_for_its_plugin_without_a_turn() {
    let hub = Hub::new(HubConfig {
        state_dir: StateDir::Memory(MemoryFile::default()),
        create_hold: Duration::ZERO,
        ..HubConfig::default()
    })
    .unwrap();
    let site = Arc::new(Site::default());
    connect(&hub, &site).await.cut().await;
    until("it is away", || !hub.plugins()[0].connected).await;
    let promised = create(&hub).await.unwrap().unwrap();
    assert_eq!(promised.pod_jid, "");
    // Were it to turn round and round, this would never come: time moves when nobody has anything to do.
    sleep(Duration::from_secs(3600)).await;
    let mut link = connect(&hub, &site).await;
    link.next().await.created("job-1");
    job_known(&hub).await;
}

#[tokio::test(start_paused = true)]
async fn a_status_is_answered_right_after_a_crash() {
    let (file, site) = (MemoryFile::default(), Arc::new(Site::default()));
    let hub = kept(&file);
    let mut link = connect(&hub, &site).await;
    site.pods.lock().unwrap().insert(UID.into(), running(1));
    created(&hub, &mut link).await;
    link.connection.send_event(crate::fake::event(running(1)));
    until("acknowledged", || !site.acks.lock().unwrap().is_empty()).await;
    assert_eq!(shown(&hub).await.as_deref(), Some("running"));
    file.crash(1);
    let hub = kept(&file);
    assert_eq!(shown(&hub).await.as_deref(), Some("running"));
    let view = hub.plugins().remove(0);
    assert!(
        !view.connected && view.reason.contains("since the hub was started"),
        "{}",
        view.reason
    );
    assert!(hub.ping(None).is_ok(), "the grace runs from the start of the hub");
    // Nobody is asked for a pod that was created before.
    assert_eq!(create(&hub).await.unwrap().unwrap().pod_jid, "job-1");
}

#[tokio::test(start_paused = true)]
async fn a_create_in_hand_goes_on_after_a_crash() {
    let (file, site) = (MemoryFile::default(), Arc::new(Site::default()));
    let hub = kept(&file);
    let mut link = connect(&hub, &site).await;
    let _lost_with_the_hub = create(&hub);
    let first = link.next().await;
    file.crash(1);
    let hub = kept(&file);
    let mut link = connect(&hub, &site).await;
    let again = link.next().await;
    assert_eq!(again.request.op_key, first.request.op_key);
    assert_eq!(again.request.attempt, 2, "not the first attempt");
    assert_eq!(again.request.op, first.request.op, "with its payload");
    again.created("job-1");
    job_known(&hub).await;
    assert_eq!(create(&hub).await.unwrap().unwrap().pod_jid, "job-1");
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_stays_away_does_not_fail_a_create_that_is_recorded() {
    let (file, site) = (MemoryFile::default(), Arc::new(Site::default()));
    let hub = kept(&file);
    connect(&hub, &site).await.cut().await;
    let began = Instant::now();
    let answer = create(&hub).await.unwrap().unwrap();
    assert_eq!((answer.pod_uid.as_str(), answer.pod_jid.as_str()), (UID, ""));
    assert!(
        began.elapsed() <= Duration::from_secs(51),
        "{:?}",
        began.elapsed()
    );
    sleep(Duration::from_secs(3600)).await;
    let mut link = connect(&hub, &site).await;
    link.next().await.created("job-1");
    until("answered", || hub.pods()[0].job_id == "job-1").await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_the_promise_is_shown_as_ended_containers_with_its_text() {
    let (file, site) = (MemoryFile::default(), Arc::new(Site::default()));
    let hub = kept(&file);
    connect(&hub, &site).await.cut().await;
    assert_eq!(create(&hub).await.unwrap().unwrap().pod_jid, "");
    let mut link = connect(&hub, &site).await;
    let refusal = Status::new(Code::FailedPrecondition, reason::SUBMIT_REJECTED, "no such queue");
    link.next().await.fail(refusal);
    until("refused", || hub.pods()[0].phase == "Failed").await;
    let told = shown(&hub).await.unwrap();
    assert!(
        told.starts_with("137: ") && told.contains("no such queue"),
        "{told}"
    );
    file.crash(1);
    assert_eq!(shown(&kept(&file)).await.unwrap(), told);
}

#[tokio::test(start_paused = true)]
async fn a_delete_for_an_absent_plugin_survives_a_crash() {
    let (file, site) = (MemoryFile::default(), Arc::new(Site::default()));
    let hub = kept(&file);
    let mut link = connect(&hub, &site).await;
    created(&hub, &mut link).await;
    link.cut().await;
    delete(&hub).await.unwrap().unwrap();
    file.crash(1);
    let hub = kept(&file);
    assert_eq!(metric(&hub, "towline_deletes_pending"), "1");
    let refused = create(&hub).await.unwrap().unwrap_err();
    assert_eq!(refused.reason, reason::DELETED, "not after a restart either");
    let mut link = connect(&hub, &site).await;
    link.next().await.deleted();
    until("replayed", || metric(&hub, "towline_deletes_pending") == "0").await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_recorded_is_not_promised() {
    let (file, site) = (MemoryFile::default(), Arc::new(Site::default()));
    let hub = kept(&file);
    let mut link = connect(&hub, &site).await;
    file.fail(Some("No space left on device"));
    let refused = create(&hub).await.unwrap().unwrap_err();
    assert_eq!(
        (refused.kind(), refused.reason.as_str()),
        (Code::Unavailable, reason::NOT_KEPT)
    );
    assert!(refused.message.contains("No space left on device"), "{refused}");
    assert!(link.asked.try_recv().is_err(), "the plugin was not asked");
    let check = hub
        .checks()
        .into_iter()
        .find(|check| check.name == "store")
        .unwrap();
    assert!(
        !check.ok && check.detail.contains("No space left"),
        "{}",
        check.detail
    );
    link.connection.send_event(crate::fake::event(running(1)));
    sleep(Duration::from_secs(5)).await;
    assert!(
        site.acks.lock().unwrap().is_empty(),
        "an event that is not kept is not acknowledged"
    );
    file.fail(None);
    until("acknowledged", || !site.acks.lock().unwrap().is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_goes_away_answers_the_creates_that_wait() {
    let hub = hub();
    let waiting = create(&hub);
    until("held", || metric(&hub, "towline_creates_held") == "1").await;
    let began = Instant::now();
    hub.drain(Duration::from_secs(8)).await;
    let refused = waiting.await.unwrap().unwrap_err();
    assert_eq!(
        (refused.kind(), refused.reason.as_str()),
        (Code::Unavailable, reason::DRAINING)
    );
    assert!(began.elapsed() < Duration::from_secs(1), "at once");

    // One that keeps its state lets the caller go with a promise, and the next life keeps it.
    let (file, site) = (MemoryFile::default(), Arc::new(Site::default()));
    let hub = kept(&file);
    connect(&hub, &site).await.cut().await;
    let waiting = create(&hub);
    until("held", || metric(&hub, "towline_creates_held") == "1").await;
    hub.drain(Duration::from_secs(8)).await;
    assert_eq!(waiting.await.unwrap().unwrap().pod_jid, "");
    file.next_life();
    let hub = kept(&file);
    let mut link = connect(&hub, &site).await;
    link.next().await.created("job-1");
    job_known(&hub).await;
}

#[tokio::test(start_paused = true)]
async fn a_create_that_comes_while_the_hub_goes_is_promised_or_refused_and_the_next_life_agrees() {
    let mut promised = 0;
    for (turns, create_first) in (0..60).map(|n| (n / 2, n % 2 == 0)) {
        let file = MemoryFile::default();
        let hub = kept(&file);
        let drain = async |hub: &Hub| hub.drain(Duration::from_secs(8)).await;
        let pass = async || {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
        };
        let creating = if create_first {
            let creating = create(&hub);
            pass().await;
            drain(&hub).await;
            creating
        } else {
            let draining = tokio::spawn({
                let hub = hub.clone();
                async move { hub.drain(Duration::from_secs(8)).await }
            });
            pass().await;
            let creating = create(&hub);
            draining.await.unwrap();
            creating
        };
        let is_promised = match creating.await.unwrap() {
            Ok(created) => created.pod_jid.is_empty(),
            Err(refused) => {
                let told = (refused.kind(), refused.reason.as_str(), refused.not_started);
                assert_eq!(told, (Code::Unavailable, reason::DRAINING, true), "{refused}");
                false
            }
        };
        promised += usize::from(is_promised);
        drop(hub);
        file.next_life();
        assert_eq!(
            kept(&file).pods().len(),
            usize::from(is_promised),
            "after {turns} turns, the create first: {create_first}"
        );
    }
    assert!((1..60).contains(&promised), "{promised} of 60 came in time");
}

#[tokio::test(start_paused = true)]
async fn a_create_that_is_recorded_after_the_drain_began_is_promised_at_once_too() {
    let (file, site) = (MemoryFile::default(), Arc::new(Site::default()));
    let hub = kept(&file);
    connect(&hub, &site).await.cut().await;
    // The drain takes its whole time, for this plugin does not answer.
    let q = Register {
        plugin: "q".into(),
        ..registration("one")
    };
    let mut busy = connect_as(&hub, &site, q).await;
    let _unanswered = create_at(&hub, Some("q"), pod_of(&uid(2), ""));
    busy.next().await;
    let draining = tokio::spawn({
        let hub = hub.clone();
        async move { hub.drain(Duration::from_secs(8)).await }
    });
    tokio::task::yield_now().await;
    let began = Instant::now();
    assert_eq!(create(&hub).await.unwrap().unwrap().pod_jid, "");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(!draining.is_finished());
}
