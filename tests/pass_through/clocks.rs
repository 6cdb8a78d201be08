//! How long is waited for what, in virtual time: a hub and a plugin in memory.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use towline::{
    code::Code,
    hub::{CallMeta, Exchange, Hub, HubConfig, Identity, Upload, Way},
    limits,
    plugin::{CancellationToken, DialFailure, Dialer, Plugin, PluginConfig},
    transport::memory::{Memory, pair},
    wire::{HttpRequest, Status},
};

use crate::own::Own;

/// Reaches the hub in this process.
struct Near(Arc<Hub>);

impl Dialer for Near {
    type Transport = Memory;

    async fn dial(&self) -> Result<Memory, DialFailure> {
        let (ours, theirs) = pair(limits::MAX_MESSAGE);
        let identity = Identity {
            plugin: None,
            remote: "memory".to_owned(),
            way: Way::Link,
        };
        tokio::spawn(self.0.clone().serve_link(ours, identity));
        Ok(theirs)
    }
}

async fn linked() -> Arc<Hub> {
    let hub = Hub::new(HubConfig::default()).unwrap();
    let plugin = Plugin::new(PluginConfig::new("ws://memory/ws", "p1"), Own);
    tokio::spawn(plugin.run_with(Near(hub.clone()), CancellationToken::new()));
    let away = |status: Status| [Code::NotFound, Code::Unavailable].contains(&status.kind());
    while ask(&hub, "/hello", false).is_err_and(away) {
        sleep(Duration::from_millis(10)).await;
    }
    hub
}

fn ask(hub: &Arc<Hub>, path: &str, has_body: bool) -> Result<(Upload, Exchange), Status> {
    let head = HttpRequest {
        method: if has_body { "POST" } else { "GET" }.to_owned(),
        path: path.to_owned(),
        has_body,
        ..HttpRequest::default()
    };
    hub.exchange("p1", head, &CallMeta::default())
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_does_not_answer_is_given_up_when_it_has_had_its_time() {
    let hub = linked().await;
    let began = Instant::now();
    let (upload, mut exchange) = ask(&hub, "/hangs", false).unwrap();
    upload.finish().await.unwrap();
    let late = exchange.head().await.unwrap_err();
    assert_eq!(
        (late.kind(), began.elapsed().as_secs()),
        (Code::DeadlineExceeded, 30)
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_upload_is_no_silent_plugin_and_the_clock_runs_when_it_is_over() {
    let hub = linked().await;
    let (mut upload, mut exchange) = ask(&hub, "/count", true).unwrap();
    let sending = tokio::spawn(async move {
        for _ in 0..20 {
            sleep(Duration::from_secs(50)).await;
            upload.send(Bytes::from_static(b"slow")).await.unwrap();
        }
        upload.finish().await.unwrap();
    });
    assert_eq!(exchange.head().await.unwrap().status, 201);
    assert_eq!(exchange.next().await.unwrap().unwrap(), "80");
    assert_eq!(exchange.next().await.unwrap(), None);
    sending.await.unwrap();

    let (mut upload, mut exchange) = ask(&hub, "/hangs", true).unwrap();
    let began = Instant::now();
    let sending = tokio::spawn(async move {
        sleep(Duration::from_secs(300)).await;
        upload.send(Bytes::from_static(b"late")).await.unwrap();
        upload.finish().await.unwrap();
    });
    let late = exchange.head().await.unwrap_err();
    sending.await.unwrap();
    assert_eq!(
        (late.kind(), began.elapsed().as_secs()),
        (Code::DeadlineExceeded, 330)
    );
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_the_plugin_does_not_take_is_given_up() {
    let hub = linked().await;
    let began = Instant::now();
    let (mut upload, mut exchange) = ask(&hub, "/hangs", true).unwrap();
    let sending = tokio::spawn(async move { upload.send(vec![0; 1 << 20].into()).await });
    let late = exchange.head().await.unwrap_err();
    assert_eq!(
        (late.kind(), began.elapsed().as_secs()),
        (Code::DeadlineExceeded, 30)
    );
    drop(exchange);
    assert!(sending.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn an_answer_goes_on_for_as_long_as_bytes_come_and_is_ended_when_none_do() {
    let hub = linked().await;
    let (upload, mut exchange) = ask(&hub, "/ticks", false).unwrap();
    upload.finish().await.unwrap();
    exchange.head().await.unwrap();
    let began = Instant::now();
    for _ in 0..10 {
        assert_eq!(exchange.next().await.unwrap().unwrap(), "tick");
    }
    assert!(
        began.elapsed() >= Duration::from_secs(9 * 500),
        "ten minutes apart or less"
    );
    let quiet = Instant::now();
    let ended = exchange.next().await.unwrap_err();
    assert_eq!(ended.kind(), Code::DeadlineExceeded);
    assert_eq!(quiet.elapsed(), limits::HTTP_PASSED_IDLE);
}
