//! docs/JSON.md is true: its examples are read and, where the hub writes them, written so; its conversation is held with
//! a hub over a real WebSocket.
#![cfg(feature = "hub")]
#![allow(clippy::unwrap_used)]

#[allow(dead_code)] // shared with the tests of the HTTP edge
#[path = "http/client.rs"]
mod client;

use std::{collections::BTreeSet, future::poll_fn, sync::Arc};

use bytes::Bytes;
use serde_json::Value;
use tokio::time::timeout;
use towline::{
    code::Code,
    envelope::Json,
    transport::{Dial, Io, Message, Transport, WebSocket, dial},
    wire::{Codec as _, Frame, SUBPROTOCOL_JSON, StreamId},
};

use client::{Answer, PATIENCE, Served, served};

const DOCUMENT: &str = include_str!("../docs/JSON.md");

/// What stands in the fenced blocks of this language.
fn blocks(language: &str) -> Vec<&'static str> {
    let open = format!("```{language}\n");
    let parts = DOCUMENT.split(open.as_str()).skip(1);
    parts.map(|rest| rest.split("```").next().unwrap()).collect()
}

/// The messages of a block, joined over its lines: who says it, and what.
fn messages(block: &str) -> Vec<(char, String)> {
    let mut found: Vec<(char, String)> = Vec::new();
    for line in block.lines() {
        match line.split_at(1) {
            (who @ ("H" | "P"), rest) => found.push((who.chars().next().unwrap(), rest.trim().to_owned())),
            _ => found.last_mut().unwrap().1.push_str(line.trim()),
        }
    }
    found
}

fn read(codec: &mut Json, text: &str) -> Frame {
    let read = codec.decode(Bytes::copy_from_slice(text.as_bytes()), 1 << 20);
    read.unwrap_or_else(|error| panic!("{text}: {error}")).remove(0)
}

fn write(codec: &mut Json, frame: Frame) -> String {
    let mut out = Vec::new();
    codec.encode(&mut out, StreamId(frame.stream), frame.body.unwrap());
    String::from_utf8(out.to_vec()).unwrap()
}

#[test]
fn every_example_is_read_and_what_the_hub_says_is_what_it_writes() {
    let mut kinds = BTreeSet::new();
    let (mut hub, mut plugin) = (Json::default(), Json::default());
    for (who, text) in blocks("json").into_iter().flat_map(messages) {
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        kinds.insert(value["kind"].as_str().unwrap().to_owned());
        if who == 'H' {
            let frame = read(&mut plugin, &text);
            let written = write(&mut hub, frame);
            assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), value, "{text}");
        } else {
            let frame = read(&mut hub, &text);
            assert!(frame.body.is_some(), "{text}");
            // A Rust plugin says the same in its own words.
            if value["status"] != 422 {
                let again = write(&mut plugin, frame.clone());
                assert_eq!(
                    serde_json::from_str::<Value>(&again).unwrap()["kind"],
                    value["kind"]
                );
            }
        }
    }
    let all = [
        "register",
        "welcome",
        "ping",
        "pong",
        "request",
        "response",
        "event",
        "eventAck",
        "nodeStatus",
        "streamLogs",
        "logChunk",
        "credit",
        "cancelStream",
        "goaway",
    ];
    assert_eq!(kinds, all.map(str::to_owned).into());
}

#[test]
fn the_table_of_statuses_is_the_codes() {
    let rows = DOCUMENT
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains(" | | "));
    let mut seen = 0;
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let Some(code) = (0..=16)
            .map(Code::from_number)
            .find(|code| cells[2] == code.name())
        else {
            continue;
        };
        for status in cells[1]
            .split([',', ' '])
            .filter_map(|word| word.parse::<u16>().ok())
        {
            assert_eq!(Code::from_http_status(status), (code, cells[3]), "{row}");
            seen += 1;
        }
        for name in cells[5].split(", ") {
            if let Some(code) = (0..=16).map(Code::from_number).find(|code| name == code.name()) {
                assert_eq!(code.http_status("").to_string(), cells[6], "{row}");
            }
        }
    }
    assert!(seen > 15, "the table is not read as it is written: {seen}");
}

struct Typist(WebSocket<Io>);

impl Typist {
    async fn say(&mut self, text: &str) {
        poll_fn(|cx| self.0.poll_ready(cx)).await.unwrap();
        self.0
            .start_send(Message::Text(Bytes::copy_from_slice(text.as_bytes())))
            .unwrap();
        poll_fn(|cx| self.0.poll_flush(cx)).await.unwrap();
    }

    async fn hear(&mut self) -> Value {
        loop {
            let heard = timeout(PATIENCE, poll_fn(|cx| self.0.poll_recv(cx)))
                .await
                .expect("a message");
            match heard.unwrap().unwrap() {
                Message::Text(text) => {
                    let value: Value = serde_json::from_slice(&text).unwrap();
                    if value["kind"] != "ping" {
                        return value;
                    }
                }
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

/// `$ curl -X METHOD http://HOST/PATH -d 'BODY'`
async fn curl(hub: &Served, line: &str) -> Answer {
    let words: Vec<&str> = line.splitn(6, ' ').collect();
    let [_, _, method, url, _, body] = words[..] else {
        panic!("{line}");
    };
    let path = url.split_once("3000").unwrap().1;
    hub.ask(method, path, &[], body.trim_matches('\'').to_owned())
        .await
}

#[tokio::test]
async fn the_conversation_is_held_as_it_is_written() {
    let hub = served().await;
    let (socket, _) = dial(&Dial::new(format!("ws://{}/ws", hub.addr), SUBPROTOCOL_JSON))
        .await
        .unwrap();
    let (mut typist, hub, mut asked) = (Typist(socket), Arc::new(hub), Vec::new());
    for line in blocks("text")[0].lines() {
        match line.split_at(2) {
            ("> ", said) => typist.say(said).await,
            ("$ ", command) => {
                let hub = hub.clone();
                asked.push(tokio::spawn(async move { curl(&hub, command).await }));
            }
            ("< ", expected) => {
                let heard = typist.hear().await;
                let expected: Value = serde_json::from_str(expected).unwrap();
                for (key, value) in expected.as_object().unwrap() {
                    assert!(
                        value == "..." || heard[key] == *value,
                        "{key}: {heard}, expected {expected}"
                    );
                }
                let keys = |value: &Value| {
                    value
                        .as_object()
                        .unwrap()
                        .keys()
                        .cloned()
                        .collect::<BTreeSet<_>>()
                };
                assert_eq!(keys(&heard), keys(&expected));
            }
            _ => panic!("{line}"),
        }
    }
    let mut answers = Vec::new();
    for answer in asked {
        answers.push(answer.await.unwrap());
    }
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert_eq!(answers[0].json()["PodJID"], "by-hand-1");
    assert_eq!(answers[1].text(), "typed by hand\n");
}
