//! The link's form and its pings, as they are set.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use towline::{
    code::CloseCode,
    connection::{BoxFuture, CancelSignal, LogSink, Peer, accept},
    limits,
    plugin::{CancellationToken, DialFailure, Dialer, Plugin, PluginConfig},
    transport::memory::{Memory, pair},
    wire::{EventAck, LogsEnd, NodeStatus, PodEvent, Request, Response, Status, StreamLogs, Welcome},
};

use crate::{
    client::{ask, command, pod, uid},
    fake::Fake,
    process::{Running, address, towline},
};

#[test]
fn a_link_in_json_serves_pods_as_one_in_protobuf_does() {
    let dir = tempfile::tempdir().unwrap();
    let (mut hub, line) = Running::start(towline(&["hub", "--listen", "127.0.0.1:0"]), "listening on");
    let hub_address = address(&line);
    let args = ["--hub", &hub_address, "--codec", "json", "--ping-interval", "1s"];
    let (_plugin, _) = Running::start(command(&dir.path().join("state"), &args), "connected to the hub");
    let connected = hub.wait_for("plugin connected");
    assert!(connected.contains("subprotocol=towline.v1.json"), "{connected}");
    let pod = pod(&uid(1), "printf 'a\\0b'; exit 5");
    let create = json!({"pod": pod, "configmaps": null, "secrets": null, "projectedvolumesmaps": null, "jobscriptURL": ""});
    let created = ask(&hub_address, "POST", "/create", &create);
    assert_eq!(created.code, 200, "{}", created.text());
    let logs = crate::client::logs_body(&uid(1), &json!({"Follow": true}));
    assert_eq!(ask(&hub_address, "GET", "/getLogs", &logs).body, b"a\0b");
    assert_eq!(crate::http::exit_code(&hub_address, &pod), 5);
}

/// A hub that says nothing.
struct Silent;

impl Peer for Silent {
    fn request(&self, _: Request, _: CancelSignal) -> BoxFuture<Response> {
        Box::pin(async { Response::default() })
    }
    fn stream_logs(&self, _: StreamLogs, _: LogSink) -> BoxFuture<Result<LogsEnd, Status>> {
        Box::pin(async { Ok(LogsEnd::default()) })
    }
    fn pod_event(&self, _: PodEvent) {}
    fn event_ack(&self, _: EventAck) {}
    fn node_status(&self, _: NodeStatus) {}
    fn going_away(&self, _: CloseCode, _: &str, _: Duration) {}
}

struct Once(std::sync::Mutex<Option<Memory>>);

impl Dialer for Once {
    type Transport = Memory;
    async fn dial(&self) -> Result<Memory, DialFailure> {
        let end = self.0.lock().unwrap().take();
        end.ok_or_else(|| DialFailure::new("only once").slow())
    }
}

#[tokio::test(start_paused = true)]
async fn a_plugin_pings_as_often_as_it_is_told() {
    let (ours, theirs) = pair(limits::MAX_MESSAGE);
    let mut config = PluginConfig::new("ws://127.0.0.1:1/ws", "p1");
    config.ping_interval = Some(Duration::from_secs(2));
    let running = Plugin::new(config, Fake::default()).run_with(
        Once(std::sync::Mutex::new(Some(theirs))),
        CancellationToken::new(),
    );
    let running = tokio::spawn(running);
    let link = accept(ours)
        .await
        .unwrap()
        .welcome(Welcome::default(), Arc::new(Silent));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = link.stats().frames_in;
    // Shorter than the hub's own interval: what comes are the plugin's pings.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(link.stats().frames_in - before, 5);
    running.abort();
}
