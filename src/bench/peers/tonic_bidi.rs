//! tonic as one uses it for speed: the link's own `LinkService/Connect`, one stream for all calls, with a map of who
//! waits for which answer.
//!
//! One message a call each way; tonic joins those that are ready into one write. The plugin's end answers within the
//! stream itself, so that no queue and no task stands between.

use std::{
    collections::HashMap,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context as _;
use futures::{Stream, StreamExt as _, stream};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};
use tokio_util::task::AbortOnDropHandle;
use tonic::{
    Request as Asked, Response as Given, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};

use super::{Caller, Setup, calling, payload, tonic_plain};
use crate::{
    bench::Contender,
    wire::{
        Frame, Packet, Response,
        frame::Body,
        link_service_client::LinkServiceClient,
        link_service_server::{LinkService, LinkServiceServer},
    },
};

/// Calls that may wait to be written, and handlers that may be at work at once.
const QUEUE: usize = 1_024;

pub(super) async fn calls(name: &'static str, setup: Setup) -> anyhow::Result<Contender<'static>> {
    let (at, serving) = serve(setup).await?;
    let (mut callers, mut readers) = (Vec::new(), Vec::new());
    for _ in 0..setup.connections {
        let (caller, reader) = Correlated::connect(at).await?;
        callers.extend((0..setup.callers).map(|_| caller.clone()));
        readers.push(reader);
    }
    Ok(calling(name, callers, (serving, readers)))
}

/// Who waits for the answer on which stream.
#[derive(Default)]
struct Waiting {
    last: u32,
    by_stream: HashMap<u32, oneshot::Sender<Box<Response>>>,
}

/// The client: one queue out, one task that reads.
#[derive(Clone)]
struct Correlated {
    out: mpsc::Sender<Packet>,
    waiting: Arc<Mutex<Waiting>>,
}

impl Correlated {
    async fn connect(at: SocketAddr) -> anyhow::Result<(Self, AbortOnDropHandle<()>)> {
        let mut client = LinkServiceClient::new(tonic_plain::connect(at, tonic_plain::DEFAULTS).await?);
        let (out, mut queue) = mpsc::channel(QUEUE);
        let packets = stream::poll_fn(move |cx| queue.poll_recv(cx));
        let answers = client.connect(packets).await?.into_inner();
        let waiting = Arc::<Mutex<Waiting>>::default();
        let reader = tokio::spawn(read(answers, waiting.clone()));
        Ok((Self { out, waiting }, AbortOnDropHandle::new(reader)))
    }
}

/// Hands answers to who waits for them. At the end nobody waits any more.
async fn read(mut answers: Streaming<Packet>, waiting: Arc<Mutex<Waiting>>) {
    while let Ok(Some(packet)) = answers.message().await {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for frame in packet.frames {
            if let Some(Body::Response(response)) = frame.body
                && let Some(caller) = waiting.by_stream.remove(&frame.stream)
            {
                // A caller that has gone wants no answer.
                let _ = caller.send(response);
            }
        }
    }
    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    waiting.by_stream.clear();
}

impl Caller for Correlated {
    async fn call(&mut self, number: u64) -> anyhow::Result<()> {
        let (answer, answered) = oneshot::channel();
        let stream = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.last = waiting.last.wrapping_add(2);
            let stream = waiting.last;
            waiting.by_stream.insert(stream, answer);
            stream
        };
        let body = Body::Request(payload::request(number).into());
        let sent = self.out.send(packet(stream, body)).await;
        sent.ok().context("the stream has ended")?;
        let response = answered.await.context("the stream has ended")?;
        payload::check(number, &response)
    }
}

fn packet(stream: u32, body: Body) -> Packet {
    let body = Some(body);
    Packet {
        frames: vec![Frame { stream, body }],
        ..Packet::default()
    }
}

async fn serve(setup: Setup) -> anyhow::Result<(SocketAddr, AbortOnDropHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let at = listener.local_addr()?;
    let router = Server::builder().add_service(LinkServiceServer::new(Answering(setup)));
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let serving = tokio::spawn(async move {
        // Its end is seen by the client.
        let _ = router.serve_with_incoming(incoming).await;
    });
    Ok((at, AbortOnDropHandle::new(serving)))
}

struct Answering(Setup);

#[tonic::async_trait]
impl LinkService for Answering {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<Packet, Status>> + Send>>;

    async fn connect(&self, packets: Asked<Streaming<Packet>>) -> Result<Given<Self::ConnectStream>, Status> {
        let answers = self.0.answers;
        let answer = move |packet: Result<Packet, Status>| async move {
            let mut packet = packet?;
            for frame in &mut packet.frames {
                if let Some(Body::Request(request)) = &frame.body {
                    frame.body = Some(Body::Response(answers.response(request).into()));
                }
            }
            Ok(packet)
        };
        let given = packets.into_inner().map(answer).buffer_unordered(QUEUE);
        Ok(Given::new(Box::pin(given)))
    }
}
