//! Which pods the one status call of an interval asks about. Pure.
//!
//! All of them, those first that were not heard of for longest: some plugins answer for the first pod of the list
//! alone. Some fail the whole list because of one pod: then the list is halved from call to call until that pod is
//! alone, and it is left out for a while.

use std::collections::HashMap;

use crate::limits;

/// Turns of the pods, and how many are asked about at once.
#[derive(Debug)]
pub(super) struct Roster {
    seats: HashMap<String, Seat>,
    /// Number of the call.
    call: u64,
    size: usize,
    /// Since the first of a row of failures a call came through: the failure is some pod's and not the plugin's.
    worked: bool,
}

#[derive(Debug, Default)]
struct Seat {
    /// The call that told of it last, or had it in the first place.
    turn: u64,
    /// Somebody waits for news of it.
    urgent: bool,
    /// Left out up to this call.
    apart_until: u64,
    apart_for: u64,
}

impl Roster {
    pub(super) fn new() -> Self {
        Self {
            seats: HashMap::new(),
            call: 0,
            size: usize::MAX,
            worked: true,
        }
    }

    /// The uids that the next call asks about, out of those that are of interest.
    pub(super) fn choose(&mut self, of_interest: Vec<String>) -> Vec<String> {
        self.call += 1;
        let call = self.call;
        let mut chosen: Vec<(bool, u64, String)> = of_interest
            .into_iter()
            .filter_map(|uid| {
                let seat = self.seats.entry(uid.clone()).or_default();
                (seat.apart_until < call).then_some((!seat.urgent, seat.turn, uid))
            })
            .collect();
        chosen.sort();
        chosen.truncate(self.size);
        chosen.into_iter().map(|(_, _, uid)| uid).collect()
    }

    /// The call came through and told of these.
    pub(super) fn answered<'a>(&mut self, asked: &'a [String], told: impl Iterator<Item = &'a str>) {
        self.worked = true;
        self.size = self.size.saturating_mul(2);
        for uid in told.chain(asked.first().map(String::as_str)) {
            if let Some(seat) = self.seats.get_mut(uid) {
                seat.turn = self.call;
                seat.apart_for = 0;
            }
        }
    }

    /// The plugin answered the call with an error.
    pub(super) fn failed(&mut self, asked: &[String]) {
        if let [alone] = asked {
            if let Some(seat) = self.seats.get_mut(alone) {
                seat.turn = self.call;
                if self.worked {
                    let longer = (seat.apart_for * 2).max(limits::UPSTREAM_APART_MIN);
                    seat.apart_for = longer.min(limits::UPSTREAM_APART_MAX);
                    seat.apart_until = self.call + seat.apart_for;
                }
            }
            self.size = 1;
        } else {
            self.size = (asked.len() / 2).max(1);
        }
        self.worked = false;
    }

    /// Somebody waits for news of this pod: it comes first.
    pub(super) fn urge(&mut self, uid: &str, urgent: bool) {
        let seat = self.seats.entry(uid.to_owned()).or_default();
        seat.urgent = urgent;
        if urgent {
            seat.apart_until = 0;
        }
    }

    pub(super) fn forget(&mut self, uid: &str) {
        self.seats.remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("pod-{n:02}")).collect()
    }

    #[test]
    fn a_plugin_that_answers_for_the_first_alone_is_asked_about_each_in_turn() {
        let mut roster = Roster::new();
        let mut told = Vec::new();
        for _ in 0..4 {
            let asked = roster.choose(pods(4));
            assert_eq!(asked.len(), 4, "one call for all");
            told.push(asked[0].clone());
            roster.answered(&asked, asked.iter().map(String::as_str).take(1));
        }
        told.sort();
        assert_eq!(told, pods(4));
    }

    #[test]
    fn one_pod_that_spoils_the_list_is_found_and_the_others_are_heard_of() {
        let mut roster = Roster::new();
        let bad = "pod-11".to_owned();
        let mut heard = std::collections::BTreeSet::new();
        let mut failures = 0;
        for _ in 0..29 {
            let asked = roster.choose(pods(16));
            if asked.contains(&bad) {
                failures += 1;
                roster.failed(&asked);
            } else {
                heard.extend(asked.iter().cloned());
                roster.answered(&asked, asked.iter().map(String::as_str));
            }
        }
        assert_eq!(heard.len(), 15);
        assert!(failures <= 10, "{failures} calls were spoiled");
        assert_eq!(roster.choose(pods(16)).len(), 15, "it is left out");
        for _ in 0..limits::UPSTREAM_APART_MIN {
            let asked = roster.choose(pods(15).into_iter().filter(|uid| *uid != bad).collect());
            roster.answered(&asked, asked.iter().map(String::as_str));
        }
        assert!(roster.choose(pods(16)).contains(&bad), "and asked about again");
    }

    #[test]
    fn a_plugin_that_fails_every_call_leaves_no_pod_out() {
        let mut roster = Roster::new();
        for _ in 0..20 {
            let asked = roster.choose(pods(4));
            assert!(!asked.is_empty());
            roster.failed(&asked);
        }
        let mut calls = 0;
        loop {
            let asked = roster.choose(pods(4));
            calls += 1;
            if asked.len() == 4 {
                break;
            }
            roster.answered(&asked, asked.iter().map(String::as_str));
        }
        assert!(calls <= 4, "{calls}");
    }

    #[test]
    fn who_is_waited_for_comes_first() {
        let mut roster = Roster::new();
        roster.urge("pod-03", true);
        assert_eq!(roster.choose(pods(4))[0], "pod-03");
        roster.urge("pod-03", false);
        roster.forget("pod-03");
        assert_eq!(roster.choose(pods(4))[0], "pod-00");
    }
}
