//! A script server that does what its path says, and notes what it was asked.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) head: String,
    body: Vec<u8>,
}

impl Asked {
    pub(crate) fn body(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Debug, Default)]
struct Notes {
    asked: Mutex<Vec<Asked>>,
    count: watch::Sender<usize>,
    open: watch::Sender<bool>,
    redirect: Mutex<String>,
}

pub(crate) struct ScriptServer {
    origin: String,
    notes: Arc<Notes>,
    task: JoinHandle<()>,
}

impl ScriptServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let notes = Arc::new(Notes::default());
        let noted = notes.clone();
        let task = tokio::spawn(async move {
            let mut serving = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let notes = noted.clone();
                serving.spawn(async move {
                    // A hub that has given up closes.
                    let _ = serve(socket, &notes).await;
                });
            }
        });
        Self { origin, notes, task }
    }

    pub(crate) fn origin(&self) -> String {
        self.origin.clone()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.notes.asked.lock().unwrap().clone()
    }

    /// Waits until a request is there.
    pub(crate) async fn was_asked(&self) {
        let mut count = self.notes.count.subscribe();
        count.wait_for(|count| *count > 0).await.unwrap();
    }

    /// `/held` is answered now.
    pub(crate) fn let_go(&self) {
        self.notes.open.send_replace(true);
    }

    pub(crate) fn redirect_to(&self, url: &str) {
        url.clone_into(&mut self.notes.redirect.lock().unwrap());
    }

    /// Closes everything; gives the address where nobody is now.
    pub(crate) fn gone(self) -> String {
        self.task.abort();
        self.origin
    }
}

async fn serve(mut socket: TcpStream, notes: &Notes) -> std::io::Result<()> {
    while let Some(asked) = request(&mut socket).await? {
        let path = asked.head.split([' ', '?']).nth(1).unwrap().to_owned();
        let nth = {
            let mut all = notes.asked.lock().unwrap();
            all.push(asked);
            all.len()
        };
        notes.count.send_replace(nth);
        let script = b"#!/bin/sh\necho from the server\n";
        match path.as_str() {
            "/script" => answer(&mut socket, "200 OK", script).await?,
            "/empty" => answer(&mut socket, "200 OK", b"").await?,
            "/held" => {
                let _ = notes.open.subscribe().wait_for(|open| *open).await;
                answer(&mut socket, "201 Created", script).await?;
            }
            "/third" if nth == 1 => answer(&mut socket, "503 Service Unavailable", b"busy").await?,
            "/third" if nth == 2 => return Ok(()),
            "/third" => answer(&mut socket, "200 OK", script).await?,
            "/redirect" => {
                let to = notes.redirect.lock().unwrap().clone();
                let head = format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
                socket.write_all(head.as_bytes()).await?;
            }
            "/large" => answer(&mut socket, "200 OK", &vec![b'#'; (4 << 20) + 1]).await?,
            "/binary" => answer(&mut socket, "200 OK", b"\xff\xfe").await?,
            "/fails" => answer(&mut socket, "500 Internal Server Error", b"no such queue: gpu\n").await?,
            "/fastapi" => {
                let body = br#"{"detail": "no such queue: tpu"}"#;
                answer(&mut socket, "422 Unprocessable Entity", body).await?;
            }
            "/stalls" => {
                socket
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n#!/bin/sh\n")
                    .await?;
                std::future::pending::<()>().await;
            }
            "/silent" => std::future::pending::<()>().await,
            other => panic!("what is {other}?"),
        }
    }
    Ok(())
}

async fn answer(socket: &mut TcpStream, status: &str, body: &[u8]) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
    socket.write_all(head.as_bytes()).await?;
    socket.write_all(body).await
}

/// The next request; none at the end.
async fn request(socket: &mut TcpStream) -> std::io::Result<Option<Asked>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end + 4].to_vec())
                .unwrap()
                .to_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.unwrap().parse().unwrap();
            let mut body = bytes.split_off(end + 4);
            let had = body.len();
            body.resize(length, 0);
            socket.read_exact(&mut body[had..]).await?;
            let head = String::from_utf8(bytes).unwrap();
            let (first, rest) = head.split_once("\r\n").unwrap();
            let fields: Vec<String> = rest
                .split("\r\n")
                .map(|line| match line.split_once(": ") {
                    Some((name, value)) => format!("{}: {value}", name.to_lowercase()),
                    None => line.to_owned(),
                })
                .collect();
            let head = format!("{first}\r\n{}", fields.join("\r\n"));
            return Ok(Some(Asked { head, body }));
        }
        if socket.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
}
