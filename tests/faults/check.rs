//! Judges a history: the six invariants, as a user sees them from outside. Pure.
//!
//! - I1 states never go back, and end as the pod did; what was taken is known at the end.
//! - I2 a followed log is a prefix without gap or repetition, the whole log when its end is whole; only a hub that went
//!   breaks a reader, and only one of kubectl's kind.
//! - I3 each call ends once, in time; what was promised is there.
//! - I4 each pod is taken once and started at most once.
//! - I5 nothing is left, and hub and plugin stay under their caps.
//! - I6 no panic, and no end that was not ordered.

use std::collections::BTreeMap;

use crate::{
    check_calls::calls,
    check_logs::readers,
    history::{Entry, Op, Role, Seen, Signal, What},
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
    pub(crate) taken: bool,
    /// A create was answered otherwise.
    pub(crate) refused: bool,
    pub(crate) jids: Vec<String>,
    pub(crate) delete_begun: bool,
    pub(crate) deleted: bool,
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

/// From such an order until that process listens again, or to its SIGCONT.
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
            What::Listens { role: whose } if *whose == role => {
                spans.extend(since.take().map(|since| (since, entry.at)));
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
                // No news, and taken as such: a hub that was killed may have shown what it had not yet written.
                if *seen == Seen::Absent {
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
