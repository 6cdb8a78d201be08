//! The limit of the machine: protobuf with a length before each message, pipelined over one socket. No queue, no task
//! a call, no deadline, nothing that could fail alone: what is left is the kernel and prost. A log's chunks have their
//! length before them and nothing else, in buffers that are used again; TCP alone holds the writer up.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Context as _, ensure};
use bytes::{Buf, BufMut as _, BytesMut};
use prost::Message;
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

use super::{Answers, Setup, chunks, payload, shares, sockets};
use crate::{
    bench::{Contender, Latencies, Turn},
    wire::{Request, Response},
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

/// Both ends of a socket whose buffers hold as much as stays in the caches.
async fn log_sockets() -> anyhow::Result<(TcpStream, TcpStream)> {
    let (hub, plugin) = sockets().await?;
    for end in [&hub, &plugin] {
        let end = SockRef::from(end);
        end.set_recv_buffer_size(8 * BLOCK)?;
        end.set_send_buffer_size(8 * BLOCK)?;
    }
    Ok((hub, plugin))
}

pub(super) async fn logs(name: &'static str, setup: Setup) -> anyhow::Result<Contender<'static>> {
    let (hub, plugin) = log_sockets().await?;
    let serving = AbortOnDropHandle::new(tokio::spawn(write(plugin, setup)));
    let hub = Arc::new(tokio::sync::Mutex::new((
        hub,
        vec![0; BLOCK + setup.chunk + HEAD],
    )));
    Ok(Contender::new(name, move |amount| {
        let _ = &serving;
        let hub = hub.clone();
        async move {
            let reading = async move {
                let (socket, buffer) = &mut *hub.lock().await;
                read(socket, buffer, amount * setup.chunk as u64).await
            };
            tokio::spawn(reading).await??;
            Ok(chunks(amount, setup.chunk))
        }
    }))
}

/// Bytes of the length before a chunk.
const HEAD: usize = 4;

/// Asks for so many bytes and checks them where they were read to.
async fn read(hub: &mut TcpStream, buffer: &mut [u8], total: u64) -> anyhow::Result<()> {
    hub.write_u64_le(total).await?;
    let mut checked = payload::Checked::default();
    let mut held = 0;
    while checked.bytes < total {
        let more = hub.read(&mut buffer[held..]).await?;
        ensure!(more > 0, "the connection has ended");
        held += more;
        let mut at = 0;
        while let Some((head, rest)) = buffer[at..held].split_first_chunk::<HEAD>() {
            let len = u32::from_le_bytes(*head) as usize;
            let Some(chunk) = rest.get(..len) else { break };
            checked.take(chunk)?;
            at += HEAD + len;
        }
        buffer.copy_within(at..held, 0);
        held -= at;
    }
    checked.end(total)
}

async fn write(mut plugin: TcpStream, setup: Setup) -> anyhow::Result<()> {
    let mut out = BytesMut::with_capacity(BLOCK + setup.chunk + HEAD);
    loop {
        let total = plugin.read_u64_le().await?;
        for offset in (0..total).step_by(setup.chunk) {
            let chunk = (setup.answers.text)(offset, setup.chunk);
            out.put_u32_le(u32::try_from(chunk.len())?);
            if chunk.len() >= LARGE {
                plugin.write_all_buf(&mut Buf::chain(&out[..], chunk)).await?;
                out.clear();
            } else {
                out.put(chunk);
            }
            if out.len() >= BLOCK {
                plugin.write_all(&out).await?;
                out.clear();
            }
        }
        plugin.write_all(&out).await?;
        out.clear();
    }
}
