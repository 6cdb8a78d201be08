//! A checker that cannot fail proves nothing: each kind of wrong history is fed to it, and each is seen.

use crate::{
    check::{Report, Rules, check},
    history::{Entry, Kind, Op, Outcome, ReadEnd, Role, Seen, Signal, What},
};

const UID: &str = "u1";

/// One pod of three lines that exits with 7: all is well. `at` counts from 10 in steps of 10.
fn good() -> Vec<What> {
    let uid = || UID.to_owned();
    let ok = |text: &str| Outcome::Answered {
        http: 200,
        text: text.to_owned(),
    };
    vec![
        What::Pod {
            uid: uid(),
            lines: Some(3),
            exit: 7,
        },
        begin(1, Op::Create),
        end(1, ok(r#"{"PodUID":"u1","PodJID":"j1"}"#)),
        seen(Seen::Waiting),
        reader(9, Kind::Kubectl),
        bytes(9, "0\n1"),
        seen(Seen::Running),
        bytes(9, "\n2\n"),
        reader_end(9, ReadEnd::Whole),
        begin(2, Op::Status),
        end(2, ok("[]")),
        seen(Seen::Terminated { code: 7 }),
        What::Listed { uid: uid() },
        What::Starts { uid: uid(), count: 1 },
        ordered(Role::Hub, Signal::Term),
        What::Exited {
            role: Role::Hub,
            code: Some(0),
            ordered: Some(Signal::Term),
        },
    ]
}

fn begin(call: u64, op: Op) -> What {
    let uid = UID.to_owned();
    What::Begin { call, op, uid }
}

fn end(call: u64, outcome: Outcome) -> What {
    What::End { call, outcome }
}

fn answered(http: u16, text: &str) -> Outcome {
    let text = text.to_owned();
    Outcome::Answered { http, text }
}

fn seen(seen: Seen) -> What {
    let uid = UID.to_owned();
    What::Seen { uid, seen }
}

fn reader(reader: u64, kind: Kind) -> What {
    let uid = UID.to_owned();
    What::Reader { reader, uid, kind }
}

fn bytes(reader: u64, text: &str) -> What {
    let text = text.to_owned();
    What::Bytes { reader, text }
}

fn reader_end(reader: u64, end: ReadEnd) -> What {
    What::ReaderEnd { reader, end }
}

fn ordered(role: Role, signal: Signal) -> What {
    What::Ordered { role, signal }
}

fn judged(history: Vec<What>, rules: &Rules) -> Report {
    let entries = history.into_iter().zip(1..);
    let entries: Vec<_> = entries
        .map(|(what, number)| Entry {
            at: 10 * number,
            what,
        })
        .collect();
    check(&entries, rules)
}

/// The good history with these changed; the checker must say `word` of it.
#[track_caller]
fn is_wrong(change: impl FnOnce(&mut Vec<What>), word: &str) {
    let mut history = good();
    change(&mut history);
    let wrong = judged(history, &Rules::default()).wrong;
    assert!(wrong.iter().any(|text| text.contains(word)), "{word}: {wrong:?}");
}

/// And nothing of it.
#[track_caller]
fn is_fine(change: impl FnOnce(&mut Vec<What>)) {
    let mut history = good();
    change(&mut history);
    let wrong = judged(history, &Rules::default()).wrong;
    assert!(wrong.is_empty(), "{wrong:?}");
}

fn replace(history: &mut [What], old: &What, new: What) {
    let found = history.iter_mut().find(|what| *what == old);
    *found.expect("it is there") = new;
}

fn remove(history: &mut Vec<What>, old: &What) {
    let before = history.len();
    history.retain(|what| what != old);
    assert!(history.len() < before, "it was there");
}

/// Puts it where the pod was seen running.
fn insert(history: &mut Vec<What>, what: What) {
    let at = history.iter().position(|what| *what == seen(Seen::Running));
    history.insert(at.unwrap() + 1, what);
}

#[test]
fn a_good_history_is_good() {
    is_fine(|_| {});
}

#[test]
fn states_that_go_back_are_seen() {
    is_wrong(|h| insert(h, seen(Seen::Waiting)), "was Running, is Waiting");
    is_fine(|h| insert(h, seen(Seen::Absent)));
    let changed = |h: &mut Vec<What>| h.push(seen(Seen::Terminated { code: 0 }));
    is_wrong(changed, "I1");
}

#[test]
fn a_wrong_or_missing_end_is_seen() {
    let last = seen(Seen::Terminated { code: 7 });
    let other = seen(Seen::Terminated { code: 137 });
    is_wrong(|h| replace(h, &last, other), "ended with 137, not with 7");
    is_wrong(|h| remove(h, &last), "shown as Some(Running)");
    let listed = What::Listed { uid: UID.into() };
    is_wrong(|h| remove(h, &listed), "I1: it is not known at the end");
}

#[test]
fn gaps_repetitions_and_early_ends_of_logs_are_seen() {
    let second = bytes(9, "\n2\n");
    is_wrong(
        |h| replace(h, &second, bytes(9, "\n3\n")),
        "after 2 numbers it got",
    );
    is_wrong(
        |h| replace(h, &second, bytes(9, "\n1\n2\n")),
        "after 2 numbers it got",
    );
    is_wrong(|h| replace(h, &second, bytes(9, "\n")), "was whole at 2");
    is_wrong(|h| replace(h, &second, bytes(9, "\n2\n3\n")), "was whole at 4");
    is_wrong(|h| h.push(bytes(9, "x")), "bytes after the end");
    is_wrong(|h| remove(h, &reader_end(9, ReadEnd::Whole)), "has no end");
    is_wrong(|h| h.push(reader_end(9, ReadEnd::Whole)), "ended twice");
}

#[test]
fn a_reader_may_break_only_with_its_hub_and_only_kubectls() {
    let whole = reader_end(9, ReadEnd::Whole);
    let broken = || reader_end(9, ReadEnd::Broken("x".into()));
    let killed = |h: &mut Vec<What>| {
        insert(h, ordered(Role::Hub, Signal::Kill));
        replace(h, &whole, broken());
    };
    is_wrong(|h| replace(h, &whole, broken()), "though it need not");
    is_fine(killed);
    let of_towline = |h: &mut Vec<What>| {
        killed(h);
        replace(h, &reader(9, Kind::Kubectl), reader(9, Kind::Towline));
    };
    is_wrong(of_towline, "though it need not");
}

#[test]
fn calls_that_hang_break_or_are_late_are_seen() {
    let answer = end(2, answered(200, "[]"));
    is_wrong(|h| remove(h, &answer), "has no end");
    is_wrong(|h| h.push(answer.clone()), "ended twice");
    is_wrong(|h| replace(h, &answer, end(2, Outcome::Hung)), "never ended");
    let broken = end(2, Outcome::Broken("reset".into()));
    is_wrong(
        |h| replace(h, &answer, broken.clone()),
        "broke while the hub was there",
    );
    is_fine(|h| {
        insert(h, ordered(Role::Hub, Signal::Kill));
        replace(h, &answer, broken.clone());
    });
    is_wrong(
        |h| replace(h, &answer, end(2, answered(503, "no"))),
        "was answered 503",
    );
}

#[test]
fn a_hub_that_starts_slowly_is_away_until_it_listens() {
    let history = |listens| {
        let pid = 1;
        let mut entries = [
            (0, ordered(Role::Hub, Signal::Kill)),
            (10, What::Started { role: Role::Hub, pid }),
            (listens, What::Listens { role: Role::Hub }),
            (5_000, begin(5, Op::Status)),
            (5_001, end(5, Outcome::Broken("refused".into()))),
        ]
        .map(|(at, what)| Entry { at, what });
        entries.sort_by_key(|entry| entry.at);
        check(&entries, &Rules::default()).wrong
    };
    assert!(history(6_000).is_empty(), "{:?}", history(6_000));
    assert!(
        history(4_000)[0].contains("broke while the hub was there"),
        "{:?}",
        history(4_000)
    );
}

#[test]
fn a_drain_that_drops_what_was_under_way_is_seen() {
    let history = |began| {
        let mut entries: Vec<_> = [
            begin(5, Op::Status),
            ordered(Role::Hub, Signal::Term),
            end(5, Outcome::Broken("reset".into())),
        ]
        .into_iter()
        .map(|what| Entry { at: 10_000, what })
        .collect();
        entries[0].at = began;
        check(&entries, &Rules::default()).wrong
    };
    assert!(
        history(1_000)[0].contains("dropped by a drain"),
        "{:?}",
        history(1_000)
    );
    assert!(
        history(9_990).is_empty(),
        "it may have come too late to be accepted"
    );
}

#[test]
fn a_deadline_counts_without_the_time_that_the_hub_was_stopped() {
    let history = |stop: bool| {
        let whats = [
            (0, begin(5, Op::Status)),
            (1_000, ordered(Role::Hub, Signal::Stop)),
            (61_000, ordered(Role::Hub, Signal::Cont)),
            (62_000, end(5, answered(200, "[]"))),
        ];
        let kept = whats
            .into_iter()
            .filter(|(_, what)| stop || !matches!(what, What::Ordered { .. }));
        let entries: Vec<_> = kept.map(|(at, what)| Entry { at, what }).collect();
        check(&entries, &Rules::default()).wrong
    };
    assert!(history(true).is_empty(), "{:?}", history(true));
    assert!(
        history(false)[0].contains("took 62000 ms"),
        "{:?}",
        history(false)
    );
}

#[test]
fn a_promise_that_is_not_kept_is_seen() {
    let starts = |count| What::Starts {
        uid: UID.into(),
        count,
    };
    is_wrong(|h| replace(h, &starts(1), starts(0)), "it never ran");
    is_wrong(|h| replace(h, &starts(1), starts(2)), "I4: was started 2 times");
    let deleted = |h: &mut Vec<What>| {
        h.push(begin(3, Op::Delete));
        h.push(end(3, answered(200, "Pod deleted")));
    };
    is_wrong(deleted, "its delete was answered 200");
    let again = |h: &mut Vec<What>| {
        h.push(begin(3, Op::Create));
        h.push(end(3, answered(200, r#"{"PodJID":"j2"}"#)));
    };
    is_wrong(again, "I4: was taken more than once");
}

#[test]
fn a_refusal_is_seen_where_there_should_be_none_and_must_hold() {
    let answer = end(1, answered(200, r#"{"PodUID":"u1","PodJID":"j1"}"#));
    let refused = end(1, answered(503, "the disk is full"));
    is_wrong(|h| replace(h, &answer, refused.clone()), "was answered 503");
    let mut history = good();
    replace(&mut history, &answer, refused);
    let rules = Rules {
        refusals: true,
        ..Rules::default()
    };
    let wrong = judged(history, &rules).wrong;
    assert!(
        wrong[0].contains("its create was refused, and it ran"),
        "{wrong:?}"
    );
}

#[test]
fn leftovers_and_greed_are_seen() {
    let text = "sleep".to_owned();
    is_wrong(|h| h.push(What::Left { text }), "I5: left behind: sleep");
    let gauge = What::Gauge {
        name: "held".into(),
        value: 1,
    };
    is_wrong(|h| h.push(gauge), "I5: held is 1");
    for (peak_kib, fds, threads) in [(1 << 20, 1, 1), (1, 1_000, 1), (1, 1, 1_000)] {
        let role = Role::Plugin;
        let used = What::Usage {
            role,
            peak_kib,
            fds,
            threads,
        };
        is_wrong(|h| h.push(used), "I5: Plugin");
    }
}

#[test]
fn panics_and_ends_that_nobody_ordered_are_seen() {
    let role = Role::Hub;
    let text = "thread 'main' panicked at".to_owned();
    is_wrong(|h| h.push(What::Panic { role, text }), "I6");
    for (code, ordered, word) in [
        (Some(1), None, "by itself"),
        (Some(0), None, "by itself"),
        (None, Some(Signal::Term), "on SIGTERM"),
    ] {
        is_wrong(
            |h| {
                h.push(What::Exited { role, code, ordered });
            },
            word,
        );
    }
}
