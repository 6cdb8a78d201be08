//! Logs: over cuts, byte for byte.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use towline::{
    code::{Code, reason},
    hub::{Hub, LogQuery, LogViewer},
    wire::{LogOptions, PodRef, Register, Status},
};

use crate::fake::{Site, UID, connect, connect_as, create, hub, meta, metric, registration, until};

async fn open(hub: &Arc<Hub>, options: LogOptions) -> Result<LogViewer, Status> {
    open_at(hub, "p", options).await
}

async fn open_at(hub: &Arc<Hub>, plugin: &str, options: LogOptions) -> Result<LogViewer, Status> {
    let pod = PodRef::new(UID, "default", "demo");
    let query = LogQuery {
        pod,
        container: "main".into(),
        options,
        start: None,
        meta: meta(),
    };
    hub.logs(Some(plugin), query).await
}

fn follow() -> LogOptions {
    LogOptions {
        follow: true,
        ..LogOptions::default()
    }
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|n| u8::try_from(n * 31 % 251).unwrap()).collect()
}

async fn ready(hub: &Arc<Hub>) {
    // A create that nobody answers would hold; ping is good before the first read is through, so ask for a log.
    while open(hub, LogOptions::default()).await.is_err() {
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_followed_log_goes_on_after_a_cut_without_a_lost_or_repeated_byte() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let whole = bytes(500_000);
    *site.log.lock().unwrap() = whole.clone();
    let link = connect(&hub, &site).await;
    ready(&hub).await;
    let mut viewer = open(&hub, follow()).await.unwrap();
    let mut read = Vec::new();
    while read.len() < 100_000 {
        read.extend_from_slice(&viewer.next().await.unwrap().unwrap().data);
    }
    link.cut().await;
    let reconnect = async {
        sleep(Duration::from_secs(20)).await;
        let link = connect(&hub, &site).await;
        *site.log_is_whole.lock().unwrap() = true;
        link
    };
    let rest = async {
        while let Some(piece) = viewer.next().await {
            let piece = piece.unwrap();
            assert_eq!(piece.gap_bytes, 0);
            read.extend_from_slice(&piece.data);
        }
    };
    let (_link, ()) = tokio::join!(reconnect, rest);
    assert!(
        read == whole,
        "{} of {} bytes, or others",
        read.len(),
        whole.len()
    );
    assert!(viewer.end().unwrap().eof);
    let start = site.opens.lock().unwrap().last().unwrap().start.unwrap();
    assert!(start.epoch == 1 && start.offset > 0);
    assert_eq!(metric(&hub, "towline_log_gap_bytes_total"), "0");
}

#[tokio::test(start_paused = true)]
async fn a_limit_counts_over_a_cut() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    *site.log.lock().unwrap() = bytes(3_000);
    let link = connect(&hub, &site).await;
    ready(&hub).await;
    let mut viewer = open(
        &hub,
        LogOptions {
            limit_bytes: Some(3_500),
            ..follow()
        },
    )
    .await
    .unwrap();
    let mut read = 0;
    while read < 3_000 {
        read += viewer.next().await.unwrap().unwrap().data.len();
    }
    link.cut().await;
    site.log.lock().unwrap().extend(bytes(3_000));
    let _link = connect(&hub, &site).await;
    while let Some(piece) = viewer.next().await {
        read += piece.unwrap().data.len();
    }
    assert_eq!(read, 3_500);
    let left = site
        .opens
        .lock()
        .unwrap()
        .last()
        .unwrap()
        .options
        .unwrap()
        .limit_bytes;
    assert_eq!(left, Some(500));
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_stays_away_ends_the_log_with_an_error() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let link = connect(&hub, &site).await;
    ready(&hub).await;
    let mut viewer = open(&hub, follow()).await.unwrap();
    assert!(viewer.next().await.unwrap().unwrap().data.is_empty());
    link.cut().await;
    let began = Instant::now();
    assert_eq!(
        viewer.next().await.unwrap().unwrap_err().kind(),
        Code::Unavailable
    );
    assert_eq!(began.elapsed().as_secs(), 60);
    assert!(viewer.end().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_has_gone_cancels_the_stream() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let _link = connect(&hub, &site).await;
    ready(&hub).await;
    let viewer = open(&hub, follow()).await.unwrap();
    assert_eq!(metric(&hub, "towline_log_streams_open"), "1");
    drop(viewer);
    until("closed", || metric(&hub, "towline_log_streams_open") == "0").await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_for_ten_minutes_is_closed() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    *site.log.lock().unwrap() = bytes(500_000);
    let _link = connect(&hub, &site).await;
    ready(&hub).await;
    let _viewer = open(&hub, follow()).await.unwrap();
    sleep(Duration::from_secs(590)).await;
    assert_eq!(metric(&hub, "towline_log_streams_open"), "1");
    sleep(Duration::from_secs(20)).await;
    assert_eq!(metric(&hub, "towline_log_streams_open"), "0");
}

#[tokio::test(start_paused = true)]
async fn who_follows_a_pod_whose_create_is_under_way_waits_for_it() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    *site.log_is_whole.lock().unwrap() = true;
    *site.logs_fail.lock().unwrap() = Some(Status::new(Code::NotFound, reason::POD_NOT_FOUND, "no such pod"));
    let mut link = connect(&hub, &site).await;
    // Nothing is known of it: no.
    let refused = loop {
        match open(&hub, follow()).await.unwrap_err() {
            early if early.kind() == Code::Unavailable => sleep(Duration::from_millis(50)).await,
            refused => break refused,
        }
    };
    assert_eq!(refused.kind(), Code::NotFound);
    let creating = create(&hub);
    let create = link.next().await;
    let opening = tokio::spawn({
        let hub = hub.clone();
        async move { open(&hub, follow()).await }
    });
    until("asked again", || site.opens.lock().unwrap().len() > 2).await;
    let asked_once = open(&hub, LogOptions::default()).await.unwrap_err();
    assert!(
        asked_once.message.contains("its create is under way"),
        "{asked_once}"
    );
    create.created("job-1");
    *site.logs_fail.lock().unwrap() = None;
    creating.await.unwrap().unwrap();
    let mut viewer = opening.await.unwrap().unwrap();
    while let Some(piece) = viewer.next().await {
        piece.unwrap();
    }
    assert!(viewer.end().unwrap().eof);
}

#[tokio::test(start_paused = true)]
async fn a_log_of_an_absent_plugin_is_refused_at_once() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    connect(&hub, &site).await.cut().await;
    assert_eq!(open(&hub, follow()).await.unwrap_err().kind(), Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn more_logs_than_a_plugin_takes_are_refused_and_one_that_closes_makes_room() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let _link = connect(&hub, &site).await;
    ready(&hub).await;
    let mut viewers = Vec::new();
    for _ in 0..64 {
        viewers.push(open(&hub, follow()).await.unwrap());
    }
    let status = open(&hub, follow()).await.unwrap_err();
    assert_eq!(
        (status.kind(), status.reason.as_str()),
        (Code::ResourceExhausted, reason::TOO_MANY_STREAMS)
    );
    viewers.pop();
    until("cancelled", || metric(&hub, "towline_log_streams_open") == "63").await;
    sleep(Duration::from_secs(1)).await;
    viewers.push(open(&hub, follow()).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn the_hub_holds_logs_for_its_budget_and_refuses_more() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let (mut links, mut viewers) = (Vec::new(), Vec::new());
    for n in 0..9 {
        let plugin = format!("p{n}");
        let with = Register {
            plugin: plugin.clone(),
            ..registration("one")
        };
        links.push(connect_as(&hub, &site, with).await);
        sleep(Duration::from_secs(1)).await;
        for _ in 0..64 {
            match open_at(&hub, &plugin, follow()).await {
                Ok(viewer) => viewers.push(viewer),
                Err(status) => assert_eq!(status.reason, reason::TOO_MANY_STREAMS),
            }
        }
    }
    // 512 MiB, 1 MiB for each.
    assert_eq!(viewers.len(), 512);
    let refused = r#"towline_requests_refused_total{reason="log_streams"}"#;
    assert_eq!(metric(&hub, refused), "64");
}
