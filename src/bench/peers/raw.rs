//! The limit of the machine: protobuf with a length before each message, pipelined over one socket. No queue, no task
//! a call, no flow control but TCP's, no deadline, nothing that could fail alone: what is left is the kernel and prost.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Context as _, ensure};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::Message;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

use super::{Answers, Setup, chunks, payload, shares, sockets};
use crate::{
    bench::{Amount, Contender, Latencies, Turn},
    wire::{LogChunk, Request, Response, StreamLogs},
};

/// What is read at once at most, and written at once about.
const BLOCK: usize = 64 << 10;
/// A chunk from this size on is written from where it lies.
const LARGE: usize = 16 << 10;

pub(super) async fn calls(name: &'static str, setup: Setup) -> anyhow::Result<Contender<'static>> {
    let (mut clients, mut serving) = (Vec::new(), Vec::new());
    for _ in 0..setup.connections {
        let (client, server) = sockets().await?;
        clients.push(Messages::new(client));
        serving.push(AbortOnDropHandle::new(tokio::spawn(answer(
            Messages::new(server),
            setup.answers,
        ))));
    }
    let clients = Arc::new(Mutex::new(clients));
    Ok(Contender::new(name, move |amount| {
        let _ = &serving;
        let clients = clients.clone();
        async move {
            let before = std::mem::take(&mut *clients.lock().unwrap_or_else(PoisonError::into_inner));
            let mut tasks = JoinSet::new();
            for (share, client) in shares(amount, before.len()).zip(before) {
                tasks.spawn(drive(client, setup.callers as u64, share));
            }
            let mut turn = Turn::default();
            while let Some(ended) = tasks.join_next().await {
                let (client, units, latencies) = ended??;
                turn.units += units;
                turn.latencies.merge(&latencies);
                clients
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(client);
            }
            Ok(turn)
        }
    }))
}

/// Messages over a socket, a varint of its length before each.
struct Messages {
    socket: TcpStream,
    read: BytesMut,
    written: BytesMut,
}

impl Messages {
    fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            read: BytesMut::with_capacity(BLOCK),
            written: BytesMut::with_capacity(BLOCK),
        }
    }

    /// Reads more; false at the end.
    async fn more(&mut self) -> anyhow::Result<bool> {
        self.read.reserve(BLOCK);
        Ok(self.socket.read_buf(&mut self.read).await? > 0)
    }

    /// A message that is there as a whole.
    fn next<M: Message + Default>(&mut self) -> anyhow::Result<Option<M>> {
        let mut head = &self.read[..];
        let Ok(len) = prost::decode_length_delimiter(&mut head) else {
            // At most ten bytes: what is no length is not a short one.
            ensure!(self.read.len() < 10, "that is no length");
            return Ok(None);
        };
        if head.len() < len {
            return Ok(None);
        }
        let start = self.read.len() - head.len();
        self.read.advance(start);
        Ok(Some(M::decode(self.read.split_to(len).freeze())?))
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        self.socket.write_all(&self.written).await?;
        self.written.clear();
        Ok(())
    }
}

/// Keeps `window` calls open until all are answered.
async fn drive(
    mut messages: Messages,
    window: u64,
    numbers: std::ops::Range<u64>,
) -> anyhow::Result<(Messages, u64, Latencies)> {
    let mut latencies = Latencies::default();
    let mut begun: VecDeque<Instant> = VecDeque::with_capacity(window as usize);
    let (mut asked, mut answered) = (numbers.start, numbers.start);
    let mut now = Instant::now();
    while answered < numbers.end {
        while asked - answered < window && asked < numbers.end {
            payload::request(asked).encode_length_delimited(&mut messages.written)?;
            begun.push_back(now);
            asked += 1;
        }
        messages.flush().await?;
        ensure!(messages.more().await?, "the connection has ended");
        now = Instant::now();
        while let Some(response) = messages.next::<Response>()? {
            payload::check(answered, &response)?;
            answered += 1;
            let began = begun.pop_front().context("an answer to no call")?;
            latencies.record(now - began);
        }
    }
    Ok((messages, answered - numbers.start, latencies))
}

async fn answer(mut messages: Messages, answers: Answers) -> anyhow::Result<()> {
    while messages.more().await? {
        while let Some(request) = messages.next::<Request>()? {
            answers
                .response(&request)
                .encode_length_delimited(&mut messages.written)?;
        }
        messages.flush().await?;
    }
    Ok(())
}

pub(super) async fn logs(name: &'static str, setup: Setup) -> anyhow::Result<Contender<'static>> {
    let (hub, plugin) = sockets().await?;
    let serving = AbortOnDropHandle::new(tokio::spawn(write(Messages::new(plugin), setup)));
    let hub = Arc::new(tokio::sync::Mutex::new(Messages::new(hub)));
    Ok(Contender::new(name, move |amount| {
        let _ = &serving;
        let hub = hub.clone();
        async move {
            tokio::spawn(async move { read(&mut *hub.lock().await, setup, amount).await }).await??;
            Ok(chunks(amount, setup.chunk))
        }
    }))
}

async fn read(hub: &mut Messages, setup: Setup, amount: Amount) -> anyhow::Result<()> {
    let total = amount * setup.chunk as u64;
    payload::open(total).encode_length_delimited(&mut hub.written)?;
    hub.flush().await?;
    let mut checked = payload::Checked::default();
    while checked.bytes < total {
        ensure!(hub.more().await?, "the connection has ended");
        while let Some(chunk) = hub.next::<LogChunk>()? {
            checked.take(&chunk.data)?;
        }
    }
    checked.end(total)
}

async fn write(mut plugin: Messages, setup: Setup) -> anyhow::Result<()> {
    while plugin.more().await? {
        while let Some(open) = plugin.next::<StreamLogs>()? {
            for offset in (0..payload::asked(&open)).step_by(setup.chunk) {
                plugin.put(setup.answers.chunk(offset, setup.chunk)).await?;
            }
            plugin.flush().await?;
        }
    }
    Ok(())
}

impl Messages {
    /// Queues a chunk; writes when a block is full.
    async fn put(&mut self, mut chunk: LogChunk) -> anyhow::Result<()> {
        if chunk.data.len() < LARGE {
            chunk.encode_length_delimited(&mut self.written)?;
            if self.written.len() >= BLOCK {
                self.flush().await?;
            }
            return Ok(());
        }
        // The data stands last, where protobuf lets fields stand in any order.
        let data = std::mem::take(&mut chunk.data);
        let head = data_head(&data);
        let len = chunk.encoded_len() + head.len() + data.len();
        prost::encode_length_delimiter(len, &mut self.written)?;
        chunk.encode(&mut self.written)?;
        self.written.put(head);
        let mut both = bytes::Buf::chain(&self.written[..], data);
        self.socket.write_all_buf(&mut both).await?;
        self.written.clear();
        Ok(())
    }
}

/// Tag and length of `LogChunk.data`: field 3, length-delimited.
fn data_head(data: &Bytes) -> Bytes {
    let mut head = BytesMut::with_capacity(8);
    head.put_u8(0x1a);
    prost::encoding::encode_varint(data.len() as u64, &mut head);
    head.freeze()
}
