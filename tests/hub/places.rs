//! Which plugin gets a pod.

use std::sync::Arc;

use towline::{
    code::{Code, reason},
    hub::Hub,
    wire::{NodeStatus, Register},
};

use crate::fake::{
    Linked, Site, connect, connect_as, create_at, delete_at, hub, metric, pod_of, registration, uid, until,
};

fn named(name: &str, node: &str) -> Register {
    Register {
        plugin: name.into(),
        labels: [("node".to_owned(), node.to_owned())].into(),
        ..registration("one")
    }
}

async fn join(hub: &Arc<Hub>, with: Register) -> Linked {
    let site = Arc::new(Site::default());
    let link = connect_as(hub, &site, with).await;
    until("in sync", || site.reads() > 0).await;
    link
}

#[tokio::test(start_paused = true)]
async fn a_pool_gives_each_pod_to_its_ready_plugin_with_the_fewest() {
    let hub = hub();
    let mut sick = named("c", "n1");
    sick.node_status = Some(NodeStatus {
        reason: "no scheduler".into(),
        ..NodeStatus::default()
    });
    let (mut a, mut b) = (
        join(&hub, named("a", "n1")).await,
        join(&hub, named("b", "n1")).await,
    );
    let (mut c, mut d) = (join(&hub, sick).await, join(&hub, named("d", "n2")).await);
    let mut jobs = Vec::new();
    for n in 0..6 {
        let creating = create_at(&hub, None, pod_of(&uid(n), "n1"));
        let (name, asked) = tokio::select! {
            asked = a.next() => ("a", asked),
            asked = b.next() => ("b", asked),
        };
        jobs.push(name);
        asked.created(name);
        creating.await.unwrap().unwrap();
    }
    assert_eq!(jobs, ["a", "b", "a", "b", "a", "b"]);
    assert!(c.asked.try_recv().is_err() && d.asked.try_recv().is_err());
    // Later calls go to the owner, whatever they say themselves.
    let deleting = delete_at(&hub, None, pod_of(&uid(1), "n2"));
    b.next().await.deleted();
    deleting.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pool_whose_plugins_are_away_takes_the_first_that_comes_back() {
    let hub = hub();
    join(&hub, named("a", "n1")).await.cut().await;
    join(&hub, named("b", "n1")).await.cut().await;
    let creating = create_at(&hub, None, pod_of(&uid(1), "n1"));
    until("held", || metric(&hub, "towline_creates_held") == "1").await;
    let mut b = join(&hub, named("b", "n1")).await;
    b.next().await.created("job-1");
    creating.await.unwrap().unwrap();
    assert_eq!(hub.pods()[0].plugin, "b");
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_stays_away_fails_the_create_after_one_hold() {
    let hub = hub();
    join(&hub, named("a", "n1")).await.cut().await;
    join(&hub, named("b", "n2")).await.cut().await;
    let began = tokio::time::Instant::now();
    let creating = create_at(&hub, None, pod_of(&uid(1), "n1"));
    let status = creating.await.unwrap().unwrap_err();
    assert_eq!(began.elapsed().as_secs(), 50);
    assert_eq!(status.kind(), Code::Unavailable);
    assert!(
        status.message.starts_with("plugin a is not connected"),
        "{}",
        status.message
    );
}

#[tokio::test(start_paused = true)]
async fn the_annotation_goes_before_the_node_name_and_the_path_before_both() {
    let hub = hub();
    let (mut a, mut b) = (
        join(&hub, named("a", "n1")).await,
        join(&hub, named("b", "n2")).await,
    );
    let marked = |n| {
        let mut pod = serde_json::to_value(pod_of(&uid(n), "n2")).unwrap();
        pod["metadata"]["annotations"] = serde_json::json!({"towline/plugin": "a"});
        towline::interlink::Pod::from_value(pod).unwrap()
    };
    let creating = create_at(&hub, None, marked(1));
    a.next().await.created("job-1");
    creating.await.unwrap().unwrap();
    let creating = create_at(&hub, Some("b"), marked(2));
    b.next().await.created("job-2");
    creating.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn several_plugins_and_no_word_of_which_is_refused_with_their_names() {
    let hub = hub();
    let _links = (
        join(&hub, named("a", "n1")).await,
        join(&hub, named("b", "n2")).await,
    );
    let status = create_at(&hub, None, pod_of(&uid(1), "n3"))
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(status.reason, reason::NO_PLACEMENT);
    assert!(status.message.contains("(a, b)"), "{}", status.message);
}

#[tokio::test(start_paused = true)]
async fn the_bare_path_waits_for_the_only_plugin_to_come() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let creating = create_at(&hub, None, pod_of(&uid(1), "vk"));
    until("held", || metric(&hub, "towline_creates_held") == "1").await;
    let mut link = connect(&hub, &site).await;
    link.next().await.created("job-1");
    creating.await.unwrap().unwrap();
    assert_eq!(metric(&hub, "towline_creates_held"), "0");
}

#[tokio::test(start_paused = true)]
async fn a_delete_of_a_create_that_has_no_plugin_yet_is_done_at_once() {
    let hub = hub();
    let creating = create_at(&hub, None, pod_of(&uid(1), "vk"));
    until("held", || metric(&hub, "towline_creates_held") == "1").await;
    delete_at(&hub, None, pod_of(&uid(1), "vk"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(creating.await.unwrap().unwrap_err().reason, reason::DELETED);
    assert_eq!(metric(&hub, "towline_deletes_pending"), "0");
}
