//! tonic as one would use it at first: a unary method for calls, a server stream for logs.
//!
//! `tonic` has tonic's defaults on both sides. `tonic tuned` has flow-control windows of 256 KiB a stream and 1 MiB a
//! connection, `tonic frames` of 512 KiB and 2 MiB with HTTP/2 frames of 256 KiB instead of 16 KiB. Those were the best of
//! windows from 64 KiB to 8 MiB and frames from 16 KiB to 1 MiB: with larger ones what is under way falls out of the
//! caches.

use std::{net::SocketAddr, pin::Pin};

use futures::{Stream, stream};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use tonic::{
    Request as Asked, Response as Given, Status,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};

use super::{
    Caller, Setup, calling, chunks, payload,
    proto::{
        plugin_client::PluginClient,
        plugin_server::{Plugin, PluginServer},
    },
};
use crate::{
    bench::Contender,
    wire::{LogChunk, Request, Response, StreamLogs},
};

/// What differs from the defaults.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tuning {
    /// Flow-control window of a stream, in bytes.
    stream: Option<u32>,
    /// Flow-control window of the connection, in bytes.
    connection: Option<u32>,
    /// The largest HTTP/2 frame, in bytes.
    frame: Option<u32>,
}

pub(super) const DEFAULTS: Tuning = Tuning {
    stream: None,
    connection: None,
    frame: None,
};
pub(super) const WINDOWS: Tuning = Tuning {
    stream: Some(256 << 10),
    connection: Some(1 << 20),
    frame: None,
};
pub(super) const FRAMES: Tuning = Tuning {
    stream: Some(512 << 10),
    connection: Some(2 << 20),
    frame: Some(256 << 10),
};

pub(super) async fn calls(name: &'static str, setup: Setup) -> anyhow::Result<Contender<'static>> {
    let (at, serving) = serve(setup, DEFAULTS).await?;
    let mut callers = Vec::new();
    for _ in 0..setup.connections {
        let client = PluginClient::new(connect(at, DEFAULTS).await?);
        callers.extend((0..setup.callers).map(|_| client.clone()));
    }
    Ok(calling(name, callers, serving))
}

impl Caller for PluginClient<Channel> {
    async fn call(&mut self, number: u64) -> anyhow::Result<()> {
        let response = PluginClient::call(self, payload::request(number)).await?;
        payload::check(number, response.get_ref())
    }
}

pub(super) async fn logs(
    name: &'static str,
    setup: Setup,
    tuning: Tuning,
) -> anyhow::Result<Contender<'static>> {
    let (at, serving) = serve(setup, tuning).await?;
    let client = PluginClient::new(connect(at, tuning).await?);
    Ok(Contender::new(name, move |amount| {
        let _ = &serving;
        let client = client.clone();
        async move {
            tokio::spawn(read(client, amount * setup.chunk as u64)).await??;
            Ok(chunks(amount, setup.chunk))
        }
    }))
}

async fn read(mut client: PluginClient<Channel>, total: u64) -> anyhow::Result<()> {
    let mut stream = client.logs(payload::open(total)).await?.into_inner();
    let mut checked = payload::Checked::default();
    while let Some(chunk) = stream.message().await? {
        checked.take(&chunk.data)?;
    }
    checked.end(total)
}

/// A server of its own; it ends with the handle.
async fn serve(setup: Setup, tuning: Tuning) -> anyhow::Result<(SocketAddr, AbortOnDropHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let at = listener.local_addr()?;
    let mut server = Server::builder()
        .initial_stream_window_size(tuning.stream)
        .initial_connection_window_size(tuning.connection)
        .max_frame_size(tuning.frame);
    let router = server.add_service(PluginServer::new(Answering(setup)));
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let serving = tokio::spawn(async move {
        // Its end is seen by the client.
        let _ = router.serve_with_incoming(incoming).await;
    });
    Ok((at, AbortOnDropHandle::new(serving)))
}

/// One connection.
pub(super) async fn connect(at: SocketAddr, tuning: Tuning) -> anyhow::Result<Channel> {
    let mut endpoint = Endpoint::from_shared(format!("http://{at}"))?
        .initial_stream_window_size(tuning.stream)
        .initial_connection_window_size(tuning.connection);
    if let Some(frame) = tuning.frame {
        endpoint = endpoint.max_frame_size(frame);
    }
    Ok(endpoint.connect().await?)
}

struct Answering(Setup);

#[tonic::async_trait]
impl Plugin for Answering {
    async fn call(&self, request: Asked<Request>) -> Result<Given<Response>, Status> {
        Ok(Given::new(self.0.answers.response(request.get_ref())))
    }

    type LogsStream = Pin<Box<dyn Stream<Item = Result<LogChunk, Status>> + Send>>;

    async fn logs(&self, open: Asked<StreamLogs>) -> Result<Given<Self::LogsStream>, Status> {
        let Setup { answers, chunk, .. } = self.0;
        let total = payload::asked(open.get_ref());
        // No queue: a chunk is made when there is room for it.
        let offsets = (0..total).step_by(chunk);
        Ok(Given::new(Box::pin(stream::iter(
            offsets.map(move |offset| Ok(answers.chunk(offset, chunk))),
        ))))
    }
}
