//! A hub's gRPC listener and plugins that dial it.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinHandle, time::timeout};
use towline::{
    code::{CloseCode, Code},
    connection::{self, Config, Registered},
    http::{HttpConfig, Token, serve_grpc},
    hub::{CallMeta, Hub, HubConfig},
    interlink::PodCreateRequests,
    plugin::{
        CancellationToken, Create, Created, Delete, Deleted, Handler, LogRequest, LogSink, Plugin,
        PluginConfig, Which,
    },
    transport::{Dial, DialError, Dialled, Listener, TlsConfig, dial_link},
    wire::{LogsEnd, NodeStatus, PodState, Status},
};

use crate::{
    calls::fake,
    certificates::{Certificates, port_of},
    fake::{metric, pod, registration},
};

/// Long enough for a busy machine; only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A hub that takes links over gRPC.
pub(crate) struct Served {
    pub(crate) hub: Arc<Hub>,
    pub(crate) url: String,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Served {
    pub(crate) async fn new(config: HttpConfig, most: usize) -> Self {
        let listener = Listener::bind("127.0.0.1:0", None).await.unwrap();
        let url = format!("grpc://{}", listener.local_addr());
        Self::on(listener, url, config, most)
    }

    pub(crate) fn on(listener: Listener, url: String, config: HttpConfig, most: usize) -> Self {
        let hub = Hub::new(HubConfig::default()).unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve_grpc(
            listener,
            hub.clone(),
            config,
            most,
            stop.clone().cancelled_owned(),
        ));
        Self { hub, url, stop, task }
    }

    pub(crate) async fn plain() -> Self {
        Self::new(HttpConfig::default(), 100).await
    }

    pub(crate) async fn dial(&self, token: Option<&str>) -> Result<Dialled, DialError> {
        let mut to = Dial::new(self.url.clone(), "towline.v1.proto");
        to.bearer = token.map(str::to_owned);
        dial_link(&to).await
    }

    pub(crate) async fn registered(&self, name: &str) -> Registered<Dialled> {
        let link = self.dial(None).await.unwrap();
        let mut register = registration("one");
        register.plugin = name.to_owned();
        connection::register_with(link, register, Config::dialling())
            .await
            .unwrap()
    }

    /// Ends it as the hub's process does.
    async fn end(self) {
        self.stop.cancel();
        self.hub.drain(Duration::from_secs(5)).await;
        timeout(PATIENCE, self.task).await.unwrap().unwrap();
    }
}

struct Pods;

impl Handler for Pods {
    async fn create(&self, create: Create) -> Result<Created, Status> {
        Ok(Created::new(format!("job-of-{}", create.pod.name)))
    }
    async fn delete(&self, _: Delete) -> Result<Deleted, Status> {
        Ok(Deleted { existed: true })
    }
    async fn status(&self, _: Which) -> Result<Vec<PodState>, Status> {
        Ok(Vec::new())
    }
    async fn logs(&self, request: LogRequest, sink: LogSink) -> Result<LogsEnd, Status> {
        request.answer("a log", sink).await
    }
    async fn node(&self) -> NodeStatus {
        NodeStatus::ready("1", "1Gi", "5")
    }
}

pub(crate) async fn creates(served: &Served, name: &'static str) {
    let meta = CallMeta {
        session: "CreatePod#1".into(),
        traceparent: None,
    };
    let made = served.hub.create(Some(name), PodCreateRequests::new(pod()), meta);
    assert_eq!(
        timeout(PATIENCE, made).await.unwrap().unwrap().pod_jid,
        "job-of-demo"
    );
}

/// Runs a plugin of the library until the hub has had a pod created there.
async fn runs(served: Served, tls: TlsConfig) {
    let mut config = PluginConfig::new(served.url.clone(), "site-a");
    config.tls = tls;
    let stop = CancellationToken::new();
    let plugin = tokio::spawn(Plugin::new(config, Pods).run(stop.clone()));
    creates(&served, "site-a").await;
    stop.cancel();
    timeout(PATIENCE, plugin).await.unwrap().unwrap().unwrap();
    served.end().await;
}

#[tokio::test]
async fn a_plugin_of_the_library_needs_only_the_address() {
    runs(Served::plain().await, TlsConfig::default()).await;
}

#[tokio::test]
async fn a_plugin_of_the_library_dials_with_tls() {
    let certificates = Certificates::good();
    let listener = certificates.grpc_listener().await;
    let url = format!("grpcs://localhost:{}", port_of(&listener));
    let served = Served::on(listener, url, HttpConfig::default(), 100);
    runs(served, certificates.trusting("ca.pem")).await;
}

#[tokio::test]
async fn a_plugin_of_the_library_dials_a_unix_socket() {
    let dir = tempfile::tempdir().unwrap();
    let address = format!("unix://{}/hub.sock", dir.path().display());
    let listener = Listener::bind(&address, None).await.unwrap();
    let served = Served::on(listener, format!("grpc+{address}"), HttpConfig::default(), 100);
    runs(served, TlsConfig::default()).await;
}

#[tokio::test]
async fn only_who_has_the_token_gets_a_link() {
    let config = HttpConfig {
        token: Some(Token::new("s3cret").unwrap()),
        ..HttpConfig::default()
    };
    let served = Served::new(config, 100).await;
    for (token, expected) in [
        (None, Code::Unauthenticated),
        (Some("other"), Code::PermissionDenied),
    ] {
        let error = served.dial(token).await.unwrap_err();
        let DialError::RefusedCall { code, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(*code, expected, "{error}");
        assert!(error.to_string().contains("token"), "{error}");
    }
    assert!(served.dial(Some("s3cret")).await.is_ok());
    for why in ["token_missing", "token_wrong"] {
        let name = format!("towline_requests_refused_total{{reason=\"{why}\"}}");
        assert_eq!(metric(&served.hub, &name), "1", "{}", served.hub.metrics_text());
    }
}

#[tokio::test]
async fn one_connection_too_many_is_told_so_and_a_place_that_is_free_is_given() {
    let served = Served::new(HttpConfig::default(), 1).await;
    let first = served.dial(None).await.unwrap();
    let text = chain(&served.dial(None).await.unwrap_err());
    assert!(text.contains("excessive load"), "{text}");
    drop(first);
    // The hub notices its end before long.
    let again = async {
        while served.dial(None).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, again).await.unwrap();
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[tokio::test]
async fn a_hub_that_stops_drains_its_links_and_ends_with_them() {
    let served = Served::plain().await;
    let link = served.registered("p").await.start(fake(0));
    served.end().await;
    let ended = timeout(PATIENCE, link.ended()).await.unwrap();
    assert_eq!(
        (ended.code, ended.by_peer),
        (CloseCode::DRAIN, true),
        "{}",
        ended.reason
    );
    assert!(ended.retry_after > Duration::ZERO);
}
