//! The transcripts as bytes of a WebSocket, cut anywhere and damaged: a session never panics, and what comes of it
//! does not depend on where the bytes were cut.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use towline::{
    code::reason,
    session::Event,
    transport::{Message, Transport, WebSocket},
    wire::Side,
};

use crate::{
    contract::hex,
    player::Player,
    transcripts::{Line, What, links, messages, recorded},
};

/// A stream that gives its bytes in pieces, then ends; what is written to it is thrown away.
struct Pieces(Vec<Bytes>);

impl Pieces {
    fn of(bytes: &Bytes, step: usize) -> Self {
        let starts = (0..bytes.len()).step_by(step).rev();
        Self(
            starts
                .map(|at| bytes.slice(at..bytes.len().min(at + step)))
                .collect(),
        )
    }

    fn two(bytes: &Bytes, cut: usize) -> Self {
        Self(vec![bytes.slice(cut..), bytes.slice(..cut)])
    }
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while let Some(piece) = self.0.last_mut() {
            let size = piece.len().min(out.remaining());
            out.put_slice(&piece.split_to(size));
            if piece.is_empty() {
                self.0.pop();
            }
            if size > 0 {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What one side sends on a link, framed as RFC 6455 section 5.2 has it.
fn framed(link: &[Line], from: Side) -> Bytes {
    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut out = Vec::new();
    for packet in messages(link, Some(from)) {
        let masked = if from == Side::Plugin { 0x80 } else { 0 };
        match packet.len() {
            size @ 0..126 => out.extend([0x82, masked | size as u8]),
            size => {
                out.extend([0x82, masked | 126]);
                out.extend((size as u16).to_be_bytes());
            }
        }
        if from == Side::Plugin {
            out.extend(KEY);
            out.extend(
                packet
                    .iter()
                    .zip(KEY.iter().cycle())
                    .map(|(byte, key)| byte ^ key),
            );
        } else {
            out.extend_from_slice(packet);
        }
    }
    out.into()
}

/// What a WebSocket of this side reads, and how it ends.
async fn read(side: Side, stream: Pieces) -> (Vec<Bytes>, String) {
    const LIMIT: usize = 16 << 20;
    let mut socket = match side {
        Side::Hub => WebSocket::accepted(stream, LIMIT).await,
        Side::Plugin => WebSocket::dialled(stream, Bytes::new(), LIMIT).await,
    };
    let mut heard = Vec::new();
    loop {
        match poll_fn(|cx| socket.poll_recv(cx)).await {
            Some(Ok(Message::Binary(packet))) => heard.push(packet),
            // The connection answers or ends on its own; the session hears nothing.
            Some(Ok(other)) => return (heard, format!("{other:?}")),
            Some(Err(error)) => return (heard, format!("{error:?}")),
            None => return (heard, "ended".to_owned()),
        }
    }
}

/// Everything that a session of this side tells and writes when it hears these packets where it heard others.
fn outcome(side: Side, link: &[Line], heard: Vec<Bytes>) -> Vec<String> {
    let mut player = Player::new(side, messages(link, None));
    let mut heard = heard.into_iter();
    let mut written = Vec::new();
    for line in link {
        match &line.what {
            What::Message(from, packet) if *from == side => written.extend(player.try_to_say(packet)),
            What::Message(..) => {
                if let Some(packet) = heard.next() {
                    player.hear(&packet);
                }
            }
            _ => {}
        }
    }
    for packet in heard {
        player.hear(&packet);
    }
    written.extend(std::iter::from_fn(|| player.session.poll_packet()));
    player.session.handle_lost();
    player.take_events();
    assert_eq!(
        player.session.calls_in_flight(),
        0,
        "a table is not empty after the loss"
    );
    let (mut lost, mut told): (Vec<_>, Vec<_>) =
        player.events.into_iter().map(shown).partition(|(lost, _)| *lost);
    // Calls that end together have no order.
    lost.sort();
    told.extend(lost);
    let told = told.into_iter().map(|(_, text)| text);
    told.chain(written.iter().map(|packet| hex(packet))).collect()
}

/// An event as text that is the same for the same event, and whether it is one of many that come with an end.
fn shown(mut event: Event) -> (bool, String) {
    let map = match &mut event {
        Event::Register(register) => Some(&mut register.labels),
        Event::Request(_, request) => Some(&mut request.metadata),
        Event::Response(_, response) => response.status.as_mut().map(|status| &mut status.details),
        _ => None,
    };
    // Maps have no order either.
    let map: BTreeMap<String, String> = map.map(std::mem::take).unwrap_or_default().into_iter().collect();
    let ends = [reason::SESSION_LOST, reason::DRAINING];
    let with_an_end = match &event {
        Event::Cancelled(_) => true,
        Event::Response(_, response) => response
            .status
            .as_ref()
            .is_some_and(|status| ends.contains(&status.reason.as_str())),
        _ => false,
    };
    (with_an_end, format!("{event:?} {map:?}"))
}

fn at_once(future: impl Future<Output = (Vec<Bytes>, String)>) -> (Vec<Bytes>, String) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(future)
}

#[tokio::test(start_paused = true)]
async fn a_transcript_cut_at_any_byte_is_heard_as_it_was_said() {
    for (name, lines) in recorded() {
        for link in links(&lines) {
            for (from, to) in [(Side::Plugin, Side::Hub), (Side::Hub, Side::Plugin)] {
                let said: Vec<Bytes> = messages(link, Some(from)).cloned().collect();
                let bytes = framed(link, from);
                for cut in 0..=bytes.len() {
                    let (heard, _) = read(to, Pieces::two(&bytes, cut)).await;
                    assert!(heard == said, "{name}, cut at {cut}");
                }
                let (heard, _) = read(to, Pieces::of(&bytes, 1)).await;
                assert!(heard == said, "{name}, byte by byte");
            }
        }
    }
}

/// Damage to the bytes of a stream.
#[derive(Debug, Clone)]
enum Damage {
    Flip(prop::sample::Index, u8),
    Remove(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
    Cut(prop::sample::Index),
}

impl Damage {
    fn any() -> impl Strategy<Value = Self> {
        let at = any::<prop::sample::Index>;
        prop_oneof![
            4 => (at(), 1u8..).prop_map(|(at, with)| Self::Flip(at, with)),
            2 => (at(), 1usize..200).prop_map(|(at, size)| Self::Remove(at, size)),
            2 => (at(), 1usize..200).prop_map(|(at, size)| Self::Repeat(at, size)),
            1 => at().prop_map(Self::Cut),
        ]
    }

    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let range = |at: &prop::sample::Index, size: usize| {
            let start = at.index(bytes.len());
            start..bytes.len().min(start + size)
        };
        match self {
            Self::Flip(at, with) => {
                let at = at.index(bytes.len());
                bytes[at] ^= with;
            }
            Self::Remove(at, size) => {
                let range = range(at, *size);
                bytes.drain(range);
            }
            Self::Repeat(at, size) => {
                let range = range(at, *size);
                let again = bytes[range.clone()].to_vec();
                bytes.splice(range.start..range.start, again);
            }
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
        }
    }
}

/// One packet of each case is damaged inside its frame, so that it reaches the session.
fn damage_packets(link: &mut [Line], damage: &[(prop::sample::Index, Damage)]) {
    for (which, damage) in damage {
        let which = which.index(link.len());
        if let What::Message(_, packet) = &mut link[which].what {
            let mut bytes = packet.to_vec();
            damage.apply(&mut bytes);
            *packet = bytes.into();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_bytes_never_panic_and_end_the_same_wherever_they_are_cut(
        which in any::<prop::sample::Index>(),
        hub in any::<bool>(),
        inside in prop::collection::vec((any::<prop::sample::Index>(), Damage::any()), 0..4),
        outside in prop::collection::vec(Damage::any(), 0..2),
        step in 1usize..70,
    ) {
        let all = recorded();
        let every: Vec<&[Line]> = all.values().flat_map(|lines| links(lines)).collect();
        let link = every[which.index(every.len())];
        let (from, to) = if hub { (Side::Plugin, Side::Hub) } else { (Side::Hub, Side::Plugin) };
        let mut damaged = link.to_vec();
        damage_packets(&mut damaged, &inside);
        let mut bytes = framed(&damaged, from).to_vec();
        for damage in &outside {
            damage.apply(&mut bytes);
        }
        let bytes = Bytes::from(bytes);
        let whole = at_once(read(to, Pieces::of(&bytes, bytes.len().max(1))));
        let pieces = at_once(read(to, Pieces::of(&bytes, step)));
        prop_assert_eq!(&whole.1, &pieces.1);
        prop_assert_eq!(outcome(to, link, whole.0), outcome(to, link, pieces.0));
    }
}
