//! What goes out: frames that wait for the socket, each written from where its payload lies (RFC 6455 section 5.2).
//!
//! Nothing is copied into a buffer, so that none is kept: neither the size of the largest message nor, while nothing
//! moves, any at all.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWrite;

use super::{Role, words::mask};
use crate::transport::tls;

/// Frames that are handed to the socket at once.
const AT_ONCE: usize = 4;
/// Keys that are drawn at once: one by one the system's generator would cost more than the rest of a small frame.
const KEYS: usize = 16;

/// The sending half.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Those of a client; a server masks nothing.
    keys: Option<Box<Keys>>,
    /// Mostly the only one.
    first: Option<Leaving>,
    more: VecDeque<Leaving>,
    /// Bytes that wait.
    queued: usize,
    /// Bytes that the socket took.
    written: u64,
}

/// A frame on its way out.
#[derive(Debug)]
struct Leaving {
    head: [u8; 14],
    /// Of the head: what is still to be written.
    from: u8,
    to: u8,
    payload: Payload,
}

#[derive(Debug)]
enum Payload {
    Plain(Bytes),
    Masked(BytesMut),
}

/// Keys that nobody can guess (section 10.3).
#[derive(Debug, Default)]
struct Keys {
    keys: [[u8; 4]; KEYS],
    left: usize,
}

impl Keys {
    fn next(&mut self) -> io::Result<[u8; 4]> {
        if self.left == 0 {
            tls::random(self.keys.as_flattened_mut())?;
            self.left = KEYS;
        }
        self.left -= 1;
        Ok(self.keys[self.left])
    }
}

impl Leaving {
    fn new(opcode: u8, payload: Payload, key: Option<[u8; 4]>) -> Self {
        const FIN: u8 = 0x80;
        let len = payload.bytes().len();
        let masked = if key.is_some() { 0x80 } else { 0 };
        let mut head = [0; 14];
        head[0] = FIN | opcode;
        let mut size = 2;
        if len < 126 {
            head[1] = masked | len as u8;
        } else if let Ok(len) = u16::try_from(len) {
            head[1] = masked | 126;
            head[2..4].copy_from_slice(&len.to_be_bytes());
            size = 4;
        } else {
            head[1] = masked | 127;
            head[2..10].copy_from_slice(&(len as u64).to_be_bytes());
            size = 10;
        }
        if let Some(key) = key {
            head[size..size + 4].copy_from_slice(&key);
            size += 4;
        }
        Self {
            head,
            from: 0,
            to: size as u8,
            payload,
        }
    }

    fn head(&self) -> &[u8] {
        &self.head[usize::from(self.from)..usize::from(self.to)]
    }

    fn len(&self) -> usize {
        self.head().len() + self.payload.bytes().len()
    }

    /// Takes off what was written; gives how much of `size` was not of this frame.
    fn advance(&mut self, size: usize) -> usize {
        let of_head = size.min(self.head().len());
        self.from += of_head as u8;
        let of_payload = (size - of_head).min(self.payload.bytes().len());
        self.payload.advance(of_payload);
        size - of_head - of_payload
    }
}

impl Payload {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Plain(bytes) => bytes,
            Self::Masked(bytes) => bytes,
        }
    }

    fn advance(&mut self, size: usize) {
        match self {
            Self::Plain(bytes) => bytes::Buf::advance(bytes, size),
            Self::Masked(bytes) => bytes::Buf::advance(bytes, size),
        }
    }
}

impl Outgoing {
    pub(super) fn new(role: Role) -> Self {
        Self {
            keys: (role == Role::Client).then(Box::default),
            first: None,
            more: VecDeque::new(),
            queued: 0,
            written: 0,
        }
    }

    /// Bytes that the socket took so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Bytes that wait for it.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// Puts a frame behind those that wait. A client's is masked in place, unless somebody else holds its bytes too.
    pub(super) fn push(&mut self, opcode: u8, payload: Bytes) -> io::Result<()> {
        let leaving = match &mut self.keys {
            None => Leaving::new(opcode, Payload::Plain(payload), None),
            Some(keys) => {
                let key = keys.next()?;
                let mut payload = payload
                    .try_into_mut()
                    .unwrap_or_else(|shared| BytesMut::from(&shared[..]));
                mask(&mut payload, key);
                Leaving::new(opcode, Payload::Masked(payload), Some(key))
            }
        };
        self.queued += leaving.len();
        match &self.first {
            None => self.first = Some(leaving),
            Some(_) => self.more.push_back(leaving),
        }
        Ok(())
    }

    /// Ready when the socket has taken everything.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while let Some(first) = &self.first {
            let mut slices = [IoSlice::new(&[]); 2 * AT_ONCE];
            let mut count = 0;
            for leaving in std::iter::once(first).chain(&self.more).take(AT_ONCE) {
                for bytes in [leaving.head(), leaving.payload.bytes()] {
                    if !bytes.is_empty() {
                        slices[count] = IoSlice::new(bytes);
                        count += 1;
                    }
                }
            }
            let size = ready!(Pin::new(&mut *io).poll_write_vectored(cx, &slices[..count]))?;
            if size == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.wrote(size);
        }
        Poll::Ready(Ok(()))
    }

    fn wrote(&mut self, mut size: usize) {
        self.written += size as u64;
        self.queued -= size;
        while let Some(first) = &mut self.first {
            size = first.advance(size);
            if first.len() > 0 {
                return;
            }
            self.first = self.more.pop_front();
        }
        self.more = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::task::Waker;

    use super::{super::words::BINARY, *};

    /// Takes so many bytes at a time.
    struct Sink {
        step: usize,
        taken: Vec<u8>,
    }

    impl AsyncWrite for Sink {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let size = self.step.min(bytes.len());
            self.taken.extend_from_slice(&bytes[..size]);
            Poll::Ready(Ok(size))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all = slices.iter().flat_map(|slice| slice.to_vec()).collect::<Vec<_>>();
            self.as_mut().poll_write(cx, &all)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// What leaves for these payloads, in steps of so many bytes.
    fn written(role: Role, payloads: &[Bytes], step: usize) -> Vec<u8> {
        let mut outgoing = Outgoing::new(role);
        for payload in payloads {
            outgoing.push(BINARY, payload.clone()).unwrap();
        }
        let mut sink = Sink {
            step,
            taken: Vec::new(),
        };
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(
            outgoing.poll_write(&mut sink, &mut cx),
            Poll::Ready(Ok(()))
        ));
        assert_eq!((outgoing.queued(), outgoing.more.capacity()), (0, 0));
        assert_eq!(outgoing.written(), sink.taken.len() as u64);
        sink.taken
    }

    #[test]
    fn heads_are_as_the_rfc_has_them() {
        let head = |size: usize| written(Role::Server, &[vec![7; size].into()], usize::MAX);
        assert_eq!(head(0), [0x82, 0]);
        assert_eq!(head(125)[..3], [0x82, 125, 7]);
        assert_eq!(head(126)[..5], [0x82, 126, 0, 126, 7]);
        assert_eq!(head(65_535)[..5], [0x82, 126, 0xff, 0xff, 7]);
        assert_eq!(head(65_536)[..11], [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0, 7]);
    }

    #[test]
    fn writes_of_any_size_end_at_the_end_of_all_frames() {
        let payloads: Vec<Bytes> = [0, 1, 300, 5, 0, 70, 126]
            .map(|size: usize| (0..size).map(|at| at as u8).collect::<Vec<_>>().into())
            .to_vec();
        let whole = written(Role::Server, &payloads, usize::MAX);
        for step in [1, 2, 3, 5, 128, 299] {
            assert_eq!(written(Role::Server, &payloads, step), whole, "step {step}");
        }
    }

    #[test]
    fn a_masked_frame_unmasks_to_its_payload_whatever_its_length() {
        for size in [0, 1, 125, 126, 127, 128, 129, 70_001] {
            let payload: Vec<u8> = (0..size).map(|at| at as u8).collect();
            let frame = written(Role::Client, &[payload.clone().into()], usize::MAX);
            let (head, masked) = frame.split_at(frame.len() - size);
            assert_eq!(head[1] & 0x80, 0x80);
            let key = &head[head.len() - 4..];
            let plain = masked
                .iter()
                .zip(key.iter().cycle())
                .map(|(byte, key)| byte ^ key);
            assert_eq!(plain.collect::<Vec<_>>(), payload);
        }
    }

    #[test]
    fn no_two_frames_have_the_same_key() {
        let mut keys = Keys::default();
        let drawn: std::collections::HashSet<_> = (0..5 * KEYS).map(|_| keys.next().unwrap()).collect();
        // Two of eighty are the same once in a million runs.
        assert_eq!(drawn.len(), 5 * KEYS);
    }

    #[test]
    fn bytes_that_another_holds_are_not_changed_by_masking() {
        let held = Bytes::from(vec![1; 200]);
        written(Role::Client, std::slice::from_ref(&held), usize::MAX);
        assert!(held.iter().all(|byte| *byte == 1));
    }
}
