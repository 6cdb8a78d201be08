//! `transcripts/`: whole conversations of two sessions, one line a message.

mod scripts;
mod talk;

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use bytes::Bytes;
use serde_json::{Value, json};
use towline::{
    session::{Event, State},
    wire::Side,
};

use crate::{
    contract::{Contract, hex, sorted, unhex},
    golden::{Golden, ROOT},
    player::Player,
};

/// One line of a transcript.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    /// Which connection, from 1.
    pub(crate) link: u64,
    pub(crate) what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum What {
    Message(Side, Bytes),
    Close(Side, u16, String),
    /// The connection broke; nobody was told why.
    Lost,
}

impl Line {
    fn json(&self, contract: &Contract) -> Value {
        match &self.what {
            What::Message(from, packet) => {
                json!({ "link": self.link, "from": word(*from), "hex": hex(packet), "packet": contract.json(packet) })
            }
            What::Close(from, code, reason) => {
                json!({ "link": self.link, "from": word(*from), "close": code, "reason": reason })
            }
            What::Lost => json!({ "link": self.link, "lost": true }),
        }
    }

    fn read(text: &str) -> Self {
        let line: Value = serde_json::from_str(text).unwrap();
        let from = || match line["from"].as_str() {
            Some("hub") => Side::Hub,
            Some("plugin") => Side::Plugin,
            other => panic!("from {other:?}"),
        };
        let what = if line["lost"] == true {
            What::Lost
        } else if let Some(code) = line["close"].as_u64() {
            let reason = line["reason"].as_str().unwrap().to_owned();
            What::Close(from(), u16::try_from(code).unwrap(), reason)
        } else {
            What::Message(from(), unhex(line["hex"].as_str().unwrap()))
        };
        Self {
            link: line["link"].as_u64().unwrap(),
            what,
        }
    }
}

fn word(side: Side) -> &'static str {
    match side {
        Side::Hub => "hub",
        Side::Plugin => "plugin",
    }
}

/// All transcripts as the files have them.
pub(crate) fn recorded() -> BTreeMap<String, Vec<Line>> {
    let folder = Path::new(ROOT).join("transcripts");
    let read = |path: &Path| {
        fs::read_to_string(path)
            .unwrap()
            .lines()
            .map(Line::read)
            .collect()
    };
    fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (
                path.file_stem().unwrap().to_str().unwrap().to_owned(),
                read(&path),
            )
        })
        .collect()
}

/// The links of a transcript, in order.
pub(crate) fn links(lines: &[Line]) -> impl Iterator<Item = &[Line]> {
    lines.chunk_by(|a, b| a.link == b.link)
}

/// The messages of one side, or of both.
pub(crate) fn messages(link: &[Line], of: Option<Side>) -> impl Iterator<Item = &Bytes> {
    link.iter().filter_map(move |line| match &line.what {
        What::Message(from, packet) if of.is_none_or(|side| side == *from) => Some(packet),
        _ => None,
    })
}

#[test]
fn golden_transcripts_are_what_two_sessions_say() {
    let contract = Contract::read();
    let mut files = Golden::new("transcripts");
    for (name, lines) in scripts::all() {
        let mut text = String::new();
        for line in lines {
            writeln!(text, "{}", sorted(line.json(&contract))).unwrap();
        }
        files.add(format!("{name}.jsonl"), text.as_bytes());
    }
    files.settle();
}

/// Each side is played by a session that must write every message to the byte, and close as it was recorded.
#[test]
fn two_sessions_can_play_every_transcript() {
    let all = recorded();
    assert_eq!(all.len(), scripts::all().len());
    for (name, lines) in &all {
        for link in links(lines) {
            play(name, link);
        }
    }
}

fn play(name: &str, link: &[Line]) {
    let mut hub = Player::new(Side::Hub, messages(link, None));
    let mut plugin = Player::new(Side::Plugin, messages(link, None));
    for (number, line) in link.iter().enumerate() {
        let place = format!("{name}, link {}, line {}", line.link, number + 1);
        match &line.what {
            What::Message(from, packet) => {
                let (speaker, listener) = match from {
                    Side::Hub => (&mut hub, &mut plugin),
                    Side::Plugin => (&mut plugin, &mut hub),
                };
                speaker.say(packet, &place);
                listener.now = listener.now.max(speaker.now);
                listener.hear(packet);
            }
            What::Close(from, code, reason) => {
                let (closer, other) = match from {
                    Side::Hub => (&mut hub, &mut plugin),
                    Side::Plugin => (&mut plugin, &mut hub),
                };
                let asked = closer.close().map(|(code, reason)| (code.0, reason.to_owned()));
                assert_eq!(asked, Some((*code, reason.clone())), "{place}");
                other.session.handle_lost();
            }
            What::Lost => {
                hub.session.handle_lost();
                plugin.session.handle_lost();
            }
        }
    }
    for (side, mut player) in [("hub", hub), ("plugin", plugin)] {
        player.take_events();
        assert_eq!(player.session.state(), State::Closed, "{name}: {side}");
        assert!(!player.session.has_output(), "{name}: the {side} has more to say");
        assert_eq!(player.session.stats().ignored, 0, "{name}: {side}");
        assert_eq!(player.session.stats().flow_violations, 0, "{name}: {side}");
    }
}

#[test]
fn what_a_hub_learns_from_the_transcripts_is_whole() {
    let all = recorded();
    let learn = |name: &str, number: usize| {
        let link = links(&all[name]).nth(number).unwrap();
        let mut hub = Player::new(Side::Hub, messages(link, None));
        for line in link {
            match &line.what {
                What::Message(Side::Hub, packet) => hub.say(packet, name),
                What::Message(Side::Plugin, packet) => hub.hear(packet),
                _ => {}
            }
        }
        hub.events
    };
    let seqs = |events: &[Event]| -> Vec<u64> {
        let seq = |event: &Event| match event {
            Event::PodEvent(event) => Some(event.seq),
            _ => None,
        };
        events.iter().filter_map(seq).collect()
    };
    let log = |events: &[Event]| -> (Vec<u8>, Vec<u64>) {
        let chunks = || {
            events.iter().filter_map(|event| match event {
                Event::LogChunk(_, chunk) => Some(chunk),
                _ => None,
            })
        };
        (
            chunks().flat_map(|chunk| chunk.data.to_vec()).collect(),
            chunks().map(|chunk| chunk.next_offset).collect(),
        )
    };
    assert_eq!(seqs(&learn("pod", 0)), [1, 2]);
    assert_eq!(seqs(&learn("events", 0)), [1, 2, 3]);
    assert_eq!(
        seqs(&learn("events", 1)),
        [5],
        "4 was replaced by 5, and 3 was never acknowledged"
    );
    assert_eq!(log(&learn("resume", 0)), (b"hello\nwor".to_vec(), vec![0, 6, 9]));
    assert_eq!(
        log(&learn("resume", 1)),
        (b"ld\nagain\n".to_vec(), vec![9, 12, 0, 6])
    );
}
