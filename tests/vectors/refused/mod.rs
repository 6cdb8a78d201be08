//! `refused/`: messages that a receiver must refuse, answer by itself, or ignore.

mod calls;
mod handshake;
mod malformed;
mod streams;

use std::{fs, path::Path};

use bytes::Bytes;
use serde_json::{Value, json};
use towline::{
    code::Code,
    session::{Event, State},
    wire::{LogOptions, Side, Status, StreamLogs, frame::Body},
};

use crate::{
    contract::{Contract, hex, sorted, unhex},
    golden::{Golden, ROOT},
    messages::{failed, packet, register, whole_welcome},
    player::{Player, frames, told},
};

/// A message and what its receiver must do with it.
struct Case {
    name: &'static str,
    about: &'static str,
    receiver: Side,
    /// What was said before, and by whom: it brings the receiver into its state.
    before: Vec<(Side, Bytes)>,
    message: Bytes,
    /// The link ends with this close code.
    close: Option<u16>,
    /// Frames that the receiver writes.
    writes: Vec<(u32, Body)>,
    /// What the receiver's program learns, as the frame that would say it.
    tells: Vec<(u32, Body)>,
}

impl Case {
    /// Of a plugin whose link is open and that has heard nothing yet.
    fn at_plugin(name: &'static str, about: &'static str, message: Bytes) -> Self {
        Self {
            name,
            about,
            receiver: Side::Plugin,
            before: opened(&["flow_control", "events"]),
            message,
            close: None,
            writes: Vec::new(),
            tells: Vec::new(),
        }
    }

    /// Of a hub whose link is open and that has said nothing yet.
    fn at_hub(name: &'static str, about: &'static str, message: Bytes) -> Self {
        Self {
            receiver: Side::Hub,
            ..Self::at_plugin(name, about, message)
        }
    }

    fn after(mut self, said: impl IntoIterator<Item = (Side, Bytes)>) -> Self {
        self.before.extend(said);
        self
    }

    fn closes(mut self, code: u16) -> Self {
        self.close = Some(code);
        self
    }

    fn writes(mut self, stream: u32, body: Body) -> Self {
        self.writes.push((stream, body));
        self
    }

    fn tells(mut self, stream: u32, body: Body) -> Self {
        self.tells.push((stream, body));
        self
    }

    fn json(&self, contract: &Contract) -> Value {
        let message = |packet: &Bytes| json!({ "hex": hex(packet), "packet": contract.json(packet) });
        let before: Vec<Value> = self
            .before
            .iter()
            .map(|(from, packet)| {
                let mut line = message(packet);
                line["from"] = word(*from).into();
                line
            })
            .collect();
        json!({
            "about": self.about,
            "receiver": word(self.receiver),
            "before": before,
            "message": message(&self.message),
            "answer": answer(contract, self.close, self.writes.clone(), self.tells.clone()),
        })
    }
}

fn answer(
    contract: &Contract,
    close: Option<u16>,
    writes: Vec<(u32, Body)>,
    tells: Vec<(u32, Body)>,
) -> Value {
    let frames = |frames: Vec<(u32, Body)>| -> Vec<Value> {
        frames
            .into_iter()
            .map(|(stream, body)| contract.frame(stream, without_words(body)))
            .collect()
    };
    json!({ "close": close, "writes": frames(writes), "tells": frames(tells) })
}

/// Texts for people are free.
fn without_words(mut body: Body) -> Body {
    match &mut body {
        Body::Response(response) => {
            if let Some(status) = &mut response.status {
                status.message.clear();
            }
        }
        Body::GoAway(go_away) => go_away.reason.clear(),
        _ => {}
    }
    body
}

fn word(side: Side) -> &'static str {
    match side {
        Side::Hub => "hub",
        Side::Plugin => "plugin",
    }
}

/// Register and Welcome.
fn opened(features: &[&str]) -> Vec<(Side, Bytes)> {
    vec![
        (Side::Plugin, packet([(0, Body::Register(register().into()))])),
        (
            Side::Hub,
            packet([(0, Body::Welcome(whole_welcome(features).into()))]),
        ),
    ]
}

fn refusal(code: Code, reason: &str) -> Body {
    Body::Response(failed(Status::new(code, reason, "").not_started()).into())
}

/// A log stream as a hub's session opens it.
fn logs() -> Body {
    Body::StreamLogs(
        StreamLogs {
            options: Some(LogOptions::default()),
            credit: 262_144,
            ..crate::messages::follow()
        }
        .into(),
    )
}

fn cases() -> Vec<Case> {
    let mut all = malformed::cases();
    all.extend(handshake::cases());
    all.extend(streams::cases());
    all.extend(calls::cases());
    all
}

#[test]
fn golden_refused_messages_are_what_the_code_makes() {
    let contract = Contract::read();
    let mut files = Golden::new("refused");
    for case in cases() {
        files.add(format!("{}.bin", case.name), &case.message);
        let json = serde_json::to_string_pretty(&sorted(case.json(&contract))).unwrap();
        files.add(format!("{}.json", case.name), format!("{json}\n").as_bytes());
    }
    files.settle();
}

/// Reads nothing but the files, as a plugin in another language would.
#[test]
fn a_session_answers_every_refused_message_as_its_file_says() {
    let contract = Contract::read();
    let folder = Path::new(ROOT).join("refused");
    let mut seen = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|kind| kind != "json") {
            continue;
        }
        seen += 1;
        let case: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let place = path.display().to_string();
        let message = unhex(case["message"]["hex"].as_str().unwrap());
        assert_eq!(
            hex(&fs::read(path.with_extension("bin")).unwrap()),
            hex(&message),
            "{place}"
        );
        assert_eq!(
            answered(&contract, &case, message, &place),
            case["answer"],
            "{place}"
        );
    }
    assert_eq!(seen, cases().len());
}

/// What a real session does with the message.
fn answered(contract: &Contract, case: &Value, message: Bytes, place: &str) -> Value {
    let receiver = match case["receiver"].as_str() {
        Some("hub") => Side::Hub,
        Some("plugin") => Side::Plugin,
        other => panic!("{place}: receiver {other:?}"),
    };
    let before: Vec<(bool, Bytes)> = case["before"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            (
                line["from"] == case["receiver"],
                unhex(line["hex"].as_str().unwrap()),
            )
        })
        .collect();
    let mut player = Player::new(receiver, before.iter().map(|(_, packet)| packet));
    for (number, (own, packet)) in before.iter().enumerate() {
        match own {
            true => player.say(packet, &format!("{place}, before {number}")),
            false => player.hear(packet),
        }
    }
    assert_ne!(
        player.session.state(),
        State::Closed,
        "{place}: ended before the message"
    );
    assert!(
        !player.session.has_output(),
        "{place}: something is left to be written"
    );
    player.events.clear();
    player.hear(&message);
    let close = player.close().map(|(code, _)| code.0);
    assert_eq!(
        close.is_some(),
        player.session.state() == State::Closed,
        "{place}"
    );
    let mut writes = Vec::new();
    while let Some(packet) = player.session.poll_packet() {
        writes.extend(
            frames(&packet)
                .into_iter()
                .map(|frame| (frame.stream, frame.body.unwrap())),
        );
    }
    let tells = match close {
        // Every open call ends with the link.
        Some(_) => Vec::new(),
        None => player.events.into_iter().map(told).collect(),
    };
    answer(contract, close, writes, tells)
}

#[test]
fn what_a_session_ignores_leaves_it_working() {
    for case in cases().into_iter().filter(|case| case.close.is_none()) {
        let recorded: Vec<&Bytes> = case.before.iter().map(|(_, packet)| packet).collect();
        let mut player = Player::new(case.receiver, recorded);
        for (from, packet) in &case.before {
            match *from == case.receiver {
                true => player.say(packet, case.name),
                false => player.hear(packet),
            }
        }
        player.hear(&case.message);
        while player.session.poll_packet().is_some() {}
        player.hear(&crate::messages::packet([(
            0,
            Body::Ping(towline::wire::Ping { id: 7 }),
        )]));
        let pong = frames(
            &player
                .session
                .poll_packet()
                .unwrap_or_else(|| panic!("{}: no pong", case.name)),
        );
        assert!(
            matches!(&pong[0].body, Some(Body::Pong(pong)) if pong.id == 7),
            "{}",
            case.name
        );
        assert!(
            !player
                .events
                .iter()
                .any(|event| matches!(event, Event::Closed { .. })),
            "{}",
            case.name
        );
    }
}
