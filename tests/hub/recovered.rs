//! What a new life of the hub makes of what the former one has left.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::time::sleep;
use towline::{
    code::{Code, reason},
    hub::{Hub, MemoryFile},
    interlink::{Pod, PodCreateRequests},
    wire::{EventAck, Outbox, Register, request::Op},
};

use crate::{
    fake::{
        Site, UID, connect, connect_as, create, created, delete, event, meta, metric, pod, registration,
        running, until,
    },
    restarts::{job_known, kept},
};

async fn acked(site: &Site, seq: u64) {
    until("acknowledged", || {
        site.acks.lock().unwrap().contains(&EventAck { epoch: 7, seq })
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_a_plugin_goes_on_after_what_was_acknowledged_and_is_read_once() {
    let (file, site) = (MemoryFile::default(), Arc::new(Site::default()));
    let hub = kept(&file);
    let mut link = connect(&hub, &site).await;
    site.pods.lock().unwrap().insert(UID.into(), running(1));
    created(&hub, &mut link).await;
    link.connection.send_event(event(running(1)));
    link.connection.send_event(event(running(2)));
    acked(&site, 2).await;
    for seed in 0..8 {
        file.crash(seed);
        let hub = kept(&file);
        let reads = site.reads();
        // Cut once in the new life: what it lacks then comes as events.
        for _ in 0..2 {
            let with = Register {
                outbox: Some(Outbox {
                    epoch: 7,
                    oldest_seq: 3,
                    next_seq: 4,
                    acked_seq: 2,
                }),
                ..registration("one")
            };
            let link = connect_as(&hub, &site, with).await;
            assert_eq!(link.welcome.applied, Some(EventAck { epoch: 7, seq: 2 }));
            // All plugins come back at once, so the one read is some time within ten seconds.
            sleep(Duration::from_secs(11)).await;
            assert_eq!(site.reads(), reads + 1);
            link.cut().await;
        }
        assert_eq!(hub.pods().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn welcome_acknowledges_only_what_is_on_the_disk() {
    let (file, site) = (MemoryFile::default(), Arc::new(Site::default()));
    let hub = kept(&file);
    let mut link = connect(&hub, &site).await;
    created(&hub, &mut link).await;
    link.connection.send_event(event(running(1)));
    acked(&site, 1).await;
    file.fail(Some("No space left on device"));
    link.connection.send_event(event(running(2)));
    until("applied", || !hub.checks().iter().all(|check| check.ok)).await;
    link.cut().await;
    let link = connect(&hub, &site).await;
    assert_eq!(link.welcome.applied, Some(EventAck { epoch: 7, seq: 1 }));
    // It comes again, and is acknowledged when the disk has it.
    link.connection.send_event(event(running(2)));
    file.fail(None);
    acked(&site, 2).await;
    link.cut().await;
    let link = connect(&hub, &site).await;
    assert_eq!(link.welcome.applied, Some(EventAck { epoch: 7, seq: 2 }));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_file_is_given_up_and_everything_is_read_from_the_plugins() {
    let (file, site) = (MemoryFile::default(), Arc::new(Site::default()));
    let hub = kept(&file);
    let mut link = connect(&hub, &site).await;
    site.pods.lock().unwrap().insert(UID.into(), running(1));
    created(&hub, &mut link).await;
    file.next_life();
    let mut bytes = file.bytes();
    bytes[..4096].fill(0xa5);
    file.set_bytes(&bytes);
    let hub = kept(&file);
    assert!(hub.pods().is_empty());
    let mut link = connect(&hub, &site).await;
    until("read", || hub.pods().len() == 1).await;
    assert_eq!(hub.pods()[0].job_id, "job-1");
    // And it is kept again.
    link.connection.send_event(event(running(1)));
    acked(&site, 1).await;
    file.crash(1);
    assert_eq!(kept(&file).pods().len(), 1);
    assert!(link.asked.try_recv().is_err(), "nothing was created anew");
}

#[tokio::test(start_paused = true)]
async fn a_create_that_waits_for_its_plugin_survives_a_crash() {
    let (file, site) = (MemoryFile::default(), Arc::new(Site::default()));
    let hub = kept(&file);
    connect(&hub, &site).await.cut().await;
    let _lost_with_the_hub = create(&hub);
    until("held", || metric(&hub, "towline_creates_held") == "1").await;
    file.crash(3);
    let hub = kept(&file);
    let mut link = connect(&hub, &site).await;
    link.next().await.created("job-1");
    job_known(&hub).await;
}

#[tokio::test(start_paused = true)]
async fn a_create_at_its_plugin_is_answered_while_the_hub_drains() {
    let (file, site) = (MemoryFile::default(), Arc::new(Site::default()));
    for hub in [kept(&file), crate::fake::hub()] {
        let mut link = connect(&hub, &site).await;
        let waiting = create(&hub);
        let asked = link.next().await;
        let drained = {
            let hub = hub.clone();
            tokio::spawn(async move { hub.drain(Duration::from_secs(8)).await })
        };
        sleep(Duration::from_secs(2)).await;
        asked.created("job-1");
        drained.await.unwrap();
        // A create that is recorded was promised at once, without its job.
        let job = waiting.await.unwrap().unwrap().pod_jid;
        assert!(job == "job-1" || job.is_empty(), "{job}");
        assert_eq!(hub.pods()[0].job_id, "job-1", "the answer was taken in");
    }
}

#[tokio::test(start_paused = true)]
async fn a_delete_that_cannot_be_recorded_is_not_promised() {
    let (file, site) = (MemoryFile::default(), Arc::new(Site::default()));
    let hub = kept(&file);
    let mut link = connect(&hub, &site).await;
    created(&hub, &mut link).await;
    link.cut().await;
    file.fail(Some("No space left on device"));
    let refused = delete(&hub).await.unwrap().unwrap_err();
    assert_eq!(
        (refused.kind(), refused.reason.as_str()),
        (Code::Unavailable, reason::NOT_KEPT)
    );
    // It stays in hand all the same, for many a virtual kubelet does not ask again; who does is answered the truth.
    assert_eq!(metric(&hub, "towline_deletes_pending"), "1");
    let still = delete(&hub).await.unwrap().unwrap_err();
    assert_eq!(still.reason, reason::NOT_KEPT);
    file.fail(None);
    until("written", || hub.checks().iter().all(|check| check.ok)).await;
    delete(&hub).await.unwrap().unwrap();
    file.crash(5);
    let hub = kept(&file);
    let mut link = connect(&hub, &site).await;
    link.next().await.deleted();
    until("replayed", || metric(&hub, "towline_deletes_pending") == "0").await;
}

/// What must be in no byte of the file, in a pod that says it everywhere where secrets stand.
fn secretive() -> PodCreateRequests {
    let mut pod = serde_json::to_value(pod()).unwrap();
    pod["metadata"]["annotations"] = json!({"note": "canary-annotation"});
    pod["spec"]["containers"][0]["env"] = json!([{"name": "PASSWORD", "value": "canary-environment"}]);
    pod["spec"]["containers"][0]["command"] = json!(["login", "--token=canary-command"]);
    pod["spec"]["volumes"] = json!([{"name": "v", "secret": {"secretName": "s"}}]);
    let mut body = PodCreateRequests::new(Pod::from_value(pod).unwrap());
    body.secrets = serde_json::from_value(json!([
        {"metadata": {"name": "s"}, "stringData": {"key": "canary-plain"}, "data": {"coded": "Y2FuYXJ5LXNlY3JldA=="}}
    ]))
    .unwrap();
    body.configmaps =
        serde_json::from_value(json!([{"metadata": {"name": "c"}, "data": {"key": "canary-map"}}])).unwrap();
    body.projectedvolumesmaps = serde_json::from_value(
        json!([{"metadata": {"name": "kube-api-access"}, "data": {"token": "canary-service-account"}}]),
    )
    .unwrap();
    body
}

fn holds(file: &MemoryFile, word: &str) -> bool {
    file.bytes()
        .windows(word.len())
        .any(|part| part == word.as_bytes())
}

fn assert_silent(file: &MemoryFile, when: &str) {
    assert!(holds(file, UID), "{when}: the search finds what is there");
    for word in ["canary", "Y2FuYXJ5"] {
        assert!(!holds(file, word), "{when}: {word} is in the file");
    }
}

#[tokio::test(start_paused = true)]
async fn no_byte_of_the_file_says_a_secret_of_a_pod_from_its_create_to_its_delete() {
    let (file, site) = (MemoryFile::default(), Arc::new(Site::default()));
    let hub = kept(&file);
    let mut link = connect(&hub, &site).await;
    let body = secretive();
    let old = body.pod.clone();
    let waiting = {
        let hub: Arc<Hub> = hub.clone();
        tokio::spawn(async move { hub.create(Some("p"), body, meta()).await })
    };
    let asked = link.next().await;
    let Some(Op::CreatePod(create)) = &asked.request.op else {
        panic!("{asked:?}")
    };
    let payload = String::from_utf8(create.payload.to_vec()).unwrap();
    assert!(
        payload.contains("canary-environment"),
        "the plugin gets all of it"
    );
    assert_silent(&file, "a create in hand");
    asked.created("job-1");
    waiting.await.unwrap().unwrap();
    link.connection.send_event(event(running(1)));
    acked(&site, 1).await;
    assert_silent(&file, "a pod that runs");
    link.cut().await;
    hub.delete(Some("p"), old, None, meta()).await.unwrap();
    assert_silent(&file, "a delete that waits");
    // What was promised is whole all the same.
    file.crash(9);
    let hub = kept(&file);
    let mut link = connect(&hub, &site).await;
    let asked = link.next().await;
    let Some(Op::DeletePod(delete)) = &asked.request.op else {
        panic!("{asked:?}")
    };
    let json = String::from_utf8(delete.pod_json.to_vec()).unwrap();
    assert!(json.contains("canary-environment"), "the plugin gets all of it");
    asked.deleted();
    until("replayed", || metric(&hub, "towline_deletes_pending") == "0").await;
    assert_silent(&file, "all is done");
}
