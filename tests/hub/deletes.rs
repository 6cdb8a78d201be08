//! Deletes: confirmed, kept, refused.

use std::sync::Arc;

use towline::{
    code::Code,
    hub::{DeleteWhenOffline, Hub, HubConfig},
    wire::Status,
};

use crate::fake::{Site, connect, create, delete, hub, metric, until};

#[tokio::test(start_paused = true)]
async fn a_delete_for_an_absent_plugin_is_kept_and_replayed() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    let creating = create(&hub);
    link.next().await.created("job-1");
    creating.await.unwrap().unwrap();
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
