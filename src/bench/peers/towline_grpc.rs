//! The link over gRPC: the same [`Connection`](crate::connection::Connection), its packets in a call of our own ends of
//! HTTP/2.

use anyhow::Context as _;

use super::{Setup, sockets, towline};
use crate::{
    bench::Contender,
    limits,
    transport::{
        Dial, Io,
        grpc::{Calls, Grpc, dial_grpc_over},
    },
};

pub(super) async fn calls(name: &'static str, setup: Setup) -> anyhow::Result<Contender<'static>> {
    towline::calls_over(name, setup, towline::BINARY, ends).await
}

pub(super) async fn logs(name: &'static str, setup: Setup) -> anyhow::Result<Contender<'static>> {
    towline::logs_over(name, setup, towline::BINARY, ends).await
}

/// The plugin's end and the hub's.
async fn ends() -> anyhow::Result<(Grpc, Grpc)> {
    let (dialled, accepted) = sockets().await?;
    let plugin = async {
        let dial = Dial::new("grpc://localhost", "");
        anyhow::Ok(dial_grpc_over(&dial, Io::tcp(dialled)).await?)
    };
    let hub = async {
        let mut calls = Calls::accept(Io::tcp(accepted)).await?;
        let call = calls.next().await.context("no call came")??;
        let link = call.link(limits::MAX_MESSAGE)?;
        // Bytes move in a task of the connection, as in the hub; it ends with the plugin's end.
        tokio::spawn(async move { while let Some(Ok(_)) = calls.next().await {} });
        anyhow::Ok(link)
    };
    tokio::try_join!(plugin, hub)
}
