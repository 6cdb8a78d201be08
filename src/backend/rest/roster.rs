//! Which pods the one status call of an interval asks about. Pure.
//!
//! All of them, those first that were not heard of for longest: some plugins answer for the first pod of the list
//! alone. Some fail the whole list because of one pod: then the list is halved from call to call until that pod is
//! found, and it is left out for a while.
//!
//! ```text
//! ALL --failed--> HALF of the suspects --failed--> suspects: that half
//!  ^                 |  came through: suspects: the other half
//!  +--- one alone ---+  failed, though another call came through: left out
//! ```

use std::collections::{HashMap, HashSet};

use crate::limits;

/// Turns of the pods, and whom the plugin seems to fail on.
#[derive(Debug, Default)]
pub(super) struct Roster {
    seats: HashMap<String, Seat>,
    /// Number of the call.
    call: u64,
    /// One of these makes the plugin fail. None while it does not.
    suspects: Vec<String>,
    /// Since the search began a call came through: the failure is some pod's and not the plugin's.
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
        let chosen: Vec<String> = chosen.into_iter().map(|(_, _, uid)| uid).collect();
        if !self.suspects.is_empty() {
            let present: HashSet<&String> = chosen.iter().collect();
            self.suspects.retain(|uid| present.contains(uid));
        }
        match self.suspects.len() {
            0 => chosen,
            count => self.suspects[..count.div_ceil(2)].to_vec(),
        }
    }

    /// The call came through and told of these.
    pub(super) fn answered<'a>(&mut self, asked: &'a [String], told: impl Iterator<Item = &'a str>) {
        self.worked = true;
        if !self.suspects.is_empty() {
            let cleared: HashSet<&String> = asked.iter().collect();
            self.suspects.retain(|uid| !cleared.contains(uid));
        }
        for uid in told.chain(asked.first().map(String::as_str)) {
            if let Some(seat) = self.seats.get_mut(uid) {
                seat.turn = self.call;
                seat.apart_for = 0;
            }
        }
    }

    /// The plugin answered the call with an error.
    pub(super) fn failed(&mut self, asked: &[String]) {
        if self.suspects.is_empty() {
            self.worked = false;
        }
        if let [alone] = asked {
            self.suspects.clear();
            if let Some(seat) = self.seats.get_mut(alone) {
                seat.turn = self.call;
                if self.worked {
                    let longer = (seat.apart_for * 2).max(limits::UPSTREAM_APART_MIN);
                    seat.apart_for = longer.min(limits::UPSTREAM_APART_MAX);
                    seat.apart_until = self.call + seat.apart_for;
                }
            }
        } else {
            self.suspects = asked.to_vec();
        }
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
        let mut roster = Roster::default();
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
        let mut roster = Roster::default();
        let bad = "pod-11".to_owned();
        let mut heard = std::collections::BTreeSet::new();
        let mut failures = 0;
        for _ in 0..20 {
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
        let mut roster = Roster::default();
        for _ in 0..20 {
            let asked = roster.choose(pods(4));
            assert!(!asked.is_empty());
            roster.failed(&asked);
        }
        let mut heard = std::collections::BTreeSet::new();
        for _ in 0..4 {
            let asked = roster.choose(pods(4));
            heard.extend(asked.iter().cloned());
            roster.answered(&asked, asked.iter().map(String::as_str));
        }
        assert_eq!(heard.len(), 4);
    }

    #[test]
    fn who_is_waited_for_comes_first() {
        let mut roster = Roster::default();
        roster.urge("pod-03", true);
        assert_eq!(roster.choose(pods(4))[0], "pod-03");
        roster.urge("pod-03", false);
        roster.forget("pod-03");
        assert_eq!(roster.choose(pods(4))[0], "pod-00");
    }
}
