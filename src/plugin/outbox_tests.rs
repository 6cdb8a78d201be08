#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::wire::{PodEventType, PodRef, PodState};

const EPOCH: NonZeroU64 = NonZeroU64::new(77).unwrap();

/// An event whose `job_id` tells its version.
fn event(uid: &str, version: u64) -> PodEvent {
    PodEvent {
        r#type: PodEventType::Updated.into(),
        state: Some(PodState {
            pod: Some(PodRef::new(uid, "default", uid)),
            job_id: version.to_string(),
            ..PodState::default()
        }),
        ..PodEvent::default()
    }
}

fn version(event: &PodEvent) -> u64 {
    event.state.as_ref().unwrap().job_id.parse().unwrap()
}

fn drain(outbox: &mut Outbox) -> Vec<u64> {
    std::iter::from_fn(|| outbox.take(u64::MAX))
        .map(|event| event.seq)
        .collect()
}

fn ack(seq: u64) -> EventAck {
    EventAck {
        epoch: EPOCH.get(),
        seq,
    }
}

#[test]
fn a_newer_state_replaces_the_older_and_takes_a_new_number() {
    let mut outbox = Outbox::new(EPOCH);
    for (uid, version) in [("a", 1), ("b", 2), ("a", 3)] {
        assert!(outbox.push(event(uid, version)));
    }
    let sent: Vec<_> = std::iter::from_fn(|| outbox.take(u64::MAX)).collect();
    assert_eq!(
        sent.iter()
            .map(|event| (event.seq, version(event)))
            .collect::<Vec<_>>(),
        [(2, 2), (3, 3)]
    );
    assert!(
        sent.iter()
            .all(|event| event.epoch == 77 && event.state.as_ref().unwrap().seq == event.seq)
    );
}

#[test]
fn an_ack_is_cumulative_idempotent_and_clamped_to_what_was_sent() {
    let mut outbox = Outbox::new(EPOCH);
    for uid in ["a", "b", "c"] {
        outbox.push(event(uid, 1));
    }
    outbox.take(u64::MAX);
    outbox.take(u64::MAX);
    outbox.ack(ack(99));
    assert_eq!(
        outbox.describe(),
        wire::Outbox {
            epoch: 77,
            oldest_seq: 3,
            next_seq: 4,
            acked_seq: 2
        }
    );
    outbox.ack(ack(1));
    outbox.ack(ack(2));
    assert_eq!(outbox.describe().acked_seq, 2);
    assert_eq!(drain(&mut outbox), [3], "what was not sent is still sent");
}

#[test]
fn what_is_not_durable_is_kept_back() {
    let mut outbox = Outbox::new(EPOCH);
    outbox.push(event("a", 1));
    outbox.push(event("b", 1));
    assert_eq!(outbox.take(0), None);
    assert_eq!(outbox.take(1).unwrap().seq, 1);
    assert_eq!(outbox.take(1), None);
    assert_eq!(outbox.take(2).unwrap().seq, 2);
}

#[test]
fn a_hub_that_learned_a_state_from_a_page_is_not_ahead() {
    let mut outbox = Outbox::new(EPOCH);
    for uid in ["a", "b", "c"] {
        outbox.push(event(uid, 1));
    }
    outbox.shown(2);
    assert_eq!(outbox.resume(ack(2), 0), Resumed::Same);
    assert_eq!(drain(&mut outbox), [3]);
    outbox.shown(99);
    assert_eq!(outbox.resume(ack(4), 0), Resumed::Behind);
}

#[test]
fn an_ack_of_another_epoch_is_ignored() {
    let mut outbox = Outbox::new(EPOCH);
    outbox.push(event("a", 1));
    outbox.take(u64::MAX);
    outbox.ack(EventAck { epoch: 78, seq: 1 });
    outbox.ack(EventAck { epoch: 0, seq: 1 });
    assert!(!outbox.is_empty());
    outbox.ack(ack(1));
    assert!(outbox.is_empty());
}

#[test]
fn no_more_is_in_flight_than_the_window_even_when_states_are_replaced() {
    let mut outbox = Outbox::new(EPOCH);
    outbox.resume(EventAck::default(), 2);
    outbox.push(event("a", 1));
    outbox.push(event("b", 1));
    assert_eq!(drain(&mut outbox), [1, 2]);
    outbox.push(event("a", 2));
    assert!(
        drain(&mut outbox).is_empty(),
        "the replaced one is still on its way"
    );
    outbox.ack(ack(1));
    assert_eq!(drain(&mut outbox), [3]);
}

#[test]
fn a_welcome_that_has_part_of_the_epoch_gets_the_rest_and_another_gets_everything() {
    let mut outbox = Outbox::new(EPOCH);
    for uid in ["a", "b", "c"] {
        outbox.push(event(uid, 1));
    }
    drain(&mut outbox);
    assert_eq!(outbox.resume(EventAck { epoch: 5, seq: 3 }, 0), Resumed::Fresh);
    assert_eq!(drain(&mut outbox), [1, 2, 3]);
    assert_eq!(outbox.resume(ack(2), 0), Resumed::Same);
    assert_eq!(drain(&mut outbox), [3]);
}

#[test]
fn a_hub_that_is_ahead_makes_the_outbox_start_a_new_epoch() {
    let mut outbox = Outbox::new(EPOCH);
    outbox.push(event("a", 1));
    assert_eq!(outbox.resume(ack(40), 0), Resumed::Behind);
    outbox.renew(NonZeroU64::new(78).unwrap());
    let sent = outbox.take(u64::MAX).unwrap();
    assert_eq!((sent.epoch, sent.seq, version(&sent)), (78, 1, 1));
}

#[test]
fn an_event_that_names_no_pod_is_refused() {
    let mut outbox = Outbox::new(EPOCH);
    assert!(!outbox.push(PodEvent::default()));
    assert!(!outbox.push(event("", 1)));
    assert_eq!(outbox.seq(), 0);
}

/// A hub that applies what is new to it, and the connection to it.
#[derive(Default)]
struct Hub {
    applied: u64,
    latest: HashMap<String, u64>,
    on_the_way: Vec<PodEvent>,
    last_seq: u64,
}

impl Hub {
    fn send(&mut self, outbox: &mut Outbox, count: usize) {
        for _ in 0..count {
            let Some(event) = outbox.take(u64::MAX) else {
                return;
            };
            assert!(event.seq > self.last_seq, "numbers rise on a connection");
            self.last_seq = event.seq;
            self.on_the_way.push(event);
        }
    }

    fn receive(&mut self, count: usize) {
        let count = count.min(self.on_the_way.len());
        for event in self.on_the_way.drain(..count) {
            if event.seq > self.applied {
                self.applied = event.seq;
                let uid = event.state.as_ref().unwrap().pod.as_ref().unwrap().uid.clone();
                let older = self.latest.insert(uid, version(&event));
                assert!(
                    older.is_none_or(|older| older < version(&event)),
                    "states never go back"
                );
            }
        }
    }

    fn reconnect(&mut self, outbox: &mut Outbox, window: u32) {
        self.on_the_way.clear();
        self.last_seq = 0;
        outbox.lost();
        assert_ne!(outbox.resume(ack(self.applied), window), Resumed::Behind);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Push(u8),
    Send(usize),
    Receive(usize),
    Ack,
    AckWrong(u64, u64),
    Reconnect,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..6).prop_map(Step::Push),
        3 => (1usize..6).prop_map(Step::Send),
        3 => (1usize..6).prop_map(Step::Receive),
        2 => Just(Step::Ack),
        1 => (0u64..3, 0u64..100).prop_map(|(epoch, seq)| Step::AckWrong(epoch, seq)),
        1 => Just(Step::Reconnect),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_latest_state_of_every_pod_arrives_in_order_whatever_breaks(
        steps in prop::collection::vec(step(), 0..80),
        window in 1u32..5,
    ) {
        let (mut outbox, mut hub) = (Outbox::new(EPOCH), Hub::default());
        let mut pushed = HashMap::new();
        let mut versions = 0;
        hub.reconnect(&mut outbox, window);
        for step in steps {
            match step {
                Step::Push(pod) => {
                    versions += 1;
                    outbox.push(event(&pod.to_string(), versions));
                    pushed.insert(pod.to_string(), versions);
                }
                Step::Send(count) => hub.send(&mut outbox, count),
                Step::Receive(count) => hub.receive(count),
                Step::Ack => outbox.ack(ack(hub.applied)),
                Step::AckWrong(epoch, seq) => {
                    let before = outbox.snapshot();
                    outbox.ack(EventAck { epoch, seq });
                    prop_assert_eq!(before, outbox.snapshot());
                }
                Step::Reconnect => hub.reconnect(&mut outbox, window),
                Step::Restart => {
                    outbox = Outbox::restore(outbox.snapshot());
                    hub.reconnect(&mut outbox, window);
                }
            }
            prop_assert!(outbox.in_flight.len() <= window as usize);
            prop_assert!(outbox.by_seq.len() == outbox.by_uid.len() && outbox.by_uid.len() <= 6);
            let described = outbox.describe();
            prop_assert!(described.acked_seq < described.oldest_seq && described.oldest_seq <= described.next_seq);
        }
        hub.reconnect(&mut outbox, window);
        while !outbox.is_empty() {
            hub.send(&mut outbox, 1);
            hub.receive(1);
            outbox.ack(ack(hub.applied));
        }
        prop_assert_eq!(hub.latest, pushed);
    }
}
