//! Links: registration, takeover, ping.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use towline::{
    code::{CloseCode, Code},
    connection::{Config, HandshakeError, register},
    hub::Identity,
    wire::{NodeStatus, PodEvent, Register},
};

use crate::fake::{Site, connect, connect_as, connect_with, hub, metric, registration, running, until};
use crate::fakes::carrier::pair;

async fn refusal(with: Register, identity: Identity) -> (CloseCode, String) {
    let link = pair(crate::CARRIER, 16 << 20).await;
    tokio::spawn(hub().serve_link(link.hub, identity));
    match register(link.plugin, with).await {
        Err(HandshakeError::Refused { code, reason, .. }) => (code, reason),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("was welcomed"),
    }
}

fn anyone() -> Identity {
    Identity {
        plugin: None,
        remote: "test".into(),
        way: towline::hub::Way::Link,
    }
}

#[tokio::test(start_paused = true)]
async fn a_credential_of_another_plugin_is_forbidden() {
    let identity = Identity {
        plugin: Some("other".into()),
        ..anyone()
    };
    assert_eq!(
        refusal(registration("one"), identity).await.0,
        CloseCode::FORBIDDEN
    );
}

#[tokio::test(start_paused = true)]
async fn a_bad_name_and_too_many_labels_are_refused_with_a_text() {
    let named = Register {
        plugin: "No_Label".into(),
        ..registration("one")
    };
    let (code, text) = refusal(named, anyone()).await;
    assert_eq!(code, CloseCode::VIOLATION);
    assert!(text.contains("RFC 1123"), "{text}");
    let labels = (0..65).map(|n| (format!("l{n}"), "x".to_owned())).collect();
    let labelled = Register {
        labels,
        ..registration("one")
    };
    assert_eq!(refusal(labelled, anyone()).await.0, CloseCode::VIOLATION);
}

#[tokio::test(start_paused = true)]
async fn only_known_features_are_in_force() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut with = registration("one");
    with.features.push("x-vendor-thing".into());
    let link = connect_as(&hub, &site, with).await;
    assert_eq!(link.welcome.features, ["flow_control", "events"]);
    assert_eq!((link.welcome.ping_ms, link.welcome.idle_ms), (20_000, 60_000));
}

#[tokio::test(start_paused = true)]
async fn the_newest_link_of_a_name_wins_and_the_old_one_is_closed_as_superseded() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let old = connect(&hub, &site).await;
    until("ready", || hub.ping(Some("p")).is_ok()).await;
    let (out, into) = (old.connection.clone(), old.faults.clone());
    // What the old link sends is under way while the new one comes.
    into.hold();
    out.send_event(PodEvent {
        epoch: 7,
        seq: 1,
        state: Some(running(1)),
        ..PodEvent::default()
    });
    let new = connect_as(&hub, &site, registration("two")).await;
    into.release();
    assert_eq!(out.ended().await.code, CloseCode::SUPERSEDED);
    old.served.await.unwrap();
    assert!(hub.pods().is_empty());
    let view = hub.plugins().remove(0);
    assert!(view.connected);
    assert_eq!((view.instance.as_str(), view.reconnects), ("two", 1));
    assert!(new.connection.is_open());
    assert_eq!(metric(&hub, "towline_plugins_connected"), "1");
}

#[tokio::test(start_paused = true)]
async fn ping_stays_good_for_the_grace_and_then_says_why() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    assert_eq!(hub.ping(None).unwrap_err().kind(), Code::Unavailable);
    let link = connect(&hub, &site).await;
    assert_eq!(hub.ping(Some("p")).unwrap().resources.unwrap().cpu, "4");
    link.cut().await;
    sleep(Duration::from_secs(59)).await;
    assert!(hub.ping(None).is_ok());
    sleep(Duration::from_secs(2)).await;
    let status = hub.ping(None).unwrap_err();
    assert!(
        status.message.starts_with("plugin p: not connected"),
        "{}",
        status.message
    );
}

#[tokio::test(start_paused = true)]
async fn a_connected_plugin_cannot_be_forgotten_and_an_absent_one_can() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    assert_eq!(hub.forget("p").unwrap_err().kind(), Code::NotFound);
    let link = connect(&hub, &site).await;
    assert_eq!(hub.forget("p").unwrap_err().kind(), Code::FailedPrecondition);
    link.cut().await;
    hub.forget("p").unwrap();
    assert!(hub.plugins().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_draining_hub_says_go_away_and_takes_no_new_link() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let link = connect(&hub, &site).await;
    hub.drain(Duration::from_secs(8)).await;
    assert_eq!(link.connection.ended().await.code, CloseCode::DRAIN);
    assert!(!hub.checks()[0].ok);
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_comes_back_not_ready_after_long_has_no_grace_left() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    connect(&hub, &site).await.cut().await;
    sleep(Duration::from_secs(3600)).await;
    assert!(hub.ping(Some("p")).is_err());
    let mut sick = registration("two");
    sick.node_status = Some(NodeStatus {
        reason: "no scheduler".into(),
        ..NodeStatus::default()
    });
    let _link = connect_as(&hub, &site, sick).await;
    let status = hub.ping(Some("p")).unwrap_err();
    assert_eq!(status.message, "plugin p: no scheduler");
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_falls_ill_has_the_grace_too() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let link = connect(&hub, &site).await;
    link.connection.send_node_status(NodeStatus {
        reason: "no scheduler".into(),
        ..NodeStatus::default()
    });
    until("told", || !hub.plugins()[0].ready).await;
    sleep(Duration::from_secs(58)).await;
    assert_eq!(hub.ping(None).unwrap().resources.unwrap().cpu, "4");
    sleep(Duration::from_secs(3)).await;
    assert_eq!(hub.ping(None).unwrap_err().message, "plugin p: no scheduler");
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_takes_small_messages_only_is_warned_about() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let small = |max_message| Config {
        max_message,
        ..Config::default()
    };
    let warned = "towline_plugin_small_messages_total";
    let _usual = connect_with(&hub, &site, registration("one"), small(1 << 20))
        .await
        .unwrap();
    assert_eq!(metric(&hub, warned), "0");
    let _small = connect_with(&hub, &site, registration("two"), small(512 << 10))
        .await
        .unwrap();
    assert_eq!(metric(&hub, warned), "1");
    let refused = connect_with(&hub, &site, registration("three"), small(64 << 10)).await;
    assert!(matches!(
        refused,
        Err(HandshakeError::Refused {
            code: CloseCode::VIOLATION,
            ..
        })
    ));
}

#[tokio::test(start_paused = true)]
async fn an_observer_is_refused_with_the_way_to_watch() {
    let observer = Register {
        role: towline::wire::Role::Observer.into(),
        ..registration("one")
    };
    let (code, text) = refusal(observer, anyone()).await;
    assert_eq!(code, CloseCode::VIOLATION);
    assert!(text.contains("/api/v1/events"), "{text}");
}
