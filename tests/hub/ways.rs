//! Two ways to one plugin: which one counts, and that nothing is run twice or lost when it changes.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};
use towline::{
    code::{CloseCode, Code, reason},
    connection::{Config, HandshakeError},
    hub::{Hub, HubConfig, Onlooker, PodView, Way},
    interlink::Pod,
    wire::{ContainerRunning, Outbox, PodRef, Register, Status, container_state::State},
};

use crate::{
    fake::{
        Linked, Site, UID, connect, connect_with, create, created, delete, event, hub, metric, pod,
        registration, running, state, uid, until,
    },
    fakes::plugin::connect_by,
};

const SETTLE: Duration = Duration::from_secs(3);

/// The HTTP way: another process with another outbox and other records.
fn other() -> Register {
    Register {
        outbox: Some(Outbox {
            epoch: 8,
            ..registration("two").outbox.unwrap()
        }),
        jobs_epoch: 2,
        ..registration("two")
    }
}

async fn by_http(hub: &Arc<Hub>, site: &Arc<Site>) -> Result<Linked, HandshakeError> {
    connect_by(hub, site, other(), Config::default(), Way::Http).await
}

async fn http(hub: &Arc<Hub>, site: &Arc<Site>) -> Linked {
    by_http(hub, site).await.unwrap()
}

fn way(hub: &Hub) -> String {
    hub.plugins()[0].way.clone()
}

#[derive(Debug, Default)]
struct Told(Mutex<Vec<String>>);

impl Told {
    fn on(hub: &Hub) -> Arc<Self> {
        let told = Arc::new(Self::default());
        hub.look_on("p", told.clone());
        told
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Onlooker for Told {
    fn placed(&self, pod: &Pod, created: bool) {
        let containers = pod.spec().containers.len();
        self.0
            .lock()
            .unwrap()
            .push(format!("placed {containers} {created}"));
    }

    fn deleted(&self, uid: &str) {
        assert_eq!(uid, UID);
        self.0.lock().unwrap().push("deleted".into());
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_takes_over_from_http_without_an_alarm_and_the_create_there_is_finished() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut old = http(&hub, &site).await;
    until("ready", || hub.ping(Some("p")).is_ok()).await;
    assert_eq!(way(&hub), "http");
    let creating = create(&hub);
    let call = old.next().await;
    let mut link = connect(&hub, &site).await;
    until("the link", || way(&hub) == "link").await;
    sleep(Duration::from_secs(20)).await;
    assert!(!creating.is_finished(), "its way ends only behind its answer");
    call.created("job-1");
    assert_eq!(creating.await.unwrap().unwrap().pod_jid, "job-1");
    let ended = old.connection.ended().await;
    assert_eq!(
        ended.code,
        CloseCode::NORMAL,
        "comes back as usual, not after a minute"
    );
    assert!(link.asked.try_recv().is_err(), "never sent twice");
    for name in [
        "towline_plugin_takeovers_total",
        "towline_plugin_takeover_alarms_total",
    ] {
        assert_eq!(metric(&hub, name), "0", "{name}");
    }
    let count = |way: &str| {
        metric(
            &hub,
            &format!(r#"towline_call_duration_seconds_count{{op="create",way="{way}",code="OK"}}"#),
        )
    };
    assert_eq!((count("http").as_str(), count("link").as_str()), ("1", "absent"));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_http_takes_when_the_link_was_read_already_is_asked_about_over_the_link() {
    for is_cut in [false, true] {
        let (hub, site) = (hub(), Arc::new(Site::default()));
        let mut old = http(&hub, &Arc::default()).await;
        let creating = create(&hub);
        let call = old.next().await;
        // It has another pod, and has told of it: so its outbox counts as read.
        let other = PodRef::new(uid(1), "default", "other");
        let news = state(other, 1, State::Running(ContainerRunning::default()));
        site.pods.lock().unwrap().insert(uid(1), news.clone());
        let link = connect(&hub, &site).await;
        link.connection.send_event(event(news));
        until("the link is read", || !site.acks.lock().unwrap().is_empty()).await;
        sleep(Duration::from_secs(1)).await;
        let mut link = Some(link);
        assert_eq!(site.reads(), 1, "of all, and ours is not among them");
        site.pods.lock().unwrap().insert(UID.into(), running(1));
        if let Some(link) = link.take_if(|_| is_cut) {
            link.cut().await;
        }
        call.created("job-1");
        assert_eq!(creating.await.unwrap().unwrap().pod_jid, "job-1");
        if is_cut {
            // The hub has read it: what it lacks comes as events, of the pods that the plugin knows.
            link = Some(connect(&hub, &site).await);
        }
        until("running", || {
            let ours = |pod: &PodView| pod.uid == UID && pod.phase == "Running";
            hub.pods().iter().any(ours)
        })
        .await;
        let asked = site.asked.lock().unwrap()[1].clone();
        assert!(!asked.all, "before the next regular read");
        assert_eq!(asked.pods[0].uid, UID);
        drop(link);
    }
}

#[tokio::test(start_paused = true)]
async fn http_never_takes_over_from_a_link() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let link = connect(&hub, &site).await;
    match by_http(&hub, &site).await {
        Err(HandshakeError::Refused { code, .. }) => assert_eq!(code, CloseCode::NORMAL),
        other => panic!("{other:?}"),
    }
    assert_eq!(way(&hub), "link");
    link.cut().await;
    let _http = http(&hub, &site).await;
    assert_eq!(way(&hub), "http");
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_is_reached_by_http_alone_gets_no_link() {
    let hub = Hub::new(HubConfig {
        http_only: vec!["p".into()],
        ..HubConfig::default()
    })
    .unwrap();
    let site = Arc::new(Site::default());
    match connect_with(&hub, &site, registration("one"), Config::default()).await {
        Err(HandshakeError::Refused { code, reason, .. }) => {
            assert_eq!(code, CloseCode::FORBIDDEN);
            assert_eq!(reason, "hub.plugins.p.transport is http: no link is taken");
        }
        other => panic!("{other:?}"),
    }
    let mut http = http(&hub, &site).await;
    created(&hub, &mut http).await;
}

#[tokio::test(start_paused = true)]
async fn http_waits_until_the_link_has_been_away_for_a_while() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    // Nobody has ever dialled: the same wait.
    let began = Instant::now();
    hub.without_link("p", SETTLE).await;
    assert_eq!(began.elapsed(), SETTLE);
    let link = connect(&hub, &site).await;
    let waiting = tokio::spawn({
        let hub = hub.clone();
        async move { hub.without_link("p", SETTLE).await }
    });
    sleep(Duration::from_secs(3600)).await;
    assert!(!waiting.is_finished());
    link.cut().await;
    sleep(Duration::from_secs(2)).await;
    // It comes back in time.
    let link = connect(&hub, &site).await;
    sleep(Duration::from_secs(60)).await;
    assert!(!waiting.is_finished());
    link.cut().await;
    let began = Instant::now();
    timeout(Duration::from_secs(60), waiting).await.unwrap().unwrap();
    assert_eq!(began.elapsed(), SETTLE);
}

#[tokio::test(start_paused = true)]
async fn no_such_pod_is_not_believed_of_a_create_that_went_the_other_way() {
    for (shared, sent) in [(false, false), (true, true)] {
        let (hub, site) = (hub(), Arc::new(Site::default()));
        let mut old = http(&hub, &site).await;
        let creating = create(&hub);
        let unknown = Status::new(Code::Unknown, reason::SUBMIT_UNKNOWN, "the upstream died");
        old.next().await.fail(unknown);
        let mut with = registration("one");
        if shared {
            with.features.push("x-towline-shared".into());
        }
        let mut link = connect_with(&hub, &site, with, Config::default()).await.unwrap();
        if sent {
            let again = link.next().await;
            assert!(again.is_create() && again.request.attempt == 2);
            again.created("job-2");
            creating.await.unwrap().unwrap();
        } else {
            assert!(creating.await.unwrap().is_err(), "nobody can tell");
            // What may still come of it is deleted.
            assert!(!link.next().await.is_create());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_plugin_learns_that_it_has_two_ways() {
    let hub = Hub::new(HubConfig {
        http_only: vec!["q".into()],
        ..HubConfig::default()
    })
    .unwrap();
    let site = Arc::new(Site::default());
    let mut with = registration("one");
    with.features.push("x-towline-shared".into());
    for two in [false, true] {
        if two {
            Told::on(&hub);
        }
        let link = connect_with(&hub, &site, with.clone(), Config::default())
            .await
            .unwrap();
        assert_eq!(
            link.welcome
                .features
                .iter()
                .any(|name| name == "x-towline-shared"),
            two
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_create_over_the_link_is_asked_about_over_http() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let told = Told::on(&hub);
    let mut link = connect(&hub, &site).await;
    let creating = create(&hub);
    let _call = link.next().await;
    link.cut().await;
    // The plugin took it.
    site.pods.lock().unwrap().insert(UID.into(), running(1));
    let mut http = http(&hub, &site).await;
    assert_eq!(creating.await.unwrap().unwrap().pod_jid, "job-1");
    assert!(http.asked.try_recv().is_err(), "never sent twice");
    assert_eq!(
        told.all(),
        ["placed 1 false"],
        "it is asked about with its whole manifest"
    );
}

#[tokio::test(start_paused = true)]
async fn http_is_told_of_the_pods_of_the_link_until_they_are_deleted() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let told = Told::on(&hub);
    let mut link = connect(&hub, &site).await;
    created(&hub, &mut link).await;
    assert_eq!(told.all(), ["placed 1 true"]);
    hub.status(None, &[pod()]).await.unwrap();
    assert_eq!(told.all(), ["placed 1 true"; 2]);
    let deleting = delete(&hub);
    let call = link.next().await;
    hub.status(None, &[pod()]).await.unwrap();
    assert_eq!(
        told.all().len(),
        2,
        "a pod that is being deleted is not taken up again"
    );
    call.deleted();
    deleting.await.unwrap().unwrap();
    assert_eq!(told.all()[2..], ["deleted"]);
    hub.status(None, &[pod()]).await.unwrap();
    assert_eq!(told.all().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_was_deleted_over_http_does_not_come_back_with_the_link() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let _told = Told::on(&hub);
    let mut link = connect(&hub, &site).await;
    created(&hub, &mut link).await;
    link.cut().await;
    let gone = Arc::new(Site::default());
    let mut http = http(&hub, &gone).await;
    let deleting = delete(&hub);
    http.next().await.deleted();
    deleting.await.unwrap().unwrap();
    // Its next look at all pods does not find it.
    until("it is gone", || hub.pods().is_empty()).await;
    // The plugin at the link has not heard of that.
    site.pods.lock().unwrap().insert(UID.into(), running(1));
    let mut link = connect(&hub, &site).await;
    let call = link.next().await;
    assert!(!call.is_create());
    assert!(hub.pods().is_empty());
    site.pods.lock().unwrap().clear();
    call.deleted();
    until("it is confirmed", || {
        metric(&hub, "towline_deletes_pending") == "0"
    })
    .await;
    assert!(hub.pods().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_being_deleted_over_http_is_deleted_over_the_link_too_when_that_is_back() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let _told = Told::on(&hub);
    let mut link = connect(&hub, &site).await;
    created(&hub, &mut link).await;
    link.cut().await;
    site.pods.lock().unwrap().insert(UID.into(), running(1));
    let mut http = http(&hub, &site).await;
    let deleting = delete(&hub);
    http.next().await.deleted();
    deleting.await.unwrap().unwrap();
    // It has not ended yet when the link is back, and the plugin there has not heard of the delete.
    let mut link = connect(&hub, &site).await;
    let call = link.next().await;
    assert!(!call.is_create());
    assert_eq!(hub.pods().len(), 1);
    call.deleted();
    let none_waits = || metric(&hub, "towline_deletes_pending") == "0";
    until("it is confirmed", none_waits).await;
    // Once: it may take its grace period.
    for _ in 0..2 {
        link.cut().await;
        link = connect(&hub, &site).await;
        sleep(Duration::from_secs(3600)).await;
        assert!(link.asked.try_recv().is_err());
        assert_eq!(hub.pods().len(), 1);
    }
    site.pods.lock().unwrap().clear();
    until("it is gone", || hub.pods().is_empty()).await;
    assert!(none_waits());
}
