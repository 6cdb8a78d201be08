//! Two links of one name.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use towline::{
    code::CloseCode,
    hub::Hub,
    wire::{NodeStatus, PodEvent},
};

use crate::fake::{Linked, Site, connect_as, hub, metric, registration, running, until};

fn alarms(hub: &Hub) -> String {
    metric(hub, "towline_plugin_takeover_alarms_total")
}

async fn instance(hub: &Arc<Hub>, name: &str) -> Linked {
    connect_as(hub, &Arc::new(Site::default()), registration(name)).await
}

#[tokio::test(start_paused = true)]
async fn three_takeovers_of_live_sessions_in_an_hour_raise_an_alarm() {
    let hub = hub();
    let mut links = vec![instance(&hub, "0").await];
    for n in 1..=3 {
        assert_eq!(alarms(&hub), "0");
        sleep(Duration::from_secs(1900)).await;
        // Pings keep the old one fresh only now and then: it speaks just before.
        links[n - 1].connection.send_node_status(NodeStatus::default());
        sleep(Duration::from_secs(1)).await;
        links.push(instance(&hub, &n.to_string()).await);
        assert_eq!(links[n - 1].connection.ended().await.code, CloseCode::SUPERSEDED);
    }
    assert_eq!(alarms(&hub), "0", "the first was more than an hour ago");
    links.push(instance(&hub, "4").await);
    assert_eq!(alarms(&hub), "1");
    assert_eq!(metric(&hub, "towline_plugin_takeovers_total"), "4");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_was_silent_is_no_fight() {
    let hub = hub();
    let mut links = vec![instance(&hub, "0").await];
    for n in 1..=4 {
        // Half open: the hub has not heard of it since.
        let last = links.last().unwrap();
        last.faults.drop_silently();
        sleep(Duration::from_secs(6)).await;
        links.push(instance(&hub, &n.to_string()).await);
    }
    assert_eq!(metric(&hub, "towline_plugin_takeovers_total"), "4");
    assert_eq!(alarms(&hub), "0");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_dials_again_does_not_fight_with_itself() {
    let hub = hub();
    let mut links = Vec::new();
    for _ in 0..5 {
        links.push(instance(&hub, "one").await);
    }
    assert_eq!(metric(&hub, "towline_plugin_takeovers_total"), "4");
    assert_eq!(alarms(&hub), "0");
}

#[tokio::test(start_paused = true)]
async fn what_a_fenced_session_says_late_changes_nothing() {
    let hub = hub();
    let old = instance(&hub, "one").await;
    until("connected", || hub.ping(Some("p")).is_ok()).await;
    // Under way while the new one comes.
    old.faults.hold();
    old.connection.send_event(PodEvent {
        epoch: 7,
        seq: 9,
        state: Some(running(9)),
        ..PodEvent::default()
    });
    old.connection.send_node_status(NodeStatus {
        reason: "old".into(),
        ..NodeStatus::default()
    });
    let second = Duration::from_secs(1);
    old.connection.drain(CloseCode::DRAIN, "old", second, second);
    let site = Arc::new(Site::default());
    let new = connect_as(&hub, &site, registration("two")).await;
    old.faults.release();
    old.served.await.unwrap();
    sleep(second).await;
    assert!(hub.pods().is_empty());
    let view = hub.plugins().remove(0);
    assert!(view.connected && view.ready, "{}", view.reason);
    assert_eq!(view.instance, "two");
    assert!(site.acks.lock().unwrap().iter().all(|ack| ack.seq != 9));
    // And the new one is routed to.
    let mut new = new;
    crate::fake::created(&hub, &mut new).await;
}
