#![allow(clippy::unwrap_used)]

use std::num::NonZeroU64;

use proptest::prelude::*;

use super::*;
use crate::{
    plugin::journal::Kept,
    wire::{PodEvent, PodRef, PodState, Presence},
};

fn event(seq: u64, pod: u8, version: u64) -> Entry {
    let presence = if version.is_multiple_of(5) {
        Presence::Absent
    } else {
        Presence::Present
    };
    let state = PodState {
        pod: Some(PodRef::new(format!("pod-{pod}"), "default", "a")),
        job_id: version.to_string(),
        seq,
        presence: presence.into(),
        ..PodState::default()
    };
    let event = PodEvent {
        seq,
        state: Some(state),
        at: Some(crate::wire::Timestamp { seconds: 7, nanos: 8 }),
        ..PodEvent::default()
    };
    Entry::Event(Kept::new(&event).unwrap())
}

/// One step of a plugin; sequence numbers are filled in when it is played.
#[derive(Debug, Clone)]
enum Step {
    Event(u8, u64),
    Ack(u64),
    Submitting(u8),
    Job(u8),
    Forgotten(u8),
    Epoch(u64),
    JobsEpoch(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0u8..5, 0u64..20).prop_map(|(pod, version)| Step::Event(pod, version)),
        3 => (0u64..30).prop_map(Step::Ack),
        2 => (0u8..5).prop_map(Step::Submitting),
        2 => (0u8..5).prop_map(Step::Job),
        2 => (0u8..5).prop_map(Step::Forgotten),
        1 => (1u64..9).prop_map(Step::Epoch),
        1 => (1u64..3).prop_map(Step::JobsEpoch),
    ]
}

fn entry(image: &Image, step: &Step) -> Entry {
    let uid = |pod: &u8| format!("pod-{pod}");
    match step {
        Step::Event(pod, version) => event(image.position().1 + 1, *pod, *version),
        Step::Ack(seq) => Entry::Ack(*seq),
        Step::Submitting(pod) => Entry::Submitting(uid(pod)),
        Step::Job(pod) => Entry::Job {
            uid: uid(pod),
            job_id: format!("job of {pod}"),
        },
        Step::Forgotten(pod) => Entry::Forgotten(uid(pod)),
        Step::Epoch(epoch) => Entry::Epoch(NonZeroU64::new(*epoch).unwrap()),
        Step::JobsEpoch(epoch) => Entry::JobsEpoch(*epoch),
    }
}

/// A journal, and after which length it says what.
struct Recorded {
    bytes: Vec<u8>,
    states: Vec<(usize, Image)>,
}

fn record(before: &[Step], batches: &[Vec<Step>]) -> Recorded {
    let mut image = Image::new(NonZeroU64::new(77).unwrap(), 5);
    for step in before {
        image.apply(entry(&image, step));
    }
    let mut bytes = begin(&image, 1);
    let mut states = vec![(bytes.len(), image.clone())];
    for (number, batch) in batches.iter().enumerate() {
        let mut entries = Vec::new();
        for step in batch {
            let entry = entry(&image, step);
            entry.encode(&mut entries);
            image.apply(entry);
        }
        frame(&mut bytes, number as u64 + 2, &entries);
        states.push((bytes.len(), image.clone()));
    }
    Recorded { bytes, states }
}

fn recorded() -> impl Strategy<Value = Recorded> {
    let batch = prop::collection::vec(step(), 0..5);
    (
        prop::collection::vec(step(), 0..10),
        prop::collection::vec(batch, 0..5),
    )
        .prop_map(|(before, batches)| record(&before, &batches))
}

impl std::fmt::Debug for Recorded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes, {} states", self.bytes.len(), self.states.len())
    }
}

fn read_bytes(bytes: &[u8]) -> Result<Read, Unusable> {
    read(&Bytes::copy_from_slice(bytes))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_prefix_says_what_its_last_whole_batch_said(recorded in recorded()) {
        for len in 0..=recorded.bytes.len() {
            let said = recorded.states.iter().rev().find(|(end, _)| *end <= len);
            match (read_bytes(&recorded.bytes[..len]), said) {
                (Ok(read), Some((end, image))) => {
                    prop_assert_eq!(&read.image, image, "of {} bytes", len);
                    prop_assert_eq!(read.cut_off, len - end);
                }
                (Err(Unusable::Damaged { .. }), None) => {}
                (read, _) => prop_assert!(false, "{len} bytes: {read:?}"),
            }
        }
    }

    #[test]
    fn a_spoiled_byte_is_cut_off_at_the_end_and_is_damage_elsewhere(recorded in recorded(), flip in 1u8..) {
        let last = recorded.states.len() - 1;
        let tail = if last == 0 { usize::MAX } else { recorded.states[last - 1].0 };
        for at in 0..recorded.bytes.len() {
            let mut bytes = recorded.bytes.clone();
            bytes[at] ^= flip;
            match read_bytes(&bytes) {
                Ok(read) => {
                    prop_assert!(at >= tail, "byte {at} is not in the last batch");
                    prop_assert_eq!(&read.image, &recorded.states[last - 1].1);
                }
                Err(Unusable::Damaged { .. }) => prop_assert!(at < tail, "byte {at} is in the last batch"),
                Err(Unusable::Version(_)) => prop_assert!(false, "byte {at}: a spoiled header is no version"),
            }
        }
    }

    #[test]
    fn whatever_a_crash_leaves_of_the_last_batch_it_is_cut_off(
        recorded in recorded(),
        garbage in prop::collection::vec(any::<u8>(), 0..60),
        zeros in 0usize..60,
    ) {
        let image = &recorded.states.last().unwrap().1;
        for left in [garbage, vec![0; zeros]] {
            let mut bytes = recorded.bytes.clone();
            bytes.extend(&left);
            let read = read_bytes(&bytes).unwrap();
            prop_assert_eq!((&read.image, read.cut_off), (image, left.len()));
        }
    }

    #[test]
    fn arbitrary_bytes_are_never_a_journal_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let header = begin(&Image::new(NonZeroU64::MIN, 1), 1)[..HEADER].to_vec();
        for bytes in [bytes.clone(), [header, bytes].concat()] {
            let read = read_bytes(&bytes);
            let damaged = matches!(read, Err(Unusable::Damaged { .. }));
            prop_assert!(damaged, "{:?}", read);
        }
    }
}

#[test]
fn a_lost_batch_in_the_middle_is_damage() {
    let steps = |pod| vec![Step::Submitting(pod)];
    let recorded = record(&[], &[steps(1), steps(2), steps(3)]);
    let (first, second) = (recorded.states[0].0, recorded.states[1].0);
    let bytes = [&recorded.bytes[..first], &recorded.bytes[second..]].concat();
    let damaged = Unusable::Damaged {
        what: "a record is spoiled, and good ones follow",
        at: first,
    };
    assert_eq!(read_bytes(&bytes), Err(damaged));
}

#[test]
fn a_record_of_an_unknown_kind_is_damage_though_its_checksum_is_good() {
    let mut bytes = record(&[], &[]).bytes;
    let at = bytes.len();
    frame(&mut bytes, 2, &[200]);
    let damaged = Unusable::Damaged {
        what: "a record is not understood",
        at,
    };
    assert_eq!(read_bytes(&bytes), Err(damaged));
}

#[test]
fn another_version_is_told_by_its_number() {
    let mut bytes = record(&[], &[]).bytes;
    bytes[8..12].copy_from_slice(&9u32.to_le_bytes());
    let crc = crc(&bytes[..12]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(read_bytes(&bytes), Err(Unusable::Version(9)));
}

#[test]
fn the_checksum_is_the_usual_crc_32() {
    assert_eq!(crc(b"123456789"), 0xcbf4_3926);
}

#[test]
fn an_event_comes_back_as_it_was_but_for_its_epoch() {
    let Entry::Event(kept) = event(3, 1, 5) else {
        panic!("not an event")
    };
    let event = kept.event(NonZeroU64::new(9).unwrap()).unwrap();
    assert_eq!((event.epoch, event.seq), (9, 3));
    assert_eq!(event.at.unwrap().seconds, 7);
    let state = event.state.unwrap();
    assert_eq!(state.presence(), Presence::Absent);
    assert_eq!(state.pod.unwrap().uid, "pod-1");
}
