//! I2: what the followers of logs got. Pure.

use std::collections::{BTreeMap, HashMap};

use crate::{
    check::{PodStory, Report, Rules, touches},
    history::{Entry, Kind, ReadEnd, What},
};

/// One reading.
#[derive(Debug)]
struct Reading<'a> {
    uid: &'a str,
    kind: Kind,
    began: u64,
    text: String,
}

pub(crate) fn readers(
    history: &[Entry],
    away: &[(u64, u64)],
    rules: &Rules,
    pods: &BTreeMap<String, PodStory>,
    report: &mut Report,
) {
    let mut open: HashMap<u64, Reading<'_>> = HashMap::new();
    let (mut whole, mut broken, mut bytes) = (0_u64, 0_u64, 0);
    for entry in history {
        match &entry.what {
            What::Reader { reader, uid, kind } => {
                let reading = Reading {
                    uid,
                    kind: *kind,
                    began: entry.at,
                    text: String::new(),
                };
                open.insert(*reader, reading);
            }
            What::Bytes { reader, text } => {
                bytes += text.len();
                match open.get_mut(reader) {
                    Some(reading) => reading.text.push_str(text),
                    None => report.wrong.push(format!("I2: bytes after the end: {text:?}")),
                }
            }
            What::ReaderEnd { reader, end } => {
                let Some(reading) = open.remove(reader) else {
                    report.wrong.push(format!("I2: reader {reader} ended twice"));
                    continue;
                };
                match end {
                    ReadEnd::Whole => whole += 1,
                    ReadEnd::Broken(_) => broken += 1,
                }
                let pod = &pods[reading.uid];
                let hub_went = touches(away, (reading.began, entry.at));
                if let Some(wrong) = judge(&reading, end, pod, hub_went, rules) {
                    report.wrong.push(format!(
                        "I2 at {}: {:?} reader {reader} of {}: {wrong}",
                        entry.at, reading.kind, reading.uid
                    ));
                }
            }
            _ => {}
        }
    }
    // Nobody waits for a reader of a pod that was deleted under it.
    open.retain(|_, reading| !pods[reading.uid].delete_begun);
    for (reader, reading) in open {
        report
            .wrong
            .push(format!("I2: reader {reader} of {} has no end", reading.uid));
    }
    report.figures.push(format!(
        "{whole} logs read whole, {broken} broken off in the open, {bytes} bytes"
    ));
}

fn judge(
    reading: &Reading<'_>,
    end: &ReadEnd,
    pod: &PodStory,
    hub_went: bool,
    rules: &Rules,
) -> Option<String> {
    let mut next = 0_u64;
    let mut pieces = reading.text.split_inclusive('\n').peekable();
    while let Some(piece) = pieces.next() {
        let expected = format!("{next}\n");
        let cut_off = pieces.peek().is_none() && !piece.ends_with('\n');
        if cut_off && expected.starts_with(piece) {
            break;
        }
        // What the shell says of the signal that ended it is no number.
        if pod.delete_begun && piece.contains("Terminated") {
            return None;
        }
        if piece != expected {
            return Some(format!("after {next} numbers it got {piece:?}"));
        }
        next += 1;
    }
    match (end, pod.lines) {
        _ if pod.delete_begun => None,
        (ReadEnd::Whole, Some(lines)) if next == lines && reading.text.ends_with('\n') == (lines > 0) => None,
        (ReadEnd::Whole, lines) => Some(format!("was whole at {next} of {lines:?}")),
        (ReadEnd::Broken(_), _) if rules.readers_end => None,
        (ReadEnd::Broken(_), _) if hub_went && reading.kind == Kind::Kubectl => None,
        // Before its first byte it may say that hub or plugin is away; after it, it must go on.
        (ReadEnd::Broken(_), _) if reading.kind == Kind::Towline && reading.text.is_empty() => None,
        (ReadEnd::Broken(why), _) => Some(format!("broke at {next} though it need not: {why}")),
    }
}
