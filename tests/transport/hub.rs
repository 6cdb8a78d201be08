//! A hub behind TLS: its REST over https, and a plugin's link over wss.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::oneshot,
};
use towline::{
    code::CloseCode,
    connection::{self, BoxFuture, CancelSignal, Connection, LogSink, Peer},
    http::{HttpConfig, Surface, router, serve},
    hub::{Hub, HubConfig},
    transport::{Dial, Endpoint, dial},
    wire::{
        EventAck, LogsEnd, NodeStatus, PodEvent, Register, Request, Response, SUBPROTOCOL_PROTO, Status,
        StatusResult, StreamLogs, response,
    },
};

use crate::certificates::{Certificates, port_of};

/// Long enough for a busy machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A plugin without pods.
struct Empty;

impl Peer for Empty {
    fn request(&self, _: Request, _: CancelSignal) -> BoxFuture<Response> {
        let result = response::Result::GetStatus(StatusResult::default());
        Box::pin(async move {
            Response {
                status: None,
                result: Some(result),
            }
        })
    }

    fn stream_logs(&self, _: StreamLogs, _: LogSink) -> BoxFuture<Result<LogsEnd, Status>> {
        Box::pin(async { Ok(LogsEnd::default()) })
    }

    fn pod_event(&self, _: PodEvent) {}

    fn event_ack(&self, _: EventAck) {}

    fn node_status(&self, _: NodeStatus) {}

    fn going_away(&self, _: CloseCode, _: &str, _: Duration) {}
}

async fn join(to: &Dial) -> Connection {
    let (socket, _) = dial(to).await.unwrap();
    let register = Register {
        plugin: "site-a".to_owned(),
        instance: "i1".to_owned(),
        node_status: Some(NodeStatus {
            ready: true,
            ..NodeStatus::default()
        }),
        ..Register::default()
    };
    connection::register(socket, register)
        .await
        .unwrap()
        .start(Arc::new(Empty))
}

#[tokio::test]
async fn a_hub_serves_https_and_a_link_over_wss_on_one_port() {
    let certificates = Certificates::good();
    let listener = certificates.listener().await;
    let port = port_of(&listener);
    let hub = Hub::new(HubConfig::default()).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let routes = router(hub.clone(), HttpConfig::default(), Surface::ALL);
    let serving = tokio::spawn(serve(listener, routes, 16, async {
        let _ = stopped.await;
    }));

    let tls = certificates.trusting("ca.pem");
    let endpoint = Endpoint::parse(&format!("https://localhost:{port}")).unwrap();
    let mut io = endpoint
        .connect(&tls, towline::limits::REGISTER_TIMEOUT)
        .await
        .unwrap();
    io.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    io.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    let mut to = Dial::new(format!("wss://localhost:{port}"), SUBPROTOCOL_PROTO);
    to.tls = tls;
    let link = join(&to).await;
    // The hub asks a plugin without events for its pods, over the link, before it is good.
    let good = async {
        while hub.ping(Some("site-a")).is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, good)
        .await
        .expect("the plugin is good");
    assert!(link.is_open());
    link.close(CloseCode::NORMAL, "done");
    link.ended().await;
    stop.send(()).unwrap();
    serving.await.unwrap();
}
