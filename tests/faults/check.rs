//! Judges a history: the six invariants, as a user sees them from outside. Pure.
//!
//! - I1 states never go back, and end as the pod did; what was known once stays known.
//! - I2 a followed log is a prefix without gap or repetition, the whole log when its end is whole; only a hub that went
//!   breaks a reader, and only one of kubectl's kind.
//! - I3 each call ends once, in time; what was promised is there.
//! - I4 each pod is taken once and started at most once.
//! - I5 nothing is left, and hub and plugin stay under their caps.
//! - I6 no panic, and no end that was not ordered.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
};

use crate::{
    check_logs::readers,
    history::{Entry, Op, Outcome, Role, Seen, Signal, What},
};

/// What a row may see that others may not, and the caps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Creates may be refused, in words.
    pub(crate) refusals: bool,
    /// A plugin is away for longer than the hub holds log readers: these end then.
    pub(crate) readers_end: bool,
    pub(crate) peak_kib: u64,
    pub(crate) fds: u64,
    pub(crate) threads: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            refusals: false,
            readers_end: false,
            // Many times what they use, far below what a leak for each pod or cycle would come to.
            peak_kib: 256 << 10,
            fds: 128,
            threads: 64,
        }
    }
}

/// What is wrong, and what was counted.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) wrong: Vec<String>,
    pub(crate) figures: Vec<String>,
}

/// What is known of one pod.
#[derive(Debug, Default)]
pub(crate) struct PodStory {
    pub(crate) lines: Option<u64>,
    exit: i64,
    /// A create was answered 200.
    taken: bool,
    /// A create was answered otherwise.
    refused: bool,
    jids: Vec<String>,
    pub(crate) delete_begun: bool,
    deleted: bool,
    last: Option<Seen>,
    starts: usize,
    listed: bool,
}

/// Judges it.
pub(crate) fn check(history: &[Entry], rules: &Rules) -> Report {
    let mut report = Report::default();
    let away = spans(history, Role::Hub, &[Signal::Kill, Signal::Term]);
    let stopped = spans(history, Role::Hub, &[Signal::Stop]);
    let mut pods = BTreeMap::new();
    states(history, &mut pods, &mut report);
    calls(history, &away, &stopped, rules, &mut pods, &mut report);
    readers(history, &away, rules, &pods, &mut report);
    ends(&pods, rules, &mut report);
    left(history, rules, &mut report);
    let starts: usize = pods.values().map(|pod| pod.starts).sum();
    let taken = pods.values().filter(|pod| pod.taken).count();
    let deleted = pods.values().filter(|pod| pod.deleted).count();
    let counted = format!("{taken} pods taken, {starts} started, {deleted} deleted");
    report.figures.insert(0, counted);
    report
}

/// From such an order to the next start or SIGCONT of that process.
pub(crate) fn spans(history: &[Entry], role: Role, orders: &[Signal]) -> Vec<(u64, u64)> {
    let (mut spans, mut since) = (Vec::new(), None);
    for entry in history {
        match &entry.what {
            What::Ordered { role: whose, signal } if *whose == role && orders.contains(signal) => {
                since = since.or(Some(entry.at));
            }
            What::Ordered { role: whose, signal } if *whose == role && *signal == Signal::Cont => {
                spans.extend(since.take().map(|since| (since, entry.at)));
            }
            // It listens a little later than it is started.
            What::Started { role: whose, .. } if *whose == role => {
                spans.extend(since.take().map(|since| (since, entry.at + 1_000)));
            }
            _ => {}
        }
    }
    spans.extend(since.map(|since| (since, u64::MAX)));
    spans
}

/// Milliseconds of `span` that lie in `spans`.
pub(crate) fn overlap(spans: &[(u64, u64)], span: (u64, u64)) -> u64 {
    let within = |one: &(u64, u64)| one.1.min(span.1).saturating_sub(one.0.max(span.0));
    spans.iter().map(within).sum()
}

/// Whether any of `spans` touches this one.
pub(crate) fn touches(spans: &[(u64, u64)], span: (u64, u64)) -> bool {
    spans.iter().any(|one| one.0 <= span.1 && span.0 <= one.1)
}

/// I1: in the order in which they were seen.
fn states(history: &[Entry], pods: &mut BTreeMap<String, PodStory>, report: &mut Report) {
    let rank = |seen: &Seen| match seen {
        Seen::Absent => 0,
        Seen::Waiting => 1,
        Seen::Running => 2,
        Seen::Terminated { .. } => 3,
    };
    for entry in history {
        match &entry.what {
            What::Pod { uid, lines, exit } => {
                let pod = pods.entry(uid.clone()).or_default();
                (pod.lines, pod.exit) = (*lines, *exit);
            }
            What::Begin {
                op: Op::Delete, uid, ..
            } => pods.entry(uid.clone()).or_default().delete_begun = true,
            What::Seen { uid, seen } => {
                let pod = pods.entry(uid.clone()).or_default();
                if pod.delete_begun && *seen == Seen::Absent {
                    continue;
                }
                if let Some(last) = &pod.last {
                    let same_end = match (last, seen) {
                        (Seen::Terminated { code: was }, Seen::Terminated { code }) => was == code,
                        _ => true,
                    };
                    if rank(seen) < rank(last) || !same_end {
                        report
                            .wrong
                            .push(format!("I1 at {}: {uid} was {last:?}, is {seen:?}", entry.at));
                    }
                }
                if let Seen::Terminated { code } = seen
                    && !pod.delete_begun
                    && (*code != pod.exit || pod.lines.is_none())
                {
                    report
                        .wrong
                        .push(format!("I1: {uid} ended with {code}, not with {}", pod.exit));
                }
                pod.last = Some(seen.clone());
            }
            What::Starts { uid, count } => pods.entry(uid.clone()).or_default().starts = *count,
            What::Listed { uid } => pods.entry(uid.clone()).or_default().listed = true,
            _ => {}
        }
    }
}

/// I3, and what the answers promise.
fn calls(
    history: &[Entry],
    away: &[(u64, u64)],
    stopped: &[(u64, u64)],
    rules: &Rules,
    pods: &mut BTreeMap<String, PodStory>,
    report: &mut Report,
) {
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
        Op::Logs => matches!(http, 429 | 503) || pod.delete_begun,
        Op::Delete | Op::Status => away && http == 503,
    };
    (!fine).then(|| format!("was answered {http}: {}", text.trim()))
}

/// I1, I3 and I4 at rest.
fn ends(pods: &BTreeMap<String, PodStory>, rules: &Rules, report: &mut Report) {
    for (uid, pod) in pods {
        let mut wrong = |text: String| report.wrong.push(format!("{text} (pod {uid})"));
        if pod.starts > 1 {
            wrong(format!("I4: was started {} times", pod.starts));
        }
        if pod.jids.iter().any(|jid| *jid != pod.jids[0]) {
            wrong(format!("I4: was taken more than once: {:?}", pod.jids));
        }
        if pod.deleted && pod.listed {
            wrong("I3: its delete was answered 200, and it is there".into());
        }
        if pod.taken && !pod.delete_begun {
            if pod.starts == 0 {
                wrong("I3: its create was answered 200, and it never ran".into());
            }
            if !pod.listed {
                wrong("I1: it is not known at the end".into());
            }
            if !matches!(pod.last, Some(Seen::Terminated { .. })) {
                wrong(format!("I1: it ended and is shown as {:?}", pod.last));
            }
        }
        if pod.refused && !pod.taken && (pod.starts > 0 || pod.listed) && rules.refusals {
            wrong("I4: its create was refused, and it ran".into());
        }
    }
}

/// I5 and I6.
fn left(history: &[Entry], rules: &Rules, report: &mut Report) {
    for entry in history {
        let at = entry.at;
        match &entry.what {
            What::Left { text } => report.wrong.push(format!("I5: left behind: {text}")),
            What::Gauge { name, value } if *value != 0 => {
                report.wrong.push(format!("I5: {name} is {value} at rest"));
            }
            What::Usage {
                role,
                peak_kib,
                fds,
                threads,
            } => {
                let used = format!("{role:?} peak {peak_kib} KiB, {fds} fds, {threads} threads");
                if *peak_kib > rules.peak_kib || *fds > rules.fds || *threads > rules.threads {
                    report.wrong.push(format!("I5: {used}"));
                }
                report.figures.push(used);
            }
            What::Panic { role, text } => {
                report.wrong.push(format!("I6 at {at}: {role:?} says {text:?}"));
            }
            What::Exited { role, code, ordered } => match ordered {
                None => report
                    .wrong
                    .push(format!("I6 at {at}: {role:?} ended by itself ({code:?})")),
                Some(Signal::Term) if *code != Some(0) => {
                    report
                        .wrong
                        .push(format!("I6 at {at}: {role:?} ended with {code:?} on SIGTERM"));
                }
                Some(_) => {}
            },
            _ => {}
        }
    }
}
