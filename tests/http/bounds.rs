//! What one caller can take of the hub: bodies, heads, connections, file descriptors.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream as StdStream,
    process::{Command, Stdio},
};

use serde_json::json;
use tokio::net::TcpStream;
use towline::{
    http::{HttpConfig, Surface},
    hub::HubConfig,
};

use super::client::{PATIENCE, Served, rest, served};

#[tokio::test]
async fn too_many_upgrades_at_once_are_told_to_come_back() {
    let config = HttpConfig {
        max_handshakes: 0,
        ..HttpConfig::default()
    };
    let hub = Served::with(HubConfig::default(), config, Surface::ALL).await;
    let answer = hub.dial(&[]).await;
    assert_eq!(answer.status, 503);
    assert_ne!(answer.header("retry-after"), "");
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let config = HttpConfig {
        max_body: 1000,
        ..HttpConfig::default()
    };
    let hub = Served::with(HubConfig::default(), config, Surface::ALL).await;
    let answer = hub.ask("POST", "/create", &[], vec![b' '; 1001]).await;
    assert_eq!(answer.status, 413);
    assert!(answer.text().contains("1000 bytes"), "{}", answer.text());
    let chunked = format!(
        "POST /create HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n400\r\n{}\r\n0\r\n\r\n",
        " ".repeat(1024)
    );
    let answer = hub
        .raw(
            chunked
                .replace("host: x", "host: x\r\nconnection: close")
                .as_bytes(),
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn heads_are_bounded() {
    let hub = served().await;
    let long = hub
        .get(&format!("/api/v1/pods?namespace={}", "x".repeat(2100)))
        .await;
    assert_eq!(
        (long.status, &long.json()["error"]["code"]),
        (414, &json!("INVALID_ARGUMENT"))
    );
    let many: String = (0..70).map(|n| format!("x-{n}: 1\r\n")).collect();
    let answer = hub
        .raw(format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{many}\r\n").as_bytes())
        .await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let big = format!(
        "GET /healthz HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
        "y".repeat(20_000)
    );
    let answer = hub.raw(big.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn heads_at_the_limit_are_read() {
    let hub = served().await;
    let many: String = (0..60).map(|n| format!("x-{n}: 1\r\n")).collect();
    let big = "y".repeat(15_000);
    for fields in [many, format!("x: {big}\r\n")] {
        let request = format!("GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{fields}\r\n");
        let answer = hub.raw(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let target = format!("/api/v1/pods?namespace={}", "x".repeat(2000));
    assert_eq!(hub.get(&target).await.status, 200);
}

#[tokio::test]
async fn one_connection_too_many_is_told_to_come_back_and_room_is_given_again() {
    let config = HttpConfig {
        max_connections: 2,
        ..HttpConfig::default()
    };
    let hub = Served::with(HubConfig::default(), config, Surface::ALL).await;
    // A request that waits for its body holds its connection.
    let hold = async || {
        let mut stream = TcpStream::connect(&hub.addr).await.unwrap();
        let head = b"POST /create HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, head)
            .await
            .unwrap();
        stream
    };
    let (first, _second) = (hold().await, hold().await);
    for _ in 0..3 {
        let answer = hub.raw(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.to_lowercase().contains("retry-after: 5\r\n"), "{answer}");
        assert!(
            answer.ends_with("too many connections are open to it.\n"),
            "{answer}"
        );
    }
    // Also one that has nothing to say at once.
    let silent = TcpStream::connect(&hub.addr).await.unwrap();
    assert!(rest(silent).await.starts_with("HTTP/1.1 503"));
    drop(first);
    let freed = async {
        let request = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        while !hub.raw(request).await.starts_with("HTTP/1.1 200") {}
    };
    tokio::time::timeout(PATIENCE, freed).await.expect("room again");
}

/// A process that is ended with the test.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_hub_without_file_descriptors_left_goes_on_when_there_are_some_again() {
    let mut hub = Command::new("sh");
    hub.args([
        "-c",
        "ulimit -n 40; exec \"$0\" hub --listen 127.0.0.1:0",
        env!("CARGO_BIN_EXE_towline"),
    ]);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TOWLINE_")) {
        hub.env_remove(name);
    }
    let mut hub = Ended(hub.env("NO_COLOR", "1").stderr(Stdio::piped()).spawn().unwrap());
    let mut said = BufReader::new(hub.0.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let line = said.find(|line| line.contains("listening on")).unwrap();
    let address = line
        .split("http://")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    let many: Vec<StdStream> = (0..60).map(|_| StdStream::connect(&address).unwrap()).collect();
    let warning = said.find(|line| line.contains("accept failed")).unwrap();
    assert!(warning.contains("Too many open files"), "{warning}");
    drop(many);
    let mut stream = StdStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
}
