//! The same shape over tonic, to compare with: a server, and clients that each hold one connection with one open stream.
//! Two children: `towline bench fleet-tonic-server` and `towline bench fleet-tonic-clients`.

use std::{pin::Pin, time::Duration};

use anyhow::Context as _;
use futures::{Stream, StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, stdin, stdout},
    net::TcpListener,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Endpoint, Server, server::TcpIncoming},
};

use super::order::{Done, Order, obey};
use crate::wire::{
    Packet,
    link_service_client::LinkServiceClient,
    link_service_server::{LinkService, LinkServiceServer},
};

/// Dials that are under way at once.
const AT_ONCE: usize = 64;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// HOST:PORT.
    pub address: String,
}

/// Answers the first packet of a stream with one, and then waits for its end.
struct Idle;

#[tonic::async_trait]
impl LinkService for Idle {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<Packet, Status>> + Send>>;

    async fn connect(
        &self,
        request: Request<Streaming<Packet>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let mut packets = request.into_inner();
        packets.message().await?;
        let rest = stream::unfold(packets, |mut packets| async move {
            while let Ok(Some(_)) = packets.message().await {}
            None
        });
        let answers = stream::once(std::future::ready(Ok(Packet::default()))).chain(rest);
        Ok(Response::new(Box::pin(answers)))
    }
}

/// Serves until stdin ends; says first where.
///
/// # Errors
/// It cannot listen.
pub async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let mut line = serde_json::to_vec(&Listening { address })?;
    line.push(b'\n');
    let mut out = stdout();
    out.write_all(&line).await?;
    out.flush().await?;
    let over = async {
        let mut rest = [0; 64];
        while stdin().read(&mut rest).await.is_ok_and(|read| read > 0) {}
    };
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder()
        .add_service(LinkServiceServer::new(Idle))
        .serve_with_incoming_shutdown(incoming, over)
        .await
        .context("tonic's server")
}

/// Dials as it is told, and holds what it has dialled.
///
/// # Errors
/// An order that cannot be obeyed.
pub async fn hold(to: String) -> anyhow::Result<()> {
    let mut held = Vec::new();
    let over = CancellationToken::new();
    obey(async |order: Order| {
        let began = Instant::now();
        let Order::Dial { count, within_ms } = order else {
            anyhow::bail!("{order:?} is nothing for tonic's clients");
        };
        let dials = stream::iter((0..count).map(|_| dial(&to, over.clone())))
            .buffer_unordered(AT_ONCE)
            .collect::<Vec<_>>();
        let dialled = tokio::time::timeout(Duration::from_millis(within_ms), dials)
            .await
            .with_context(|| format!("not all streams were open after {within_ms} ms"))?;
        for one in dialled {
            held.push(one?);
        }
        Ok(Done {
            count,
            took_ms: began.elapsed().as_secs_f64() * 1e3,
            back: None,
        })
    })
    .await
}

/// One connection with one stream that both sides have spoken on.
async fn dial(
    to: &str,
    over: CancellationToken,
) -> anyhow::Result<(LinkServiceClient<tonic::transport::Channel>, Streaming<Packet>)> {
    let channel = Endpoint::from_shared(to.to_owned())?
        .tcp_nodelay(true)
        .connect()
        .await?;
    let mut client = LinkServiceClient::new(channel);
    let silent = stream::once(over.cancelled_owned()).filter_map(|()| std::future::ready(None));
    let packets = stream::once(std::future::ready(Packet::default())).chain(silent);
    let mut answers = client.connect(packets).await?.into_inner();
    answers.message().await?.context("the stream ended at once")?;
    Ok((client, answers))
}
