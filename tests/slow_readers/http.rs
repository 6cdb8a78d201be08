//! An HTTP client that can stop reading.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use socket2::{Domain, SockRef, Socket, Type};

use super::site::{Site, uid};

/// Only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection with as small a receive buffer as asked.
fn connect(address: &str, receive: Option<usize>) -> TcpStream {
    let address: std::net::SocketAddr = address.parse().unwrap();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    if let Some(bytes) = receive {
        // Before the connection: its window is agreed then.
        socket.set_recv_buffer_size(bytes).unwrap();
    }
    socket.connect(&address.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn send(stream: &mut TcpStream, method: &str, path: &str, body: &str) {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
}

/// The status and the length of the body; none when it is chunked.
fn head(stream: &mut impl BufRead) -> (u16, Option<usize>) {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap().parse().unwrap();
    let mut length = None;
    loop {
        line.clear();
        stream.read_line(&mut line).unwrap();
        if line == "\r\n" {
            return (status, length);
        }
        let (name, value) = line.split_once(':').unwrap();
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse().unwrap());
        }
    }
}

/// Hands over each piece of a chunked body; true when it came to its good end.
fn chunks(stream: &mut impl BufRead, mut take: impl FnMut(&[u8])) -> bool {
    let mut line = String::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        line.clear();
        if stream.read_line(&mut line).unwrap_or(0) == 0 {
            return false;
        }
        let mut left = usize::from_str_radix(line.trim_end(), 16).unwrap();
        let last = left == 0;
        while left > 0 {
            let most = left.min(buffer.len());
            match stream.read(&mut buffer[..most]) {
                Ok(0) | Err(_) => return false,
                Ok(read) => {
                    take(&buffer[..read]);
                    left -= read;
                }
            }
        }
        line.clear();
        if stream.read_line(&mut line).unwrap_or(0) == 0 {
            return false;
        }
        if last {
            return true;
        }
    }
}

/// A connection that is kept for one call after the other.
pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    pub(crate) fn new(site: &Site) -> Self {
        Self(BufReader::new(connect(site.address(), None)))
    }

    pub(crate) fn ask(&mut self, method: &str, path: &str, body: &str) -> (u16, Vec<u8>) {
        send(self.0.get_mut(), method, path, body);
        let (status, length) = head(&mut self.0);
        let mut all = Vec::new();
        match length {
            Some(length) => {
                all.resize(length, 0);
                self.0.read_exact(&mut all).unwrap();
            }
            None => assert!(chunks(&mut self.0, |bytes| all.extend_from_slice(bytes))),
        }
        (status, all)
    }
}

/// What the virtual kubelet asks for a log.
pub(crate) fn logs_body(pod: &str, options: &Value) -> String {
    json!({"Namespace": "default", "PodUID": uid(pod), "PodName": pod, "ContainerName": "main", "Opts": options})
        .to_string()
}

/// One GET /getLogs that follows: its head is read, its body when it is asked to.
pub(crate) struct Reader(BufReader<TcpStream>);

impl Reader {
    pub(crate) fn open(site: &Site, pod: &str, receive: Option<usize>) -> Self {
        let mut stream = connect(site.address(), receive);
        send(
            &mut stream,
            "GET",
            "/getLogs",
            &logs_body(pod, &json!({"Follow": true})),
        );
        let mut reader = BufReader::with_capacity(16 << 10, stream);
        assert_eq!(head(&mut reader), (200, None));
        Self(reader)
    }

    /// Reads to the good end: how many bytes, and their SHA-256.
    pub(crate) fn digest(mut self, site: &Site) -> (u64, [u8; 32]) {
        let (mut count, mut digest) = (0, Sha256::new());
        let good = chunks(&mut self.0, |bytes| {
            count += bytes.len() as u64;
            digest.update(bytes);
        });
        assert!(
            good,
            "cut off after {count} bytes; the hub is at {} bytes",
            site.hub_peak()
        );
        (count, digest.finalize().into())
    }

    /// Goes away without a word but a reset.
    pub(crate) fn reset(self) {
        SockRef::from(self.0.get_ref())
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }
}
