//! I3: how calls ended, and what their answers promise. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
};

use crate::{
    check::{PodStory, Report, Rules, overlap, touches},
    history::{Entry, Op, Outcome, Role, Signal, What},
};

/// I3, and what the answers promise.
pub(crate) fn calls(
    history: &[Entry],
    away: &[(u64, u64)],
    stopped: &[(u64, u64)],
    rules: &Rules,
    pods: &mut BTreeMap<String, PodStory>,
    report: &mut Report,
) {
    let drains: Vec<u64> = history
        .iter()
        .filter(|entry| is_drain(&entry.what))
        .map(|entry| entry.at)
        .collect();
    let mut open: HashMap<u64, (u64, Op, &str)> = HashMap::new();
    let mut slowest: BTreeMap<&str, u64> = BTreeMap::new();
    let mut count = 0_u64;
    for entry in history {
        let (call, outcome) = match &entry.what {
            What::Begin { call, op, uid } => {
                open.insert(*call, (entry.at, *op, uid));
                continue;
            }
            What::End { call, outcome } => (call, outcome),
            _ => continue,
        };
        count += 1;
        let Some((began, op, uid)) = open.remove(call) else {
            report
                .wrong
                .push(format!("I3 at {}: call {call} ended twice", entry.at));
            continue;
        };
        let span = (began, entry.at);
        let took = (entry.at - began).saturating_sub(overlap(stopped, span));
        let (name, deadline) = match op {
            Op::Create => ("create", 110_000),
            Op::Delete => ("delete", 30_000),
            Op::Status => ("status", 30_000),
            Op::Logs => ("logs", 30_000),
        };
        let most = slowest.entry(name).or_default();
        *most = (*most).max(took);
        if took > deadline + 1_000 {
            report.wrong.push(format!("I3: {name} of {uid} took {took} ms"));
        }
        let pod = pods.entry(uid.to_owned()).or_default();
        let wrong = match outcome {
            Outcome::Hung => Some("never ended".to_owned()),
            Outcome::Broken(why) if !touches(away, span) => {
                Some(format!("broke while the hub was there: {why}"))
            }
            Outcome::Broken(_) if drains.iter().any(|at| began + DRAINED < *at && *at <= entry.at) => {
                Some("was dropped by a drain".to_owned())
            }
            Outcome::Broken(_) => None,
            Outcome::Answered { http: 200, text } => {
                promise(op, text, pod);
                None
            }
            Outcome::Answered { http, text } => refusal(op, *http, text, rules, touches(away, span), pod),
        };
        if let Some(wrong) = wrong {
            report
                .wrong
                .push(format!("I3 at {}: {name} of {uid} {wrong}", entry.at));
        }
    }
    for (began, op, uid) in open.values() {
        // Nobody waits for a reader of a pod that was deleted under it.
        if *op == Op::Logs && pods[*uid].delete_begun {
            continue;
        }
        report
            .wrong
            .push(format!("I3: {op:?} of {uid}, begun at {began}, has no end"));
    }
    let mut figure = format!("{count} calls; slowest");
    for (name, took) in slowest {
        let _ = write!(figure, " {name} {took} ms");
    }
    report.figures.push(figure);
}

/// A hub that gets SIGTERM answers what it has. What was begun this much before was accepted.
const DRAINED: u64 = 1_000;

fn is_drain(what: &What) -> bool {
    let drain = What::Ordered {
        role: Role::Hub,
        signal: Signal::Term,
    };
    *what == drain
}

fn promise(op: Op, text: &str, pod: &mut PodStory) {
    match op {
        Op::Create => {
            pod.taken = true;
            let answer: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
            if let Some(jid) = answer["PodJID"].as_str().filter(|jid| !jid.is_empty()) {
                pod.jids.push(jid.to_owned());
            }
        }
        Op::Delete => pod.deleted = true,
        Op::Status | Op::Logs => {}
    }
}

/// What is wrong with an answer that is not 200.
fn refusal(op: Op, http: u16, text: &str, rules: &Rules, away: bool, pod: &mut PodStory) -> Option<String> {
    let fine = match op {
        Op::Create if away && http == 503 => true,
        Op::Create => {
            pod.refused = true;
            // Told in words, and by a code that says whose fault it is.
            rules.refusals && http >= 422 && !text.trim().is_empty()
        }
        // 504: its open acknowledgement did not come over a link that nobody knew to be dead.
        // 404: the create was promised and is not at its plugin yet.
        Op::Logs => matches!(http, 429 | 503 | 504) || pod.delete_begun || http == 404 && pod.jids.is_empty(),
        Op::Delete | Op::Status => away && http == 503,
    };
    (!fine).then(|| format!("was answered {http}: {}", text.trim()))
}
