//! Reads along on both ends of every link, and holds what it sees against what PROTOCOL.md promises.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use towline::{
    limits,
    transport::{Message, Transport, TransportError, memory::Memory},
    wire::{EventAck, Frame, PodEvent, decode_packet, frame::Body},
};

use super::trace::{note, violated};

/// What was ever said between one plugin and its hubs. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Said>>);

#[derive(Debug, Default)]
struct Said {
    /// Outbox epoch -> the highest event that a hub acknowledged and must not forget.
    acked: BTreeMap<u64, u64>,
    /// (epoch, seq) -> what the event said.
    events: BTreeMap<(u64, u64), u64>,
}

impl Ledger {
    /// A hub has told what it has applied.
    fn applied(&self, plugin: &str, durable: bool, ack: EventAck, welcome: bool) {
        if !durable {
            return;
        }
        let mut said = self.0.lock().unwrap();
        let acked = said.acked.entry(ack.epoch).or_default();
        if welcome && ack.epoch != 0 && ack.seq < *acked {
            violated(
                "I1",
                format!(
                    "the hub has acknowledged event {acked} of {plugin}, and after its restart knows {} only",
                    ack.seq
                ),
            );
        }
        *acked = (*acked).max(ack.seq);
    }

    /// An event came: a number that was used stands for the same state for ever.
    fn event(&self, plugin: &str, event: &PodEvent) {
        let mut hasher = DefaultHasher::new();
        event
            .state
            .as_ref()
            .map(prost::Message::encode_to_vec)
            .hash(&mut hasher);
        let hash = hasher.finish();
        let (epoch, seq) = (event.epoch, event.seq);
        note(|| {
            let state = event.state.clone().unwrap_or_default();
            let id = state
                .containers
                .first()
                .map(|container| container.container_id.as_str());
            let pod = state.pod.as_ref().map(|pod| pod.name.as_str());
            format!("{plugin} sends event {seq}: {pod:?} {id:?}")
        });
        let first = *self.0.lock().unwrap().events.entry((epoch, seq)).or_insert(hash);
        if first != hash {
            violated(
                "I1",
                format!("event {seq} of {plugin} (epoch {epoch}) is used for a second state"),
            );
        }
    }
}

/// A log stream as its sender sees it.
#[derive(Debug, Default)]
struct Stream {
    /// Bytes that may still be sent, each chunk with its overhead.
    credit: u64,
    next: Option<(u64, u64)>,
    ended: bool,
}

/// The plugin's end of a link.
#[derive(Debug)]
pub(crate) struct Tap {
    inner: Memory,
    plugin: String,
    durable: bool,
    ledger: Ledger,
    welcomed: bool,
    streams: HashMap<u32, Stream>,
}

impl Tap {
    /// `durable`: the hub at the other end keeps what it acknowledges.
    pub(crate) fn new(inner: Memory, plugin: &str, durable: bool, ledger: Ledger) -> Self {
        Self {
            inner,
            plugin: plugin.to_owned(),
            durable,
            ledger,
            welcomed: false,
            streams: HashMap::new(),
        }
    }

    fn frames(message: &Message) -> Vec<Frame> {
        match message {
            Message::Binary(bytes) => decode_packet(bytes.clone(), limits::MAX_MESSAGE).unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    fn received(&mut self, frame: Frame) {
        match frame.body {
            Some(Body::Welcome(welcome)) => {
                self.welcomed = true;
                let applied = welcome.applied.unwrap_or_default();
                self.ledger.applied(&self.plugin, self.durable, applied, true);
            }
            Some(Body::EventAck(ack)) => self.ledger.applied(&self.plugin, self.durable, ack, false),
            Some(Body::StreamLogs(open)) => {
                let stream = Stream {
                    credit: open.credit,
                    ..Stream::default()
                };
                self.streams.insert(frame.stream, stream);
            }
            Some(Body::Credit(credit)) => {
                if let Some(stream) = self.streams.get_mut(&frame.stream) {
                    stream.credit += credit.bytes;
                }
            }
            _ => {}
        }
    }

    fn sent(&mut self, frame: Frame) {
        let plugin = &self.plugin;
        if !self.welcomed && !matches!(frame.body, Some(Body::Register(_))) {
            return violated("I2", format!("{plugin} sends before it has processed Welcome"));
        }
        match frame.body {
            Some(Body::PodEvent(event)) => self.ledger.event(plugin, &event),
            Some(Body::LogChunk(chunk)) => {
                let Some(stream) = self.streams.get_mut(&frame.stream) else {
                    return violated("I2", format!("{plugin} sends a log that nobody opened"));
                };
                if stream.ended {
                    violated("I2", format!("{plugin} sends bytes of a log after its end"));
                }
                let cost = chunk.data.len() as u64 + limits::CHUNK_OVERHEAD;
                match stream.credit.checked_sub(cost) {
                    Some(left) => stream.credit = left,
                    None => violated("I5", format!("{plugin} sends more of a log than its credit")),
                }
                let at = chunk.at.unwrap_or_default();
                let goes_on = stream.next.is_none_or(|(epoch, offset)| match at.epoch == epoch {
                    true => at.offset == offset,
                    // The next run of the container.
                    false => at.epoch > epoch && at.offset == 0,
                });
                if !goes_on && chunk.gap_bytes == 0 && !chunk.reset {
                    violated("I2", format!("{plugin} leaves a piece of a log out"));
                }
                stream.next = Some((at.epoch, chunk.next_offset));
            }
            Some(Body::Response(_)) => {
                if let Some(stream) = self.streams.get_mut(&frame.stream) {
                    stream.ended = true;
                }
            }
            _ => {}
        }
    }
}

impl Transport for Tap {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, TransportError>>> {
        let polled = self.inner.poll_recv(cx);
        if let Poll::Ready(Some(Ok(message))) = &polled {
            for frame in Self::frames(message) {
                self.received(frame);
            }
        }
        polled
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.inner.poll_ready(cx)
    }

    fn start_send(&mut self, message: Message) -> Result<(), TransportError> {
        for frame in Self::frames(&message) {
            self.sent(frame);
        }
        self.inner.start_send(message)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.inner.poll_flush(cx)
    }

    fn written(&self) -> u64 {
        self.inner.written()
    }
}
