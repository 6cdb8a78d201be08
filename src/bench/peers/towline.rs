//! The link itself: [`Connection`] as hub and plugin use it, over WebSocket or what else brings two ends. The hub's end calls the plugin's.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::ready;

use super::{Caller, Setup, calling, chunks, payload, sockets};
use crate::{
    bench::Contender,
    code::{CloseCode, Code, reason},
    connection::{BoxFuture, CancelSignal, Config, Connection, LogSink, Peer, accept_as, register_as},
    limits,
    transport::{Io, Transport, WebSocket},
    wire::{
        EventAck, LogsEnd, NodeStatus, PodEvent, Register, Request, Response, Role, Status, StreamLogs,
        Subprotocol, Welcome, feature,
    },
};

pub(super) const BINARY: Subprotocol = Subprotocol::Proto;
pub(super) const JSON: Subprotocol = Subprotocol::Json;

pub(super) async fn calls(
    name: &'static str,
    setup: Setup,
    form: Subprotocol,
) -> anyhow::Result<Contender<'static>> {
    calls_over(name, setup, form, ends).await
}

pub(super) async fn logs(
    name: &'static str,
    setup: Setup,
    form: Subprotocol,
) -> anyhow::Result<Contender<'static>> {
    logs_over(name, setup, form, ends).await
}

/// The plugin's end and the hub's.
async fn ends() -> anyhow::Result<(WebSocket<Io>, WebSocket<Io>)> {
    let (dialled, accepted) = sockets().await?;
    Ok((
        WebSocket::dialled(Io::tcp(dialled), Bytes::new(), limits::MAX_MESSAGE).await,
        WebSocket::accepted(Io::tcp(accepted), limits::MAX_MESSAGE).await,
    ))
}

/// Calls over links whose ends come from `ends`.
pub(super) async fn calls_over<T: Transport, F>(
    name: &'static str,
    setup: Setup,
    form: Subprotocol,
    ends: fn() -> F,
) -> anyhow::Result<Contender<'static>>
where
    F: Future<Output = anyhow::Result<(T, T)>> + Send,
{
    let (mut callers, mut links) = (Vec::new(), Vec::new());
    for _ in 0..setup.connections {
        let link = Link::up(setup, form, ends().await?).await?;
        callers.extend((0..setup.callers).map(|_| link.hub.clone()));
        links.push(link);
    }
    Ok(calling(name, callers, links))
}

impl Caller for Connection {
    async fn call(&mut self, number: u64) -> anyhow::Result<()> {
        let response = Connection::call(self, payload::request(number))
            .await
            .map_err(failed)?;
        payload::check(number, &response)
    }
}

/// A log over a link whose ends come from `ends`.
pub(super) async fn logs_over<T: Transport, F>(
    name: &'static str,
    setup: Setup,
    form: Subprotocol,
    ends: fn() -> F,
) -> anyhow::Result<Contender<'static>>
where
    F: Future<Output = anyhow::Result<(T, T)>> + Send,
{
    let link = Link::up(setup, form, ends().await?).await?;
    Ok(Contender::new(name, move |amount| {
        let hub = link.hub.clone();
        async move {
            let total = amount * setup.chunk as u64;
            // In a task of its own, as the hub reads: not on the thread that waits for the whole turn.
            tokio::spawn(read(hub, total)).await??;
            Ok(chunks(amount, setup.chunk))
        }
    }))
}

async fn read(hub: Connection, total: u64) -> anyhow::Result<()> {
    let mut stream = hub.stream_logs(payload::open(total)).await.map_err(failed)?;
    let mut checked = payload::Checked::default();
    loop {
        match stream.next().await {
            Ok(chunk) => checked.take(&chunk.data)?,
            Err(Ok(_)) => return checked.end(total),
            Err(Err(status)) => return Err(failed(status)),
        }
    }
}

fn failed(status: Status) -> anyhow::Error {
    anyhow::anyhow!("it failed with {}: {}", status.code, status.message)
}

/// A link that stands; it ends with this.
struct Link {
    hub: Connection,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.hub.close(CloseCode::NORMAL, "");
    }
}

impl Link {
    async fn up<T: Transport>(
        setup: Setup,
        form: Subprotocol,
        (plugin, hub): (T, T),
    ) -> anyhow::Result<Self> {
        let offered = Register {
            role: Role::Plugin.into(),
            plugin: "bench".to_owned(),
            instance: "bench".to_owned(),
            features: vec![feature::FLOW_CONTROL.to_owned()],
            ..Register::default()
        };
        let plugin = async {
            let config = Config {
                // A plugin lets fewer calls in by itself.
                max_calls: limits::MAX_CALLS.max(u32::try_from(setup.callers)?),
                ..Config::dialling()
            };
            let registered = register_as(plugin, offered, config, form).await?;
            anyhow::Ok(registered.start(Arc::new(Plugin(setup))))
        };
        let hub = async {
            let accepted = accept_as(hub, Config::accepting(), form).await?;
            let welcome = Welcome {
                features: accepted.register.features.clone(),
                ..Welcome::default()
            };
            anyhow::Ok(accepted.welcome(welcome, Arc::new(Hub)))
        };
        let (_, hub) = tokio::try_join!(plugin, hub)?;
        Ok(Self { hub })
    }
}

/// Answers at once.
struct Plugin(Setup);

impl Peer for Plugin {
    fn request(&self, request: Request, _: CancelSignal) -> BoxFuture<Response> {
        Box::pin(ready(self.0.answers.response(&request)))
    }

    fn stream_logs(&self, open: StreamLogs, mut sink: LogSink) -> BoxFuture<Result<LogsEnd, Status>> {
        let (answers, size) = (self.0.answers, self.0.chunk);
        Box::pin(async move {
            let mut offset = 0;
            while offset < payload::asked(&open) {
                let chunk = answers.chunk(offset, size);
                offset = chunk.next_offset;
                if sink.send(chunk).await.is_err() {
                    break;
                }
            }
            Ok(LogsEnd::default())
        })
    }

    fn pod_event(&self, _: PodEvent) {}
    fn event_ack(&self, _: EventAck) {}
    fn node_status(&self, _: NodeStatus) {}
    fn going_away(&self, _: CloseCode, _: &str, _: Duration) {}
}

/// The plugin asks nothing of it.
struct Hub;

impl Peer for Hub {
    fn request(&self, _: Request, _: CancelSignal) -> BoxFuture<Response> {
        Box::pin(ready(Response::failed(refused())))
    }

    fn stream_logs(&self, _: StreamLogs, _: LogSink) -> BoxFuture<Result<LogsEnd, Status>> {
        Box::pin(ready(Err(refused())))
    }

    fn pod_event(&self, _: PodEvent) {}
    fn event_ack(&self, _: EventAck) {}
    fn node_status(&self, _: NodeStatus) {}
    fn going_away(&self, _: CloseCode, _: &str, _: Duration) {}
}

fn refused() -> Status {
    Status::new(Code::Unimplemented, reason::NOT_SUPPORTED, "this end only asks")
}
